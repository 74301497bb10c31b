"""Rolling back by hand, by itself and in an emergency: what is served afterwards, and who may finish."""

from dataclasses import replace

import pytest

from gateway.core import rollout
from gateway.core.rollout import Verb, carry_out
from gateway.core.spec import OnRollback
from gateway.core.types import MigrationState, Phase
from gateway.errors import Conflict
from tests.support.situations import (
    DRAFT,
    DRAINING,
    KILLED,
    PAUSED,
    ROLLED_BACK,
    RUNNING,
    SOAKING,
    SPEC,
    order,
)


@pytest.mark.parametrize(
    ("verb", "cause"),
    [("rollback", "user"), ("automatic-rollback", "automatic"), ("emergency-rollback", "emergency")],
)
@pytest.mark.parametrize("before", [RUNNING, PAUSED, SOAKING])
def test_a_rollback_says_why_and_serves_nothing(before: MigrationState, verb: Verb, cause: str) -> None:
    after = carry_out(before, replace(order(verb), reason="too many errors"), SPEC)
    assert (after.phase, after.reason, after.weight) == (Phase.rolled_back, cause, 0)
    assert after.cause == "too many errors"
    again = carry_out(after, order("restart"), SPEC)
    assert again.cause == ""
    assert (after.evicted_run, after.draining) == (1, False)
    assert after.killed is (cause == "emergency")
    assert after.stage_index == before.stage_index


@pytest.mark.parametrize("verb", ["rollback", "automatic-rollback"])
@pytest.mark.parametrize(
    ("asked", "configured", "drains"),
    [(None, "evict", False), (None, "drain", True), ("drain", "evict", True), ("evict", "drain", False)],
)
def test_how_conversations_leave_is_as_asked_else_as_configured(
    verb: Verb, asked: str | None, configured: str, drains: bool
) -> None:
    before = replace(RUNNING, spec=replace(SPEC, on_rollback=OnRollback(mode=configured)))  # type: ignore[arg-type]
    after = carry_out(before, order(verb, mode=asked), SPEC)
    assert (after.draining, after.evicted_run) == (drains, 0 if drains else 1)


@pytest.mark.parametrize("asked", [None, "drain", "evict"])
def test_an_emergency_always_evicts(asked: str | None) -> None:
    before = replace(RUNNING, spec=replace(SPEC, on_rollback=OnRollback(mode="drain")))
    after = carry_out(before, order("emergency-rollback", mode=asked), SPEC)
    assert (after.draining, after.evicted_run) == (False, 1)


def test_an_emergency_ends_a_drain() -> None:
    after = carry_out(DRAINING, order("emergency-rollback"), SPEC)
    assert (after.killed, after.draining, after.evicted_run) == (True, False, 1)


@pytest.mark.parametrize("mode", [None, "evict"])
def test_a_drain_can_be_cut_short(mode: str | None) -> None:
    after = carry_out(DRAINING, order("rollback", mode=mode), SPEC)
    assert (after.phase, after.draining, after.evicted_run) == (Phase.rolled_back, False, 1)


@pytest.mark.parametrize(("before", "mode"), [(DRAINING, "drain"), (ROLLED_BACK, None), (KILLED, "evict")])
def test_what_is_rolled_back_cannot_be_rolled_back_again(before: MigrationState, mode: str | None) -> None:
    with pytest.raises(Conflict, match="rolled back already"):
        carry_out(before, order("rollback", mode=mode), SPEC)


def test_a_process_without_configuration_stops_just_as_an_emergency_rollback_does() -> None:
    for before in (DRAFT, RUNNING, PAUSED, SOAKING, DRAINING):
        alone = rollout.emergency(before, by="ada", at=99.0)
        assert alone == carry_out(before, order("emergency-rollback"), SPEC)


def test_a_draft_has_nothing_to_drain() -> None:
    after = carry_out(DRAFT, order("rollback", mode="drain"), SPEC)
    assert (after.phase, after.draining) == (Phase.rolled_back, False)
