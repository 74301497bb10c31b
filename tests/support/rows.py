"""The catalogue that is shipped, its rows by their short names, and the moves that are tested both ways."""

from pathlib import Path

from gateway.compat.catalog import Model
from gateway.config import load_catalogue

CATALOGUE = load_catalogue(Path(__file__).parents[2] / "config" / "models.yaml")


def row(model_id: str) -> Model:
    """Return the shipped row of an id."""
    model = CATALOGUE.find(model_id)
    assert model is not None, model_id
    return model


O45 = row("claude-opus-4-5")
O46 = row("claude-opus-4-6")
O47 = row("claude-opus-4-7")
O48 = row("claude-opus-4-8")
O5 = row("claude-opus-5")
O55 = row("claude-opus-5-5")
S45 = row("claude-sonnet-4-5")
S46 = row("claude-sonnet-4-6")
S5 = row("claude-sonnet-5")
S55 = row("claude-sonnet-5-5")
H45 = row("claude-haiku-4-5")
H55 = row("claude-haiku-5-5")
F52 = row("claude-fable-5-2")

MOVES = [(O45, O46), (O45, O47), (O45, O48), (O45, O5), (O45, O55), (S45, S55), (H45, H55)]
PAIRS = [*MOVES, *((target, source) for source, target in MOVES)]
"""The migrations that are rehearsed, and their rollbacks."""
EVERY_PAIR = [
    (source, target)
    for source in CATALOGUE.models
    for target in CATALOGUE.models
    if source is not target and "retired" not in (source.lifecycle.status, target.lifecycle.status)
]


def name(value: object) -> str | None:
    """Short test ids for rows: `ids=name`."""
    return value.display_name.removeprefix("Claude ").replace(" ", "") if isinstance(value, Model) else None
