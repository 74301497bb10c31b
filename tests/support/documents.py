"""Small documents of a configuration in a directory of the test, and what is wrong with them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.errors import ConfigError

ROW = """
  - id: {id}
    aliases: [{alias}]
    display_name: {id}
    line: opus
    context_tokens: 200_000
    max_output_tokens: 64_000
    tokenizer: old
    min_cacheable_tokens: 1024
    thinking: {{types: [enabled], omitted: off, display_default: summarized}}
    prefill: true
    forced_tool: always
    mid_conversation_system: false
    fast_mode: no
    decision: {{tier: production}}
    source: "[I]"
"""
RATES = {"input": 1, "output": 5, "cache_write_5m": 1, "cache_write_1h": 2, "cache_read": 0}
PRICES = json.dumps({**RATES, "batch_input": 1, "batch_output": 1})

Write = Callable[..., Path]


def row(id: str, alias: str = "", **changed: str) -> str:
    values = {"lifecycle": "{status: active}", "effort": "{}", "sampling": "{accepts: any}", "prices": PRICES}
    lines = (f"    {key}: {value}\n" for key, value in {**values, **changed}.items())
    return ROW.format(id=id, alias=alias) + "".join(lines)


MODELS = "models:" + row("old-20250101", "old") + row("new")


def migration(name: str = "m", models: str = "old", more: str = "", **arms: str) -> str:
    control, candidate = arms.get("control", "old-20250101"), arms.get("candidate", "new")
    stages = "[{name: full, percent: 100}]"
    return (
        f"{{name: {name}, control: {control}, candidate: {candidate}, "
        f"match: {{models: [{models}]}}, stages: {stages}, checklist: advisory{more}}}"
    )


def writer(directory: Path) -> Write:
    """Return what writes gateway.yaml and what it names, and returns its path."""

    def write(root: str = "", models: str = MODELS, **migrations: str) -> Path:
        (directory / "gateway.yaml").write_text(root)
        (directory / "models.yaml").write_text(models)
        (directory / "migrations").mkdir(exist_ok=True)
        for name, text in migrations.items():
            (directory / "migrations" / f"{name}.yaml").write_text(text)
        return directory / "gateway.yaml"

    return write


def problems_of(load_it: Callable[[Path], object], path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_it(path)
    return [line.replace(f"{path.parent}/", "") for line in caught.value.message.splitlines()]
