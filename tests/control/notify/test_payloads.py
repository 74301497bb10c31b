"""The bytes that sinks get: nothing that Slack would take for a command, and nothing about people."""

import json
from typing import Any

from gateway.control.notify.payloads import SECTION_LENGTH, body, generic, slack
from gateway.control.notify.templates import Message, message
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import Event

SPEC = MigrationSpec("m", "old", "new", ("old",), (Stage("canary", 5.0),))
AFTER = {
    "phase": "rolled_back",
    "reason": "automatic",
    "stage": 0,
    "weight_percent": 0.0,
    "run": 1,
    "version": 3,
}
GATE = {
    "name": "error_rate",
    "verdict": "fail",
    "reason": "12 % of 210",
    "evidence": {"value": 0.12, "n": 210},
}
METRIC = {"name": "error", "ratio": 31.0, "margin": 1.25}


def told(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "at": 1_800_000_000.5,
        "by": "controller",
        "verb": "automatic-rollback",
        "reason": "error_rate: 12 % of 210",
        "before": AFTER | {"phase": "running", "lists": {"deny_users": ["ann@example.org"]}},
        "after": AFTER | {"lists": {"deny_users": ["ann@example.org"]}},
        "evidence": {"gates": [GATE], "metrics": [METRIC], "mode": "evict"},
        "seq": 9,
    }
    made = message("m", Event(**{**fields, **changes}), SPEC)
    assert made is not None
    return made


def test_programs_get_the_words_and_the_facts() -> None:
    payload = json.loads(body(told(), "webhook"))
    assert payload["text"].startswith("m: ROLLED BACK by its gates\n")
    assert {key: payload[key] for key in ("id", "type", "migration", "control", "candidate", "time")} == {
        "id": "m:9:1800000000500",
        "type": "rolled_back",
        "migration": "m",
        "control": "old",
        "candidate": "new",
        "time": "2027-01-15T08:00:00Z",
    }
    assert (payload["gates"], payload["metrics"]) == ([GATE], [METRIC])
    assert payload["after"] == AFTER
    assert payload["commands"] == ["gateway migration incidents m", "gateway migration restart m"]


def test_people_on_lists_are_in_no_payload() -> None:
    for kind in ("slack", "webhook"):
        assert b"ann@" not in body(told(), kind)  # type: ignore[arg-type]


def test_slack_gets_a_title_for_its_notification_and_blocks_to_read() -> None:
    payload = json.loads(body(told(), "slack"))
    assert payload["text"] == "m: ROLLED BACK by its gates"
    first, second, last = payload["blocks"]
    assert first["text"]["text"].startswith("*m: ROLLED BACK by its gates*\nold serves everything again.\n")
    assert "`gateway migration restart m`" in second["text"]["text"]
    assert last["elements"][0]["text"] == "2027-01-15T08:00:00Z · by controller · event 9"


def test_what_people_write_calls_nobody_and_links_nowhere() -> None:
    hostile = told(by="<!here>", reason="<!channel> & <http://evil|click>", evidence={})
    text = json.dumps(slack(hostile))
    assert "<" not in text
    assert "&lt;!channel&gt; &amp; &lt;http://evil|click&gt;" in text


def test_no_section_is_longer_than_slack_takes() -> None:
    gates = [GATE | {"reason": "<" * 500} for _ in range(5)]
    payload = slack(told(evidence={"gates": gates}))
    lengths = [len(block["text"]["text"]) for block in payload["blocks"] if block["type"] == "section"]
    assert max(lengths) == SECTION_LENGTH


def test_evidence_that_is_no_number_is_left_out() -> None:
    gate = GATE | {"evidence": {"value": 0.5, "text": "the answer was"}}
    assert generic(told(evidence={"gates": [gate]}))["gates"][0]["evidence"] == {"value": 0.5}
