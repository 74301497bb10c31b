"""Of the models that are to answer when one declines, those stay that the target hands over to."""

from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.rules.services.fallbacks import apply, violations
from tests.support.requests import Json, asked, draft_of, rewritten
from tests.support.rows import EVERY_PAIR, F52, H55, O5, O45, O47, O48, O55, S5, S55, name


def to(*models: Model, **more: Any) -> list[Json]:
    return [{"model": model.id, **more} for model in models]


@pytest.mark.parametrize(
    ("source", "target", "before", "after"),
    [
        (O55, O5, to(O5, O48), to(O48)),
        (O55, O5, to(O48, max_tokens=5), None),
        (O55, O5, to(O5), []),
        (O55, S55, to(O5, O48), []),
        (S55, O55, to(S5), []),
        (O55, H55, to(O48), []),
        (O5, O47, to(O48), []),
        (O5, O47, "default", []),
        (H55, O45, "default", []),
        (O5, H55, "default", None),
        (O55, F52, to(O5), None),
    ],
    ids=name,
)
def test_a_list_keeps_what_the_target_hands_over_to(
    source: Model, target: Model, before: Any, after: list[Json] | None
) -> None:
    body, changes = rewritten(source, target, fallbacks=before, thinking={"type": "adaptive"})
    assert body.get("fallbacks", []) == (before if after is None else after)
    assert ("fallbacks" in body) is (after is None or bool(after))
    assert ("fallbacks=E" in changes) is (after is not None)


def test_the_lost_protection_is_named() -> None:
    fewer, none = (
        apply(draft_of(asked(O55, fallbacks=to(O5, O48)), O55, target)).changes[0].sentence
        for target in (O5, S55)
    )
    assert fewer == "Fewer models answer if claude-opus-5 declines: it hands over to claude-opus-4-8."
    assert none == (
        "No other model answers if claude-sonnet-5-5 declines: it does not hand over to those named."
    )


@pytest.mark.parametrize(
    ("source", "fallbacks"),
    [
        (O55, to(S5)),  # the source rejects it too
        (O55, [*to(O48), {"model": 3}]),
        (O55, []),
        (O55, None),
        (O55, "later"),
        (O47, "default"),
        (H55, to(O48)),
    ],
    ids=name,
)
def test_what_the_source_rejects_stays(source: Model, fallbacks: Any) -> None:
    draft = draft_of(asked(source, fallbacks=fallbacks), source, O45)
    assert apply(draft) is draft


def test_what_comes_out_is_taken_and_stays() -> None:
    for source, target in EVERY_PAIR:
        for fallbacks in ("default", [{"model": each} for each in source.fallbacks]):
            envelope = asked(source, fallbacks=fallbacks)
            if list(violations(envelope, source)):
                continue
            once = apply(draft_of(envelope, source, target)).sent
            assert list(violations(once, target)) == []
            again = draft_of(once, source, target)
            assert apply(again) is again


@pytest.mark.parametrize(
    ("model", "fallbacks", "wrong"),
    [
        (O55, to(O48), False),
        (O55, to(S5), True),
        (H55, "default", False),
        (H55, to(O48), True),
        (O45, "default", True),
        (O45, None, False),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(model: Model, fallbacks: Any, wrong: bool) -> None:
    found = list(violations(asked(model, fallbacks=fallbacks), model))
    assert [change.rule for change in found] == ["fallbacks"] * wrong
