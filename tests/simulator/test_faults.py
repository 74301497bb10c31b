import re

import pytest

from gateway.errors import ConfigError
from gateway.simulator.faults import KINDS, Fault, FaultPlan, Strike, parse_fault

OPUS, NONE = frozenset({"claude-opus-5-5"}), frozenset[str]()
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("kind=cut", Fault("cut")),
        ("model=claude-opus-5-5,kind=overloaded,rate=0.3", Fault("overloaded", "claude-opus-5-5", 0.3)),
        (" kind = slow , ms = 7 ", Fault("slow", ms=7)),
        ("kind=verbose,factor=2.5", Fault("verbose", factor=2.5)),
        ("after=3,count=2,kind=timeout,path=/v1/*", Fault("timeout", after=3, count=2, path="/v1/*")),
    ],
)
def test_a_fault_is_read(spec: str, fault: Fault) -> None:
    assert parse_fault(spec) == fault


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_is_written_as_it_is_read(kind: str) -> None:
    fault = Fault(kind, "m", 0.25, after=1, count=2, ms=3, path="/v1/messages")
    assert parse_fault(fault.spec) == fault
    assert Fault(kind).spec == f"kind={kind}"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("", "'' is not one of kind, model, rate, after, count, ms, path, factor followed by = and a value"),
        ("kind=cut,model", "'model' is not one of"),
        ("kind=cut,colour=red", "'colour=red' is not one of"),
        ("model=m", "kind is missing; one of overloaded, rate_limited,"),
        ("kind=explode", "kind 'explode' is unknown; one of overloaded,"),
        ("kind=cut,kind=slow", "kind is given twice"),
        ("kind=cut,rate=2", "rate '2' is not a number from 0 to 1"),
        ("kind=cut,rate=often", "rate 'often' is not a number from 0 to 1"),
        ("kind=cut,rate=nan", "rate 'nan' is not a number from 0 to 1"),
        ("kind=cut,after=-1", "after '-1' is not a whole number, 0 or more"),
        ("kind=slow,ms=1.5", "ms '1.5' is not a whole number, 0 or more"),
        ("kind=cut,model=", "model is empty"),
        ("kind=verbose,factor=0.5", "factor '0.5' is not a number from 1 to 1000"),
        ("kind=verbose,factor=long", "factor 'long' is not a number from 1 to 1000"),
        ("kind=cut,path=v1", "path 'v1' does not begin with /"),
    ],
)
def test_what_is_wrong_is_named(spec: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"fault {spec!r}: {complaint}")):
        parse_fault(spec)


def struck(plan: FaultPlan, times: int, path: str = MESSAGES, ids: frozenset[str] = OPUS) -> list[str]:
    return [plan.draw(path, ids).kind for _ in range(times)]


def test_a_fault_strikes_its_model_by_any_of_its_names() -> None:
    plan = FaultPlan([Fault("overloaded", "claude-opus-4-5")])
    assert struck(plan, 1, ids=frozenset({"claude-opus-4-5-20251101", "claude-opus-4-5"})) == ["overloaded"]
    assert struck(plan, 1) == [""]
    assert struck(plan, 1, ids=NONE) == [""]


def test_a_fault_without_a_model_strikes_all() -> None:
    assert struck(FaultPlan([Fault("overloaded")]), 1, "/v1/models", NONE) == ["overloaded"]


@pytest.mark.parametrize(
    ("fault", "path", "strikes"),
    [
        (Fault("overloaded"), COUNT, True),
        (Fault("cut"), COUNT, False),
        (Fault("cut"), MESSAGES, True),
        (Fault("overloaded", path=MESSAGES), COUNT, False),
        (Fault("overloaded", path="/v1/messages/*"), COUNT, True),
        (Fault("overloaded", path="/v1/messages/*"), MESSAGES, False),
    ],
)
def test_a_fault_has_its_place(fault: Fault, path: str, strikes: bool) -> None:
    assert bool(struck(FaultPlan([fault]), 1, path)[0]) is strikes


def test_a_rate_is_met_and_repeats_with_its_seed() -> None:
    fault = Fault("overloaded", rate=0.3)
    drawn = struck(FaultPlan([fault], seed=1), 2000)
    assert 520 <= drawn.count("overloaded") <= 680
    assert drawn == struck(FaultPlan([fault], seed=1), 2000)
    assert drawn != struck(FaultPlan([fault], seed=2), 2000)
    assert set(struck(FaultPlan([Fault("cut", rate=0)]), 50)) == {""}


def test_only_requests_that_match_move_the_draw() -> None:
    fault = Fault("overloaded", "claude-opus-5-5", 0.5)
    alone, among = FaultPlan([fault]), FaultPlan([fault])
    mixed = []
    for _ in range(50):
        among.draw(MESSAGES, frozenset({"another"}))
        mixed += struck(among, 1)
    assert mixed == struck(alone, 50)


def test_some_pass_first_and_it_strikes_so_often_and_no_more() -> None:
    plan = FaultPlan([Fault("cut", after=2, count=2)])
    assert struck(plan, 6) == ["", "", "cut", "cut", "", ""]


def test_the_first_that_strikes_decides_and_slowness_adds_up() -> None:
    faults = [Fault("slow", ms=5), Fault("cut", count=1), Fault("empty", count=1), Fault("slow", ms=7)]
    plan = FaultPlan([*faults, Fault("slow_first_token")])
    first, second = (plan.draw(MESSAGES, OPUS) for _ in range(2))
    assert first == Strike(faults[1], first_token_ms=2000, per_token_ms=12)
    assert second.kind == "empty"


def test_other_faults_start_from_zero() -> None:
    plan = FaultPlan([Fault("cut", count=1)])
    assert struck(plan, 2) == ["cut", ""]
    plan.replace([Fault("cut", count=1)])
    assert struck(plan, 2) == ["cut", ""]


def test_a_fault_can_come_with_the_request() -> None:
    plan = FaultPlan()
    assert plan.draw(MESSAGES, OPUS, (Fault("cut"),)).kind == "cut"
    assert plan.draw(MESSAGES, OPUS, (Fault("cut", "another"),)).kind == ""
    assert plan.draw(MESSAGES, OPUS).kind == ""
