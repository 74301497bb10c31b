"""Where notes are found: what clients change between turns does not count, everything else does."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.compat.address import addresses, answer_digests, echo
from gateway.compat.envelope import parse

Json = dict[str, Any]
MARK: Json = {"cache_control": {"type": "ephemeral"}}


def text(said: str, **more: Any) -> Json:
    return {"type": "text", "text": said, **more}


def user(*content: Any) -> Json:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def answer(*content: Any) -> Json:
    return {"role": "assistant", "content": content[0] if isinstance(content[0], str) else list(content)}


def thinking(said: str = "hm", signature: str = "sig") -> Json:
    return {"type": "thinking", "thinking": said, "signature": signature}


def call(number: int = 1, name: str = "look_up", **more: Any) -> Json:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {"q": "x"}, **more}


def result(number: int = 1, content: Any = "42", **more: Any) -> Json:
    return {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": content, **more}


TOOL: Json = {"name": "look_up", "description": "x", "input_schema": {"type": "object"}}
TURNS: list[Json] = [
    user("What is it?"),
    answer(thinking(), text("Let me see."), call()),
    user(result(content=[text("42")]), text("And?")),
    answer("It is 42."),
    user("Thanks."),
]


def found(turns: list[Json], **fields: Any) -> list[str]:
    body = {"model": "m", "system": "Be brief.", "tools": [TOOL], "messages": turns, **fields}
    return [each.digest for each in addresses(parse(json.dumps(body).encode()))]


AS_SENT = found(TURNS)


def with_turn(place: int, turn: Json) -> list[Json]:
    return [*TURNS[:place], turn, *TURNS[place + 1 :]]


def test_each_answer_has_its_own_address_and_nothing_else_has_one() -> None:
    envelope = parse(json.dumps({"model": "m", "messages": TURNS}).encode())
    assert [each.place for each in addresses(envelope)] == [1, 3]
    assert len({*AS_SENT}) == 2


@pytest.mark.parametrize(
    "turns",
    [
        with_turn(0, user(text("What is it?"))),
        with_turn(0, user(text("What is it?", **MARK))),
        with_turn(0, user({"text": "What is it?", "type": "text", "citations": None})),
        with_turn(1, answer(text("Let me see."), call())),
        with_turn(1, answer(thinking("another", "other"), text("Let me see."), call())),
        with_turn(1, answer(text("  Let me\nsee. "), call(caller=None))),
        with_turn(1, answer(text("Let me "), text("see."), call(**MARK))),
        with_turn(2, user(result(content=[text("42", **MARK)], **MARK), text("And?"))),
        with_turn(2, user(result(content="42"), text("And?"))),
        with_turn(2, user(result(content=[text("42")], is_error=None), text("And?", **MARK))),
        with_turn(
            2,
            user(
                {"content": [text("42")], "tool_use_id": "toolu_1", "type": "tool_result"},
                text("And?"),
            ),
        ),
        with_turn(3, answer(text("It is 42.\n", **MARK))),
        with_turn(3, answer(text("It is 42."), {"type": "redacted_thinking", "data": "x"})),
        [*TURNS[:-1], user("Something else.")],
        [*TURNS, answer("Beginning:")],
    ],
)
def test_what_clients_change_between_turns_does_not_count(turns: list[Json]) -> None:
    assert found(turns) == AS_SENT


@pytest.mark.parametrize(
    "fields",
    [
        {"system": [text("Be brief.")]},
        {"system": [text("Be brief.", **MARK)]},
        {"tools": [{**TOOL, **MARK}]},
        {"tools": [{**TOOL, "strict": None}]},
        {"tools": [dict(reversed(TOOL.items()))]},
        {"temperature": 0.5, "max_tokens": 7, "metadata": {"user_id": "u"}},
    ],
)
def test_markers_and_what_is_no_part_of_the_conversation_do_not_count(fields: Json) -> None:
    assert found(TURNS, **fields) == AS_SENT


@pytest.mark.parametrize(
    ("turns", "same"),
    [
        (with_turn(0, user("What was it?")), 0),
        (with_turn(0, user("What is it? ")), 0),
        (with_turn(1, answer(text("Let me look."), call())), 0),
        (with_turn(1, answer(text("Let me see."), call(2))), 0),
        (with_turn(1, answer(text("Let me see."), call(name="other"))), 0),
        (with_turn(1, answer(text("Let me see."))), 0),
        (with_turn(1, answer(text("Let me see."), call(), {"type": "image", "source": {}})), 0),
        (with_turn(2, user(result(content=[text("43")]), text("And?"))), 1),
        (with_turn(2, user(result(content=[text("42")], is_error=True), text("And?"))), 1),
        (with_turn(2, user(text("And?"), result(content=[text("42")]))), 1),
        (with_turn(2, user(result(content=[text("4"), text("2")]), text("And?"))), 1),
        (with_turn(3, answer("It is 43.")), 1),
    ],
)
def test_a_real_edit_changes_every_address_from_there_on(turns: list[Json], same: int) -> None:
    edited = found(turns)
    assert edited[:same] == AS_SENT[:same]
    assert not {*edited[same:]} & {*AS_SENT}


@pytest.mark.parametrize(
    "fields", [{"system": "Be long."}, {"system": None}, {"tools": [{**TOOL, "name": "y"}]}]
)
def test_another_system_prompt_or_tool_is_another_conversation(fields: Json) -> None:
    assert not {*found(TURNS, **fields)} & {*AS_SENT}


def test_text_that_only_looks_like_a_marker_counts() -> None:
    """The texts differ in nothing but what a careless reader takes for a cache marker, or for a comma."""
    turns = [
        [user(result(content=content, **mark), text("And?")), answer("It is."), user("So?")]
        for content in ('a, "cache_control": {}', "a", "a,}", "a}")
        for mark in ({}, MARK)
    ]
    plain, marked = [found(each) for each in turns[::2]], [found(each) for each in turns[1::2]]
    assert plain == marked
    assert len({each[0] for each in plain}) == 4


def test_the_address_of_an_answer_is_that_under_which_its_echo_is_found() -> None:
    asked = parse(
        json.dumps({"model": "m", "system": "Be brief.", "tools": [TOOL], "messages": TURNS[:3]}).encode()
    )
    said = [Raw(json.dumps(block).encode()) for block in (text("It is "), text("42. "))]
    assert answer_digests(asked, [echo(said), echo(said)]) == (AS_SENT[1],)


def test_the_address_of_an_answer_is_the_same_whether_or_not_its_history_was_gone_through_before() -> None:
    body = json.dumps({"model": "m", "messages": TURNS}).encode()
    first, second = parse(body), parse(body)
    known = addresses(first)
    made = answer_digests(first, [b"one"]), answer_digests(first, [b"two"])
    assert made == (answer_digests(second, [b"one"]), answer_digests(second, [b"two"]))
    assert addresses(first) == addresses(second) == known


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": 1, "b": 2}, {"a\0.b": 2}),
        ({"a": "b"}, {"a\0": "b"}),
        ({"content": "x", "z": 1}, {"content": ["x"], "z": 1}),
        ({"a": "x", "b": "y"}, {"a": "y", "b": "x"}),
    ],
)
def test_blocks_of_other_keys_or_values_are_others(one: Json, two: Json) -> None:
    ours, theirs = (found([user({"type": "t", **block}), answer("x"), user("y")])[0] for block in (one, two))
    assert ours != theirs


def test_a_prefill_is_no_part_of_the_history_that_its_answer_is_found_by() -> None:
    asked = parse(json.dumps({"model": "m", "messages": [user("x"), answer("{")]}).encode())
    again = parse(json.dumps({"model": "m", "messages": [user("x"), answer('{"a": 1}'), user("y")]}).encode())
    whole = echo(Raw(json.dumps([text('{"a":'), text(" 1}")]).encode()))
    assert answer_digests(asked, [whole]) == (addresses(again)[0].digest,)


@pytest.mark.parametrize("content", [None, 7, {"a": 1}, [], [7], [[]], [{"type": 7}], [{"text": "x"}], [{}]])
@pytest.mark.parametrize("make", [user, answer])
def test_content_of_any_shape_has_an_address(content: Any, make: Callable[..., Json]) -> None:
    turn = {**make("x"), "content": content}
    assert len(found([turn, answer("a"), user("b")])) == (2 if make is answer else 1)


def test_what_is_nested_too_deeply_to_be_read_has_one_too() -> None:
    deep = "[" * 900 + "]" * 900
    body = (
        '{"model": "m", "messages": [{"role": "assistant", "content": [{"type": "x", "y": ' + deep + "}]}]}"
    )
    assert len(addresses(parse(body.encode()))) == 1


BLOCKS = st.one_of(
    st.builds(text, st.text(max_size=8)),
    st.builds(call, st.integers(1, 3)),
    st.builds(result, st.integers(1, 3), st.text(max_size=4)),
)
CONVERSATIONS = st.lists(
    st.one_of(
        st.builds(lambda blocks: user(*blocks), st.lists(BLOCKS, min_size=1, max_size=3)),
        st.builds(lambda blocks: answer(*blocks), st.lists(BLOCKS, min_size=1, max_size=3)),
    ),
    max_size=6,
)


@given(turns=CONVERSATIONS, data=st.data())
def test_markers_anywhere_change_nothing(turns: list[Json], data: st.DataObject) -> None:
    marked = [
        {
            **turn,
            "content": [{**block, **(MARK if data.draw(st.booleans()) else {})} for block in turn["content"]],
        }
        for turn in turns
    ]
    assert found([*turns, user("end")]) == found([*marked, user("end")])


@given(turns=CONVERSATIONS, more=CONVERSATIONS)
def test_a_conversation_that_goes_on_keeps_the_addresses_that_it_has(
    turns: list[Json], more: list[Json]
) -> None:
    before = found([*turns, user("end")])
    assert found([*turns, user("end"), *more, user("end")])[: len(before)] == before
