"""Speed and capacity become what there is; a place is never dropped."""

from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.compat.envelope import Headers
from gateway.compat.request import Context, rewrite
from gateway.compat.rules.services.tiers import (
    FAST_BETA,
    apply_place,
    apply_speed,
    apply_tier,
    placed,
    violations,
)
from tests.support.requests import KEEP, Json, asked, draft_of, hindrance, rewritten
from tests.support.rows import EVERY_PAIR, F52, O5, O45, O46, O47, O48, O55, S46, name

BETA = (FAST_BETA,)


@pytest.mark.parametrize(
    ("source", "target", "betas", "speed", "rewrite_class"),
    [
        (O55, O45, (), "fast", "E"),
        (O55, O5, (), "fast", "E"),
        (O55, O46, (), "fast", "E"),
        (O48, O47, BETA, "fast", "E"),
        (O46, O55, (), "fast", "L"),
        (O46, O45, (), "fast", "L"),
        (O46, O48, BETA, "fast", "L"),
        (O55, O45, (), "standard", "L"),
        (O55, O45, (), None, "L"),
    ],
    ids=name,
)
def test_a_speed_that_is_not_there_or_meant_nothing_is_left_out(
    source: Model, target: Model, betas: tuple[str, ...], speed: str | None, rewrite_class: str
) -> None:
    draft = draft_of(asked(source, speed=speed), source, target).but(betas=betas)
    done = apply_speed(draft)
    assert "speed" not in done.fields
    assert [(change.rule, change.rewrite_class) for change in done.changes] == [("speed", rewrite_class)]
    assert target.id in done.changes[0].sentence


@pytest.mark.parametrize(
    ("source", "target", "betas", "fields"),
    [
        (O55, F52, (), {"speed": "fast"}),
        (O55, O5, BETA, {"speed": "fast"}),
        (O48, O55, BETA, {"speed": "fast"}),
        (O48, O55, (), {"speed": "fast"}),  # the source rejects it without its beta
        (O47, O45, (), {"speed": "fast"}),
        (O55, O45, (), {"speed": "slow"}),
        (O55, O45, (), {"speed": 3}),
        (O55, O45, (), {}),
        (O46, O45, (), {"service_tier": "auto"}),
        (O55, O5, (), {"service_tier": "auto"}),
        (O46, O55, (), {"service_tier": "standard_only"}),
        (O46, O55, (), {}),
        (O46, O55, (), {"inference_geo": "us"}),
        (O45, O45, (), {"inference_geo": "global"}),
    ],
    ids=name,
)
def test_what_the_target_takes_or_the_source_rejects_stays(
    source: Model, target: Model, betas: tuple[str, ...], fields: Json
) -> None:
    draft = draft_of(asked(source, **fields), source, target).but(betas=betas)
    assert apply_place(apply_tier(apply_speed(draft))) is draft


def test_fast_mode_is_lost_with_its_beta_too() -> None:
    done = rewrite(asked(O48, speed="fast"), O48, O47, KEEP, Context(betas=BETA))
    assert b"speed" not in done.body
    assert done.betas == ()
    assert [change.rule for change in done.changes] == ["speed", "betas"]


def test_priority_capacity_becomes_standard_where_there_is_none() -> None:
    body, changes = rewritten(
        S46, O55, service_tier="auto", thinking={"type": "adaptive", "display": "omitted"}
    )
    assert body["service_tier"] == "standard_only"
    assert "service_tier=E" in changes


@pytest.mark.parametrize(("place", "rewrite_class"), [("global", "E"), (None, "L")])
def test_no_place_is_left_out(place: Any, rewrite_class: str) -> None:
    body, changes = rewritten(O46, O45, inference_geo=place)
    assert "inference_geo" not in body
    assert changes == [f"inference_geo={rewrite_class}"]
    assert hindrance(O46, O45, inference_geo=place) is None


@pytest.mark.parametrize("place", ["us", "eu", 3])
def test_a_place_is_kept(place: Any) -> None:
    found = hindrance(O46, O45, inference_geo=place)
    assert found is not None
    assert found.change.rule == "inference_geo"
    assert placed(draft_of(asked(O46, inference_geo=place), O46, O55)) == ""
    assert placed(draft_of(asked(O45, inference_geo=place), O45, O45)) == ""


@pytest.mark.parametrize(
    ("model", "betas", "fields", "rules"),
    [
        (O45, (), {"speed": "fast"}, ["speed"]),
        (O48, (), {"speed": "fast"}, ["speed"]),
        (O48, BETA, {"speed": "fast"}, []),
        (O46, (), {"speed": "fast"}, []),
        (O55, (), {"speed": "fast"}, []),
        (O45, (), {"speed": "standard"}, []),
        (O45, (), {"inference_geo": "global"}, ["inference_geo"]),
        (O46, (), {"inference_geo": "us"}, []),
        (O45, (), {"inference_geo": None}, []),
    ],
    ids=name,
)
def test_what_a_model_rejects_is_named(
    model: Model, betas: tuple[str, ...], fields: Json, rules: list[str]
) -> None:
    assert [change.rule for change in violations(asked(model, **fields), model, Headers(betas))] == rules


@pytest.mark.parametrize("betas", [(), BETA])
@pytest.mark.parametrize("speed", ["fast", "standard", None])
def test_what_comes_out_is_taken_and_stays(speed: str | None, betas: tuple[str, ...]) -> None:
    fields: Json = {"speed": speed, "service_tier": "auto", "inference_geo": "global"}
    for source, target in EVERY_PAIR:
        draft = draft_of(asked(source, **fields), source, target).but(betas=betas)
        if list(violations(draft.envelope, source, Headers(betas))):
            continue
        once = apply_place(apply_tier(apply_speed(draft))).sent
        assert list(violations(once, target, Headers(betas))) == []
        again = draft_of(once, source, target).but(betas=betas)
        assert apply_place(apply_tier(apply_speed(again))) is again
