"""What an API version rejects it rejects for every model, and no rule touches it."""

import json
from typing import Any

import pytest

from gateway.compat.envelope import Headers
from gateway.compat.request import Context, rewrite
from gateway.compat.rules.headers.versions import STRICTER, violations
from tests.support.requests import HELLO, KEEP, Json, asked
from tests.support.rows import O46, O55

DOCUMENT: Json = {"type": "document", "source": {}}
CITED: Json = {"type": "text", "text": "x", "citations": [{"type": "char_location"}]}


def said(role: str, *blocks: Any) -> list[Json]:
    return [HELLO, {"role": role, "content": [*blocks]}]


@pytest.mark.parametrize(
    ("messages", "count"),
    [
        (said("assistant", DOCUMENT), 1),
        (said("user", DOCUMENT), 0),
        (said("user", {"type": "tool_result", "tool_use_id": "t", "content": [DOCUMENT]}), 0),
        (said("user", CITED), 1),
        (said("assistant", CITED), 0),
        (said("user", {**CITED, "citations": []}), 0),
        (said("user", {**CITED, "citations": None}), 0),
        (said("user", {**DOCUMENT, "citations": {"enabled": True}}), 0),
        (
            said(
                "user",
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "content": [{"type": "search_result", "content": [CITED]}],
                },
            ),
            1,
        ),
        (said("user", {"type": "tool_result", "tool_use_id": "t", "content": "text"}), 0),
        (said("assistant", DOCUMENT) + said("user", CITED), 2),
    ],
)
def test_the_newer_version_takes_no_documents_of_the_assistant_and_no_citations_of_the_user(
    messages: list[Json], count: int
) -> None:
    envelope = asked(O55, messages=messages)
    found = list(violations(envelope, O55, Headers(version=STRICTER)))
    assert [change.rule for change in found] == ["api_version"] * count
    assert list(violations(envelope, O55, Headers(version="2023-06-01"))) == []


def test_what_every_model_rejects_is_left_for_the_upstream_to_say() -> None:
    messages = [*said("assistant", DOCUMENT), HELLO]
    envelope = asked(O46, messages=messages, temperature=0.5)
    done = rewrite(envelope, O46, O55, KEEP, Context(version=STRICTER))
    body = json.loads(done.body)
    assert (body["messages"], body["temperature"]) == (messages, 0.5)
    assert done.violations == ()
