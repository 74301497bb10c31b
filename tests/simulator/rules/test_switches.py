from dataclasses import fields
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.simulator.rules.switches import Switches, read_switches


@pytest.mark.parametrize(
    ("spec", "changed"),
    [
        ("", {}),
        (" , ", {}),
        ("recent_account=true", {"recent_account": True}),
        ("data_retention = false, platform=bedrock", {"data_retention": False, "platform": "bedrock"}),
        ("obeys_tool_line=second", {"obeys_tool_line": "second"}),
        ("prefill_reply=spaced", {"prefill_reply": "spaced"}),
        ("prefill_reply=spaced,prefill_reply=none", {"prefill_reply": None}),
        ("settings_split_cache=all", {"settings_split_cache": "all"}),
    ],
)
def test_switches_are_read(spec: str, changed: dict[str, Any]) -> None:
    assert read_switches(spec, Switches()) == Switches(**changed)


def test_what_is_not_named_stays() -> None:
    base = Switches(strict_roles=True, platform="vertex")
    assert read_switches("list_all=true", base) == Switches(
        strict_roles=True, platform="vertex", list_all=True
    )


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("colour=blue", "switch 'colour=blue': 'colour' is unknown; one of platform, recent_account"),
        ("recent_account=yes", "switch 'recent_account=yes': 'yes' is not one of true, false"),
        ("recent_account", "switch 'recent_account': '' is not one of true, false"),
        ("obeys_tool_line=maybe", "'maybe' is not one of always, never, second"),
        ("prefill_reply=shout", "'shout' is not one of repeat, spaced, fenced, continue, none"),
    ],
)
def test_what_is_wrong_is_named(spec: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_switches(spec, Switches())
    assert said in caught.value.message


def test_every_switch_can_be_written() -> None:
    for field in fields(Switches):
        value = getattr(Switches(), field.name)
        written = str(value).lower() if value in (True, False, None) else value
        assert read_switches(f"{field.name}={written}", Switches()) == Switches()
