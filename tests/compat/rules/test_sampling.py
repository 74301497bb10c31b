"""Sampling parameters stay where they are accepted and are left out, by name, where they are not."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.request import Context, rewrite
from gateway.compat.rules.sampling import VERSION_WITHOUT, violations
from tests.support.requests import KEEP, Json, asked, listed, rewritten
from tests.support.rows import H45, H55, O5, O45, O46, O47, O55, S5, S45, S55, name


@pytest.mark.parametrize(
    ("source", "target", "given", "kept", "done"),
    [
        (O45, O46, {"temperature": 0, "top_k": 5}, {"temperature": 0, "top_k": 5}, []),
        (O45, O47, {"temperature": 0}, {}, ["sampling=E"]),
        (O45, O47, {"temperature": 1}, {}, ["sampling=L"]),
        (O45, O47, {"temperature": 1.0, "top_k": 40}, {}, ["sampling=L", "sampling=E"]),
        (O45, O47, {"top_p": 0.99}, {}, ["sampling=L"]),
        (O45, O47, {"top_p": 1}, {}, ["sampling=L"]),
        (O45, O47, {"top_p": 0.5}, {}, ["sampling=E"]),
        (O45, O47, {"temperature": None}, {}, ["sampling=L"]),
        (H45, H55, {"temperature": 1}, {"temperature": 1}, []),
        (H45, H55, {"temperature": 0.99}, {}, ["sampling=E"]),
        (H45, H55, {"top_p": 0.99}, {"top_p": 0.99}, []),
        (H45, H55, {"top_p": 1}, {}, ["sampling=L"]),
        (H45, H55, {"top_k": 1}, {}, ["sampling=E"]),
        (S45, S55, {"temperature": 0.2}, {}, ["sampling=E"]),
        (S5, S45, {"temperature": 1}, {"temperature": 1}, []),
        (O45, O47, {"temperature": "hot"}, {"temperature": "hot"}, []),
    ],
    ids=name,
)
def test_what_the_target_rejects_is_left_out(
    source: Model, target: Model, given: Json, kept: Json, done: list[str]
) -> None:
    body, changes = rewritten(source, target, **given)
    assert {key: body[key] for key in body.keys() & {"temperature", "top_p", "top_k"}} == kept
    assert [change for change in changes if change.startswith("sampling")] == done


LENIENT = replace(O45, id="lenient", aliases=(), sampling=replace(O45.sampling, both=True))


def test_of_two_that_may_not_come_together_temperature_stays() -> None:
    body, changes = rewritten(LENIENT, O46, temperature=0.5, top_p=0.9, top_k=3)
    assert (body["temperature"], body.get("top_p"), body["top_k"]) == (0.5, None, 3)
    assert changes == ["sampling=E"]


def test_what_the_source_rejects_too_is_not_repaired() -> None:
    body, changes = rewritten(O45, O46, temperature=0.5, top_p=0.9)
    assert (body["temperature"], body["top_p"]) == (0.5, 0.9)
    assert changes == []


def test_neither_model_s_refusal_is_repaired() -> None:
    assert rewritten(O47, O5, temperature=0.5)[0]["temperature"] == 0.5
    assert rewritten(S55, O47, top_k=1)[0]["top_k"] == 1


def test_nothing_is_left_out_under_the_api_version_that_knows_no_sampling() -> None:
    envelope = asked(O45, temperature=0)
    assert rewrite(envelope, O45, O47, KEEP, Context(version=VERSION_WITHOUT)).changes == ()
    assert listed(rewrite(envelope, O45, O47, KEEP, Context(version="2023-06-01"))) == ["sampling=E"]


def test_null_is_absence() -> None:
    assert list(violations(asked(O47, temperature=None), O47)) == []


ALWAYS_THINKS = replace(O55, id="samples", sampling=O45.sampling)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"temperature": 0}, {}),
        ({"temperature": 1}, {"temperature": 1}),
        ({"top_p": 0.95}, {"top_p": 0.95}),
        ({"top_p": 0.9, "top_k": 5}, {}),
        ({"top_k": None}, {"top_k": None}),
    ],
)
def test_thinking_that_was_turned_on_leaves_only_what_goes_with_it(given: Any, kept: Any) -> None:
    body, _ = rewritten(O45, ALWAYS_THINKS, **given)
    assert {key: body[key] for key in body.keys() & {"temperature", "top_p", "top_k"}} == kept


def test_a_dropped_value_is_named_without_any_text_of_the_request() -> None:
    envelope = asked(O45, temperature=0.25)
    assert [change.sentence for change in violations(envelope, O47)] == [
        "claude-opus-4-7 does not take this temperature"
    ]


@pytest.mark.parametrize(
    ("model", "given", "count"),
    [
        (O45, {"temperature": 0.5, "top_p": 0.5}, 1),
        (LENIENT, {"temperature": 0.5, "top_p": 0.5}, 0),
        (O45, {"temperature": 0.5, "thinking": {"type": "enabled", "budget_tokens": 2000}}, 1),
        (O47, {"temperature": 1, "top_p": 1, "top_k": 1}, 3),
        (S5, {"temperature": 1}, 0),
        (S5, {"top_k": 1}, 1),
        (O5, {}, 0),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(model: Model, given: Json, count: int) -> None:
    assert len(list(violations(asked(model, **given), model))) == count
