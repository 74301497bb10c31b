"""Which conversations the upstream holds, and under which name."""

import json
from typing import Any

import pytest

from gateway.compat.envelope import Envelope, parse
from gateway.compat.explain.features import GROUPS, Feature, body_for
from gateway.compat.request import Context, obstacle, rewrite
from gateway.compat.thread import continued, id_in, id_of, is_anothers, leaves_thread
from gateway.core.spec import CompatPolicy
from gateway.core.sse import SseScanner
from tests.support.rows import F52, H45, O45, O55, S5, S45, S55


def asked(**fields: Any) -> Envelope:
    return parse(json.dumps({"model": "m", "messages": [], **fields}).encode())


@pytest.mark.parametrize(
    ("thread", "leaves", "previous"),
    [
        ({"type": "create"}, True, None),
        ({"type": "create", "previous_message_id": None, "later": 1}, True, None),
        ({"type": "continue", "previous_message_id": "msg_1"}, True, "msg_1"),
        ({"type": "continue"}, True, ""),
        ({"type": 5}, False, None),
        ("create", False, None),
        (None, False, None),
    ],
)
def test_a_thread_is_begun_or_continued_by_what_the_request_says(
    thread: Any, leaves: bool, previous: str | None
) -> None:
    envelope = asked(thread=thread)
    assert (leaves_thread(envelope), continued(envelope)) == (leaves, previous)


def test_without_the_field_there_is_none() -> None:
    assert not leaves_thread(asked())
    assert continued(asked()) is None


@pytest.mark.parametrize(
    ("body", "expected"), [(b'{"id":"msg_1","type":"message"}', "msg_1"), (b'{"id":5}', ""), (b"<html>", "")]
)
def test_an_answer_has_an_id_or_none(body: bytes, expected: str) -> None:
    assert id_of(body) == expected


def test_a_stream_names_its_answer_in_its_first_event() -> None:
    stream = (
        b'event: ping\ndata: {"message":{"id":"no"}}\n\n'
        b'event: message_start\ndata: {"message":{"id":"msg_1"}}\n\nevent: message_start\ndata: {}\n\n'
    )
    assert [id_in(event) for event in SseScanner().feed(stream)] == ["", "msg_1", ""]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"details": {"error_code": "thread_fingerprint_mismatch"}}, True),
        ({"details": {"error_code": "thread_not_found"}}, False),
        ({"details": None}, False),
        ({"details": 5}, False),
        ({}, False),
        (None, False),
    ],
)
def test_an_error_may_say_that_the_thread_is_another_model_s(error: Any, expected: bool) -> None:
    assert is_anothers(json.dumps({"type": "error", "error": error}).encode()) is expected


def test_what_is_no_error_says_nothing() -> None:
    assert not is_anothers(b"")
    assert not is_anothers(b'{"id":"msg_1"}')


# --- one conversation, one set of options -------------------------------------------------------------------

BOUND = (
    "tool_choice",
    "thinking",
    "mcp_servers",
    "context_management",
    "output_config",
    "cache_control",
    "container",
)
"""What all turns of a thread must say alike, besides the model and the betas."""
MOVES = [(O45, O55), (O55, O45), (S45, S55), (S55, S5), (S5, S55), (H45, F52), (F52, O45)]
BETA = "message-threads-2026-08-12"
POLICIES = [CompatPolicy(), CompatPolicy(progress_notes="text"), CompatPolicy(thinking="adopt")]


def turns_of(model: str, feature: Feature) -> tuple[Envelope, Envelope]:
    """Return the first turn of a thread that asks for a feature, and one that goes on from it."""
    begun = {**body_for(model, feature), "thread": {"type": "create"}}
    later = {name: value for name, value in begun.items() if name not in ("system", "tools")}
    later["messages"] = [{"role": "user", "content": "And then?"}]
    later["thread"] = {"type": "continue", "previous_message_id": "msg_1"}
    return parse(json.dumps(begun).encode()), parse(json.dumps(later).encode())


@pytest.mark.parametrize("policy", POLICIES, ids=["as shipped", "notes as text", "thinking adopted"])
@pytest.mark.parametrize("group", [name for name in GROUPS if "refill" not in name])
def test_options_are_rewritten_alike_in_every_turn_though_later_ones_do_not_bring_the_tools(
    group: str, policy: CompatPolicy
) -> None:
    for feature in GROUPS[group]:
        context = Context(betas=(*feature.betas, BETA), version=feature.version)
        for source, target in MOVES:
            first, second = turns_of(source.id, feature)
            if len(first.turns) > 1 or obstacle(first, source, target, policy, context) is not None:
                continue
            assert obstacle(second, source, target, policy, context) is None
            one = rewrite(first, source, target, policy, context)
            two = rewrite(second, source, target, policy, context)
            bound = [{name: json.loads(each.body).get(name) for name in BOUND} for each in (one, two)]
            assert bound[0] == bound[1], (feature.name, source.id, target.id)
            assert one.betas == two.betas
