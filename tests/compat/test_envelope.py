"""A body is read at its top level only, and whatever is odd about it is either said clearly or passes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway.compat.envelope import Envelope, Turn, parse
from gateway.errors import BadRequest


def envelope(**fields: Any) -> Envelope:
    return parse(json.dumps({"model": "m", **fields}).encode())


def turns(*roles_and_contents: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in roles_and_contents]


HELLO = ("user", "hello")
TEXT = {"type": "text", "text": "so far"}
SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The request body is not valid JSON: it ends too early (byte 0)."),
        (b'{"model": "m"', "The request body is not valid JSON: it ends too early (byte 13)."),
        (b'{"model": nope}', "The request body is not valid JSON: invalid character (byte 11)."),
        (b'{"model":"m"} x', "The request body is not valid JSON: trailing characters (byte 15)."),
        (
            b'{"a":"\\ud83d\\ude00 \\ud83d","b":1}',
            "The request body is not valid JSON: half of a surrogate pair (byte 19).",
        ),
        (b'{"\xff": 1}', "The request body is not valid JSON: a field's name is not valid UTF-8."),
        (b"[1]", "The request body must be a JSON object."),
        (b'"text"', "The request body must be a JSON object."),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "The request body is nested too deeply."),
        (b"{}", "model: Field required"),
        (b'{"model": 7}', "model: Input should be a valid string"),
        (b'{"model": null}', "model: Input should be a valid string"),
        (b'{"model": "m", "messages": "hi"}', "messages: Input should be a valid list"),
        (b'{"model": "m", "messages": null}', "messages: Input should be a valid list"),
    ],
)
def test_what_the_gateway_cannot_work_with_is_a_bad_request(body: bytes, sentence: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.message == sentence
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("size", [0, 90])
def test_more_messages_than_the_api_takes_are_refused(size: int) -> None:
    turn = b'{"role":"user","content":"' + b"a" * size + b'"}'

    def body(count: int) -> bytes:
        return b'{"model":"m","messages":[' + b",".join([turn] * count) + b"]}"

    assert parse(body(100_000)).model == "m"
    with pytest.raises(BadRequest, match="at most 100000"):
        parse(body(100_001))


DATA = "A" * 2000


@pytest.mark.parametrize(
    "source",
    [
        f'"type": "base64", "media_type": "image/png", "data": "{DATA}"',
        f'"type":"base64","data":"{DATA}","media_type":"image/png"',
        f'"media_type":"image/png","type":"base64","data":"{DATA}"',
        f'"media_type":"image/png","data" :\n"{DATA}","type":"base64"',
        f'"data":"{DATA}","type":"base64" , "media_type":"image/png"',
        f'"data":"{DATA}","media_type":"image/png","type":"base64"',
    ],
)
def test_pictures_are_counted_in_whatever_order_their_source_is_told(source: str) -> None:
    body = f'{{"model":"m","a":{{{source}}},"b":{{"type":"text"}},"c":{{{source}}}}}'
    assert parse(body.encode()).pictures == (2, 4000)


@pytest.mark.parametrize(
    "words",
    [
        '"media_type":"image/png","data":"short"',
        '"data":"short","media_type":"image/png"',
        f'"media_type":"text/plain","data":"{"a b " * 500}"',
        f'"data":"{"a b " * 500}","media_type":"text/plain"',
        f'"text":"{DATA}","media_type":"image/png"',
        f'"text":"\\"media_type\\":\\"image/png\\",\\"data\\":\\"{DATA}"',
        f'"text":"media_type","data":"{DATA}"',
    ],
)
def test_what_is_no_picture_is_text(words: str) -> None:
    assert parse(f'{{"model":"m","a":{{{words}}}}}'.encode()).pictures == (0, 0)


def test_a_body_is_kept_with_every_value_as_it_came() -> None:
    body = b'{ "model" : "m\\u0031", "x":1.50e+1 , "y" :{"a" : [ 1 ]} }'
    read = parse(body)
    assert read.body is body
    assert read.model == "m1"
    assert {key: bytes(value) for key, value in read.fields.items()} == {
        "model": b'"m\\u0031"',
        "x": b"1.50e+1",
        "y": b'{"a" : [ 1 ]}',
    }


def test_the_parts_are_read() -> None:
    read = envelope(stream=True, max_tokens=10, metadata={"user_id": "u", "other": 1})
    assert (read.stream, read.max_tokens, read.user_id) == (True, 10, "u")


@pytest.mark.parametrize("value", [None, "x", [], {}, 1.5, True])
def test_parts_of_the_wrong_type_are_not_known(value: Any) -> None:
    read = envelope(max_tokens=value, metadata=value, system=value, messages=[value])
    assert (read.max_tokens, read.user_id, read.turns, read.opening) == (None, None, (), None)
    assert envelope(stream="true").stream is False
    assert envelope(metadata={"user_id": 5}).user_id is None


def test_a_whole_number_may_be_spelled_with_a_fraction() -> None:
    assert parse(b'{"model":"m","max_tokens":1024.0}').max_tokens == 1024


@pytest.mark.parametrize(
    ("messages", "continues"),
    [
        ([], False),
        ([HELLO], False),
        ([HELLO, ("user", "and more")], False),
        ([HELLO, ("assistant", "{")], False),
        ([HELLO, ("assistant", "a"), ("assistant", [TEXT])], False),
        ([HELLO, ("assistant", "")], False),
        ([HELLO, ("assistant", "answer"), HELLO], True),
        ([HELLO, ("assistant", "answer"), HELLO, ("assistant", "{")], True),
        ([HELLO, ("assistant", [SEARCH, FOUND])], True),
        ([HELLO, ("assistant", [SEARCH, FOUND, TEXT])], False),
        ([HELLO, ("assistant", [{"type": "tool_use", "id": "t", "name": "n", "input": {}}])], True),
    ],
)
def test_only_a_history_with_an_answer_continues(messages: list[tuple[str, Any]], continues: bool) -> None:
    assert envelope(messages=turns(*messages)).continues is continues


def test_a_redeemed_credit_is_no_prefill() -> None:
    messages = turns(HELLO, ("assistant", "partial"))
    assert envelope(messages=messages).prefill is not None
    redeemed = envelope(messages=messages, fallback_credit_token="t")
    assert redeemed.prefill is None
    assert redeemed.continues


def test_a_prefill_is_the_text_of_all_last_assistant_turns() -> None:
    prefill = envelope(messages=turns(HELLO, ("assistant", "a"), ("assistant", [TEXT, TEXT]))).prefill
    assert prefill is not None
    assert (prefill.start, prefill.text, prefill.removable) == (1, "aso farso far", True)


def test_a_prefill_behind_results_of_server_tools_cannot_be_taken_away() -> None:
    prefill = envelope(messages=turns(HELLO, ("assistant", [SEARCH, FOUND, TEXT]))).prefill
    assert prefill is not None
    assert not prefill.removable


MARKED = {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}


@pytest.mark.parametrize(
    "spelled",
    [
        {"system": "sys", "messages": turns(HELLO)},
        {"messages": turns(("user", [MARKED])), "system": [{"type": "text", "text": "sys"}]},
        {"system": [{"text": "sys", "cache_control": {}, "type": "text"}], "messages": turns(HELLO)},
        {"system": "sys", "messages": turns(HELLO, ("assistant", "hi"), ("user", "more")), "temperature": 0},
    ],
)
def test_a_conversation_keeps_its_fingerprint_however_it_is_spelled(spelled: dict[str, Any]) -> None:
    first = envelope(system="sys", messages=turns(HELLO))
    read = envelope(**spelled)
    assert read.fingerprint == first.fingerprint
    assert read.opening == first.opening


def test_whitespace_and_escapes_do_not_change_a_fingerprint() -> None:
    spaced = b'{"model":"m", "messages" : [ {"content": "h\\u0065llo" , "role":"user" } ],"system":"sys" }'
    assert parse(spaced).fingerprint == envelope(system="sys", messages=turns(HELLO)).fingerprint


def test_fingerprints_tell_conversations_apart() -> None:
    reads = [
        envelope(messages=turns(HELLO)),
        envelope(messages=turns(("user", "other"))),
        envelope(system="sys", messages=turns(HELLO)),
        envelope(system="hello", messages=turns(("user", "sys"))),
    ]
    assert len({read.fingerprint for read in reads}) == 4
    assert len({read.opening for read in reads}) == 3
    assert all(len(read.fingerprint or "") == 64 for read in reads)


def test_no_system_and_an_empty_one_are_the_same() -> None:
    assert (
        envelope(system="", messages=turns(HELLO)).fingerprint == envelope(messages=turns(HELLO)).fingerprint
    )


def test_without_a_user_turn_there_is_no_fingerprint() -> None:
    read = envelope(system="sys", messages=turns(("assistant", "{")))
    assert (read.fingerprint, read.opening) == (None, None)


def test_deep_nesting_below_the_top_is_not_known_rather_than_an_error() -> None:
    deep = b"[" * 900 + b"]" * 900
    read = parse(b'{"model":"m","messages":[{"role":"user","content":' + deep + b"}]}")
    assert read.fingerprint is None or len(read.fingerprint) == 64
    assert read.continues is False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["max_tokens", "messages", "metadata", "model", "stream", "system", "tool_choice"])


@given(st.dictionaries(NAMES, JSON) | JSON)
def test_any_json_is_read_or_refused_and_nothing_else(value: Any) -> None:
    try:
        read = parse(json.dumps(value).encode())
    except BadRequest:
        return
    assert isinstance(read.continues, bool)
    assert isinstance(read.stream, bool)
    assert read.fingerprint is None or len(read.fingerprint) == 64


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        read = parse(body)
    except BadRequest:
        return
    assert read.body == body


# --- with other fields ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("order", [("model", "messages", "z"), ("messages",), ("z", "model", "messages")])
def test_other_messages_stand_where_the_old_ones_did_and_are_not_read_again(
    count: int, order: tuple[str, ...]
) -> None:
    texts = {"model": b'"m"', "messages": b"[ ]", "z": b'{"\\u00e9" :1}'}
    fields = {name: Raw(texts[name]) for name in order}
    turns = [(Raw(b'{"role": "user"}'), Turn("user")), (Raw(b"{}"), Turn("who"))] * 2
    changed = Envelope(b"", fields, "m").with_fields(fields, turns[:count])
    told = b"[" + b",".join(bytes(raw) for raw, _ in turns[:count]) + b"]"
    pairs = [f'"{name}":'.encode() + (told if name == "messages" else texts[name]) for name in order]
    assert changed.body == b"{" + b",".join(pairs) + b"}"
    assert bytes(changed.fields["messages"]) == told
    assert changed.turns == tuple(turn for _, turn in turns[:count])


def test_messages_that_are_none_are_not_known() -> None:
    fields = {"messages": Raw(b"[7]")}
    assert Envelope(b"", fields, "").with_fields(fields, [(Raw(b"7"), None)]).turns == ()


def test_without_fields_there_is_an_empty_body() -> None:
    assert Envelope(b"", {}, "").with_fields({}).body == b"{}"
