"""A batch told apart and put together again, whatever its size; what is kept for its results; the results."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.answer.plan import PLAIN, AnswerPlan
from gateway.compat.batch import (
    ITEM_BYTES,
    PAGE_MEMBERS,
    SLICE_BYTES,
    Batch,
    Group,
    Item,
    NotABatch,
    Register,
    batch_of,
    pages_of,
    read_index,
    read_register,
    readdress,
    restore_line,
    result_of,
)

BIG = "x" * 200_000
"""Six of these are more than a slice."""


def item(custom_id: str, **params: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": {"model": "m", **params}}


def body_of(*items: Any, **more: Any) -> bytes:
    return json.dumps({"requests": list(items), **more}).encode()


def names(batch: Batch) -> list[str]:
    return [each.custom_id for part in batch.slices() for each in part.items if isinstance(each, Item)]


# --- telling items apart ------------------------------------------------------------------------------------


def test_a_small_batch_is_one_slice_with_its_items_as_they_came() -> None:
    body = b' {"requests" :\n[ {"custom_id":"a", "params":{"x" : 1e0}} ,{"params":{}, "custom_id":"b"}]\n} '
    batch = Batch.alone(body)
    (part,) = batch.slices()
    first, second = part.items
    assert isinstance(first, Item)
    assert isinstance(second, Item)
    assert (first.custom_id, first.params, second.custom_id) == ("a", b'{"x" : 1e0}', "b")
    assert first.raw == b'{"custom_id":"a", "params":{"x" : 1e0}}'
    assert batch.head + part.raw + batch.tail == body


def test_an_item_with_other_params_keeps_everything_else() -> None:
    (part,) = Batch.alone(b'{"requests":[{"n": 1.0, "custom_id":"a","params":{"x":1}}]}').slices()
    (only,) = part.items
    assert isinstance(only, Item)
    assert only.saying(b'{"y":2.0}') == b'{"n":1.0,"custom_id":"a","params":{"y":2.0}}'


@pytest.mark.parametrize(
    "odd", [{"custom_id": 5, "params": {}}, {"custom_id": "a"}, {"params": {}}, 7, "text", None, []]
)
def test_what_is_no_item_stays_the_bytes_it_came_in(odd: Any) -> None:
    (part,) = Batch.alone(body_of(odd, item("a"))).slices()
    assert part.items[0] == json.dumps(odd).encode()
    assert isinstance(part.items[1], Item)


def test_a_large_batch_comes_in_slices_that_are_the_whole_of_it() -> None:
    body = body_of(*(item(f"i{n}", text=BIG) for n in range(30)))
    batch = Batch.alone(body)
    parts = list(batch.slices())
    assert len(parts) > 3
    assert max(len(part.raw) for part in parts) < 2 * SLICE_BYTES
    assert names(batch) == [f"i{n}" for n in range(30)]
    assert batch.head + b", ".join(part.raw for part in parts) + batch.tail == body


def test_items_inside_an_item_are_not_taken_for_items() -> None:
    inner = [{"custom_id": "x", "params": {"text": BIG}} for _ in range(20)]
    quoted = '}, {"custom_id": "y", "params": {}}'
    body = body_of(item("a", tools=inner), item("b", text=[quoted] * 9), *(item(f"c{n}") for n in range(9)))
    assert names(Batch.alone(body)) == ["a", "b", *(f"c{n}" for n in range(9))]


def test_an_item_beyond_every_limit_is_nobody_s() -> None:
    inner = b'{"custom_id": "x"}, {"params": "%b"}' % (b"y" * SLICE_BYTES)
    huge = b'{"custom_id":"a","params":{"tools":[%b]}}' % b", ".join(
        [inner] * (ITEM_BYTES // SLICE_BYTES + 2)
    )
    with pytest.raises(NotABatch):
        names(Batch.alone(b'{"requests":[%b]}' % huge))


def test_an_empty_batch_has_no_slices() -> None:
    assert list(Batch.alone(b'{"requests":[]}').slices()) == []
    assert names(Batch.among_others(b'{"requests":[ ],"n":1}')) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"requests":{}}',
        b'{"requests":5}',
        b'{"request":[]}',
        b'{"requests":[{]}',
        b"\xff",
    ],
)
def test_what_has_not_the_shape_of_a_batch_is_none(body: bytes) -> None:
    for find in (Batch.alone, Batch.among_others):
        with pytest.raises(NotABatch):
            names(find(body))


@pytest.mark.parametrize(
    "more", [b'{"later":{"a":[1]},"requests":[%b]}', b'{"requests":[%b],"later":{"a":[1]}}']
)
def test_fields_that_nobody_knows_yet_stay_beside_the_items(more: bytes) -> None:
    items = [json.dumps(item(name)).encode() for name in "ab"]
    body = more % b", ".join(items)
    with pytest.raises(NotABatch):
        names(Batch.alone(body))
    batch = Batch.among_others(body)
    assert names(batch) == ["a", "b"]
    (part,) = batch.slices()
    again = json.loads(batch.head + part.raw + batch.tail)
    assert again == json.loads(body)


TEXTS = st.text(max_size=20) | st.sampled_from(['}, {"custom_id": "', '"params": ', "]}", "\\"])
INNER = st.lists(st.dictionaries(TEXTS, TEXTS, max_size=2), max_size=2)
ITEMS = st.lists(st.tuples(TEXTS, st.dictionaries(TEXTS, TEXTS | INNER, max_size=2)), max_size=5)


@given(ITEMS)
def test_every_item_is_found_once_and_in_its_place(items: list[tuple[str, dict[str, Any]]]) -> None:
    body = body_of(*({"custom_id": name, "params": params} for name, params in items))
    found = [each for part in Batch.alone(body).slices() for each in part.items]
    assert [(each.custom_id, json.loads(each.params)) for each in found if isinstance(each, Item)] == items


# --- what is kept for the results ---------------------------------------------------------------------------

GROUPS = [Group("m", "candidate", AnswerPlan(prefill="{", intent="json")), Group("m", "control", PLAIN)]


def stored(register: Register) -> Register | None:
    first, *pages = pages_of(register)
    index = read_index(first)
    assert index is not None
    assert index.pages == len(pages)
    return read_register(index, pages)


@pytest.mark.parametrize("count", [0, 1, PAGE_MEMBERS, PAGE_MEMBERS + 1])
def test_a_register_comes_back_from_its_pages(count: int) -> None:
    register = Register(GROUPS, {f"item-{n}": n % 2 for n in range(count)})
    assert stored(register) == register


def test_a_register_knows_the_group_of_each_of_its_items() -> None:
    register = Register(GROUPS, {"a": 0, "b": 1})
    assert (register.find("a"), register.find("b"), register.find("c")) == (*GROUPS, None)


@pytest.mark.parametrize("page", [b"", b"[]", b'{"a": 2}', b'{"a": -1}', b'{"a": "0"}'])
def test_a_page_that_says_something_else_is_no_register(page: bytes) -> None:
    index = read_index(pages_of(Register(GROUPS, {}))[0])
    assert index is not None
    assert read_register(index, [page]) is None
    assert read_index(page) is None


# --- results ------------------------------------------------------------------------------------------------

PREFILLED = AnswerPlan(prefill="{", intent="json")


def line(text: str = '{"a": 1}', kind: str = "succeeded") -> bytes:
    message = {"id": "msg_1", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    result = {"type": kind, "message": message} if kind == "succeeded" else {"type": kind}
    return json.dumps({"custom_id": "a", "result": result}).encode()


def test_a_line_says_which_item_it_is_about_and_how_it_ended() -> None:
    assert result_of(line()) == ("a", "succeeded")
    assert result_of(line(kind="expired")) == ("a", "expired")
    for other in (b"", b"{}", b"[", b'{"custom_id":"a","result":5}'):
        assert result_of(other) is None


def test_an_answer_in_a_line_is_put_back_and_the_rest_stays() -> None:
    restored = json.loads(restore_line(line(), PREFILLED))
    expected = json.loads(line())
    expected["result"]["message"]["content"][0]["text"] = '"a": 1}'
    assert restored == expected


@pytest.mark.parametrize("same", [line('"a": 1}'), line(kind="errored"), b"no line", b'{"result":{}}'])
def test_a_line_to_which_nothing_is_to_be_done_stays_as_it_is(same: bytes) -> None:
    assert restore_line(same, PREFILLED) is same


# --- where results are --------------------------------------------------------------------------------------

URL = "https://api.example.com/v1/messages/batches/msgbatch_1/results"
OURS = "http://127.0.0.1:8080/v1/messages/batches/msgbatch_1/results"


def test_results_are_told_at_the_gateway_s_address() -> None:
    told = json.loads(
        readdress(json.dumps({"id": "b", "n": 1.0, "results_url": URL}).encode(), "http://127.0.0.1:8080")
    )
    assert told == {"id": "b", "n": 1.0, "results_url": OURS}
    listed = {"data": [{"results_url": URL}, {"results_url": None}], "has_more": False}
    told = json.loads(readdress(json.dumps(listed).encode(), "http://127.0.0.1:8080/"))
    assert told == {"data": [{"results_url": OURS}, {"results_url": None}], "has_more": False}
    told = json.loads(readdress(json.dumps({"results_url": f"{URL}?v=1"}).encode(), "https://a/b"))
    assert told == {"results_url": "https://a/b/v1/messages/batches/msgbatch_1/results?v=1"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"results_url": null}',
        b'{ "id": "b" }',
        b'{"results_url": "https://elsewhere.example/results"}',
        b'{"data": [ {"results_url": null} ]}',
        b'{"data": 5, "results_url": 7}',
        b'{"type": "error"}',
        b"<html>",
    ],
)
def test_what_names_no_results_stays_the_bytes_it_is(body: bytes) -> None:
    assert readdress(body, "http://gateway") is body


def test_a_batch_says_its_id_and_until_when_it_is_open() -> None:
    told = b'{"id":"b","created_at":"2026-01-01T00:00:00Z","expires_at":"2026-01-02T00:00:00Z","more":1}'
    assert batch_of(told) == ("b", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert batch_of(b'{"id":5}') == batch_of(b"") == ("", "", "")
