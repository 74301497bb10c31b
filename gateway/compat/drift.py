"""Where the catalogue and the vendor's own list of models differ, field by field.

The catalogue stays the authority: most of what it says (prefill, sampling, prices, what leaving thinking out
means) the vendor's list does not know, so a difference is something for a person to look into, and nothing
is ever taken over. Compared is what both know; what a live object leaves out, or says in a way that is not
known here, is no difference. Live ids find their rows as a whole, with their date or without it.

A model that is missing from the list may be gone, or closed to this organisation: that is a difference too,
unless the catalogue says that it is retired or for verified organisations only. A model on the list that the
catalogue has not heard of is one unless it is retired already.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_args

from gateway.compat.catalog import EFFORTS, Catalogue, Feature, Model

Field = Literal[
    "listed", "lifecycle", "retires_on", "context_tokens", "max_output_tokens", "thinking", "effort",
    "structured_outputs", "compaction", "programmatic_tools",
]  # fmt: skip
FIELDS: tuple[Field, ...] = get_args(Field)
"""What is compared."""

Live = Mapping[str, Any]
"""One object of the vendor's list, as it was parsed."""

_DATE = re.compile(r"-\d{8}$")


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference, in words for people."""

    model: str
    """The row's id, or the live id of a model that has no row."""
    field: Field
    catalogue: str
    live: str


def compare(catalogue: Catalogue, live: Iterable[Live]) -> tuple[Drift, ...]:
    """Return every difference, in the catalogue's order, models without a row last."""
    found: dict[str, list[Live]] = {}
    unknown: dict[str, Drift] = {}
    for entry in live:
        model_id = entry.get("id")
        if not isinstance(model_id, str):
            continue
        row = catalogue.find(model_id) or catalogue.find(_DATE.sub("", model_id))
        if row is not None:
            found.setdefault(row.id, []).append(entry)
        elif entry.get("lifecycle") != "retired":
            unknown[model_id] = Drift(model_id, "listed", "not in the catalogue", "listed")
    known = (drift for row in catalogue.models for drift in _of_row(row, found.get(row.id, [])))
    # An alias and its dated id may both be listed and differ from the row in the same way.
    return (*dict.fromkeys(known), *(unknown[model_id] for model_id in sorted(unknown)))


def _of_row(row: Model, entries: list[Live]) -> Iterator[Drift]:
    retired = row.lifecycle.status == "retired"
    if not entries and not retired and not row.verified_orgs_only:
        yield Drift(row.id, "listed", row.lifecycle.status, "not listed")
    for entry in entries:
        both_retired = retired and entry.get("lifecycle") == "retired"
        for field, read, own in _COMPARED:
            # Nobody looks after what a model could do that is gone.
            if both_retired and field not in ("lifecycle", "retires_on"):
                continue
            said = read(entry)
            if said is not None and said != own(row):
                yield Drift(row.id, field, own(row), said)


# --- what a live object says: None where it does not, or not in a way that is understood --------------------


def _lifecycle(entry: Live) -> str | None:
    said = entry.get("lifecycle")
    return said if isinstance(said, str) else None


def _retires_on(entry: Live) -> str | None:
    if "retires_at" not in entry:
        return None
    said = entry["retires_at"]
    if said is None:
        return _no_date(None)
    try:
        return date.fromisoformat(str(said)[:10]).isoformat()
    except ValueError:
        return None


def _number(name: str) -> Callable[[Live], str | None]:
    def read(entry: Live) -> str | None:
        said = entry.get(name)
        return str(said) if isinstance(said, int) and not isinstance(said, bool) else None

    return read


def _thinking(entry: Live) -> str | None:
    types = _inside(entry, "capabilities", "thinking", "types")
    return None if types is None else _words(sorted(_supported(types)))


def _effort(entry: Live) -> str | None:
    levels = _inside(entry, "capabilities", "effort")
    if levels is None:
        return None
    named = _supported(levels) if levels.get("supported") is not False else set()
    return _words([level for level in EFFORTS if level in named] + sorted(named - {*EFFORTS}))


def _able(*path: str) -> Callable[[Live], str | None]:
    def read(entry: Live) -> str | None:
        leaf = _inside(entry, "capabilities", *path)
        said = None if leaf is None else leaf.get("supported")
        return _yes_or_no(said) if isinstance(said, bool) else None

    return read


def _inside(entry: Live, *path: str) -> Live | None:
    value: Any = entry
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else None


def _supported(leaves: Live) -> set[str]:
    """The names whose leaf is `{"supported": true}`."""
    return {
        str(name)
        for name, leaf in leaves.items()
        if isinstance(leaf, Mapping) and leaf.get("supported") is True
    }


# --- what both are compared as ------------------------------------------------------------------------------


def _words(names: Iterable[str]) -> str:
    return " ".join(names) or "none"


def _yes_or_no(able: bool) -> str:
    return "yes" if able else "no"


def _no_date(day: date | None) -> str:
    return day.isoformat() if day is not None else "no date"


def _has(feature: Feature) -> Callable[[Model], str]:
    return lambda row: _yes_or_no(feature in row.features)


_COMPARED: tuple[tuple[Field, Callable[[Live], str | None], Callable[[Model], str]], ...] = (
    ("lifecycle", _lifecycle, lambda row: row.lifecycle.status),
    ("retires_on", _retires_on, lambda row: _no_date(row.lifecycle.retires_on)),
    ("context_tokens", _number("max_input_tokens"), lambda row: str(row.context_tokens)),
    ("max_output_tokens", _number("max_tokens"), lambda row: str(row.max_output_tokens)),
    ("thinking", _thinking, lambda row: _words(sorted(row.thinking.types))),
    ("effort", _effort, lambda row: _words(row.effort.levels)),
    ("structured_outputs", _able("structured_outputs"), _has("structured_outputs")),
    ("compaction", _able("context_management", "compact_20260112"), _has("compaction")),
    ("programmatic_tools", _able("code_execution"), _has("programmatic_tools")),
)
"""Each field, what a live object says of it, and what a row does."""
