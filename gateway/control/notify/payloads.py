"""The bytes of a message: Slack's blocks for people, and the same as plain JSON for programs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.control.notify.sinks import SinkKind
from gateway.control.notify.templates import Message, gates_of, said
from gateway.core.types import to_json

SECTION_LENGTH = 2900
"""Slack takes 3 000 characters in a section."""

_SHOWN = ("phase", "reason", "stage", "weight_percent", "run", "version")
"""What is told of a state. An event may hold more: the lists, for one, name people."""


def body(told: Message, kind: SinkKind) -> bytes:
    """Return what a sink of this kind is sent."""
    return to_json(slack(told) if kind == "slack" else generic(told))


def slack(told: Message) -> dict[str, Any]:
    """Return what Slack's incoming webhooks take; others that take the same read `text`."""
    facts = "\n".join(_escaped(fact) for fact in told.facts)
    commands = "".join(f"\n`{_escaped(command)}`" for command in told.commands)
    when = f"{_iso(told.event.at)} · by {_escaped(said(told.event.by))} · event {told.event.seq}"
    return {
        "text": _escaped(told.title),
        "blocks": [
            _section(f"*{_escaped(told.title)}*\n{facts}"),
            _section(f"*What to do:* {_escaped(told.todo)}{commands}"),
            {"type": "context", "elements": [{"type": "mrkdwn", "text": when}]},
        ],
    }


def generic(told: Message) -> dict[str, Any]:
    """Return the same for programs: the words, and the facts that they were made of."""
    event = told.event
    return {
        "id": told.id,
        "type": told.change,
        "migration": told.migration,
        "control": told.spec.control,
        "candidate": told.spec.candidate,
        "at": event.at,
        "time": _iso(event.at),
        "by": said(event.by),
        "verb": event.verb,
        "reason": said(event.reason),
        "title": told.title,
        "text": told.text,
        "commands": list(told.commands),
        "before": _shown(event.before),
        "after": _shown(event.after),
        "gates": gates_of(event),
        "metrics": event.evidence.get("metrics", []),
    }


def _shown(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {key: summary[key] for key in _SHOWN if key in summary}


def _section(text: str) -> dict[str, Any]:
    clipped = text if len(text) <= SECTION_LENGTH else text[: SECTION_LENGTH - 1] + "…"
    return {"type": "section", "text": {"type": "mrkdwn", "text": clipped}}


def _escaped(text: str) -> str:
    """Return text that Slack shows as it is: no mention, no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
