"""A draft is a value: each step returns another one, and what no step touched goes out as it came in."""

import json
from collections.abc import Sequence

from msgspec import Raw

from gateway.compat.draft import Draft
from gateway.compat.envelope import encode, parse
from gateway.compat.replay import After, Append
from gateway.core.types import RewriteClass
from tests.support.requests import HELLO, Json, asked, draft_of
from tests.support.rows import O45, O55

BODY = (
    b'{ "model":"m", "max_tokens" : 1e3, "messages":[ {"role":"user","content":"h\\u0065llo"} ],"x":[ 1.0 ]}'
)
NOTE: Json = {"role": "user", "content": "note"}


def drafted(body: bytes = BODY) -> Draft:
    return draft_of(parse(body), O45, O55)


def test_an_untouched_draft_is_the_body_that_came_in() -> None:
    draft = drafted()
    assert draft.body is draft.envelope.body
    assert draft.sent is draft.envelope
    assert draft.drop("missing") is draft


def test_a_step_leaves_the_draft_before_it_alone() -> None:
    before = drafted()
    after = before.put("x", 2).drop("max_tokens").note("r", RewriteClass.lossless, "Done.")
    assert (before.body, before.changes) == (BODY, ())
    assert after.body == b'{"model":"m","messages":[ {"role":"user","content":"h\\u0065llo"} ],"x":2}'
    assert [(change.rule, change.sentence) for change in after.changes] == [("r", "Done.")]


def test_a_new_field_stands_at_the_end() -> None:
    assert list(json.loads(drafted().put("a", 1).put("model", "n").body)) == [
        "model",
        "max_tokens",
        "messages",
        "x",
        "a",
    ]


def test_options_are_read_one_level_down() -> None:
    draft = drafted(b'{"model":"m","a":{"b": 1.0},"c":null,"d":[]}')
    assert draft.options("a") == {"b": Raw(b"1.0")}
    assert (draft.options("c"), draft.options("missing"), draft.options("d")) == ({}, {}, None)


def test_what_is_written_into_the_messages_is_told_to_the_next_turn() -> None:
    draft = drafted().edit(Append(0, encode({"type": "text", "text": "more"}))).edit(After(0, encode(NOTE)))
    said = json.loads(draft.body)["messages"]
    assert [part["text"] for part in said[0]["content"]] == ["hello", "more"]
    assert said[1] == NOTE
    assert (len(draft.edits), draft.plan.repeats) == (2, True)


def test_a_rule_over_all_messages_sees_what_was_written() -> None:
    def reversing(messages: Sequence[Raw]) -> list[Raw]:
        return list(reversed(messages))

    draft = drafted().edit(After(0, encode(NOTE))).reworded(reversing)
    assert [turn["content"] for turn in json.loads(draft.body)["messages"]] == ["note", "hello"]


def test_what_goes_out_is_known_without_being_read_again() -> None:
    answer: Json = {"role": "assistant", "content": "so"}
    draft = draft_of(asked(O45, messages=[HELLO, answer, HELLO]), O45, O55)
    sent = draft.edit(After(2, encode(NOTE))).put("model", "n").sent
    assert [turn.role for turn in sent.turns] == ["user", "assistant", "user", "user"]
    assert sent.turns[1] is draft.envelope.turns[1]
    assert (sent.model, parse(sent.body).turns) == ("n", sent.turns)


def test_messages_that_are_none_are_left_to_the_upstream() -> None:
    draft = drafted(b'{"model":"m","messages":[5]}').edit(After(0, encode(NOTE)))
    assert draft.sent.turns == ()
    assert json.loads(draft.body)["messages"] == [5, NOTE]
