"""The nouns, and their way through JSON."""

import pytest

from gateway.core.spec import Lists, MigrationSpec, Stage
from gateway.core.types import (
    ERRORS,
    LINE,
    Arm,
    Event,
    MigrationState,
    Outcome,
    Phase,
    fingerprint,
    from_json,
    parse_json,
    to_json,
)

SPEC = MigrationSpec("m", "a", "b", ("a",), (Stage("s", 12.5, hold_s=60.0),), lists=Lists(("x",)))
STATE = MigrationState(
    "m", Phase.paused, "user", weight=12_500, run=2, version=7, epoch=3, spec=SPEC, lists=Lists()
)


def test_a_state_comes_back_from_json_as_it_was() -> None:
    assert from_json(to_json(STATE), MigrationState) == STATE


def test_a_field_from_a_later_version_is_passed_over() -> None:
    later = to_json(STATE)[:-1] + b',"from_2031":1}'
    assert from_json(later, MigrationState) == STATE


def test_an_event_comes_back_with_its_evidence() -> None:
    event = Event(
        1.5, "olga", "advance", "", {"phase": "running"}, {"phase": "running"}, {"n": [1, 2.5]}, seq=4
    )
    assert from_json(to_json(event), Event) == event


@pytest.mark.parametrize("text", ["{", '{"name": 7}', '{"name": "m", "phase": "flying"}', "[]"])
def test_json_that_does_not_fit_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"byte|truncated|Expected|Invalid|Object"):
        from_json(text, MigrationState)


def test_parsing_says_no_to_what_is_no_json() -> None:
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    with pytest.raises(ValueError, match="malformed"):
        parse_json(b"{'a': 1}")


def test_a_state_is_killed_only_by_an_emergency() -> None:
    assert MigrationState("m", Phase.rolled_back, "emergency").killed
    assert not MigrationState("m", Phase.rolled_back, "user").killed
    assert not MigrationState("m", Phase.paused, "emergency").killed


def test_the_epoch_orders_states_before_the_version() -> None:
    assert MigrationState("m", epoch=2, version=1).order > MigrationState("m", epoch=1, version=9).order


def test_the_fingerprint_of_a_spec_changes_with_the_spec() -> None:
    other = MigrationSpec("m", "a", "b", ("a",), (Stage("s", 12.6, hold_s=60.0),), lists=Lists(("x",)))
    assert fingerprint(SPEC) == fingerprint(from_json(to_json(SPEC), MigrationSpec))
    assert fingerprint(SPEC) != fingerprint(other)


def test_errors_are_what_gates_call_an_error() -> None:
    harmless = {Outcome.ok, Outcome.refused, Outcome.client_error, Outcome.disconnected}
    assert set(Outcome) - harmless == ERRORS


def test_the_line_has_a_point_for_every_thousandth_of_a_percent() -> None:
    assert LINE == 100_000
    assert [arm.value for arm in Arm] == ["control", "candidate"]
