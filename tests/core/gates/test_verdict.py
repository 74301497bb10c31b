"""The closed sets of gates, and which of them end a run."""

from gateway.core.gates.verdict import (
    BREAKERS,
    FAILURES,
    MEANS,
    ORDER,
    ROLLS_BACK,
    GateResult,
    Judgement,
    Verdict,
)


def test_every_gate_has_one_place_in_the_order() -> None:
    assert len(ORDER) == len(set(ORDER))
    assert {*BREAKERS, *FAILURES, *MEANS} <= set(ORDER)
    assert set(ORDER) >= ROLLS_BACK


def test_what_protects_comes_before_minimums_and_the_approval_is_last() -> None:
    place = {name: at for at, name in enumerate(ORDER)}
    assert max(place[name] for name in ROLLS_BACK) < min(place["hold"], place["min_units"])
    assert ORDER[-1] == "approval"
    assert place["freeze"] > max(place[name] for name in MEANS)


def test_only_failures_of_what_rolls_back_end_a_run() -> None:
    gates = tuple(GateResult(name, verdict, "") for name in ORDER for verdict in Verdict)
    failed = Judgement(gates).failed
    assert {gate.name for gate in failed} == {*ROLLS_BACK, "duration", "approval"}
    assert {gate.verdict for gate in failed} == {Verdict.failed}
    assert tuple(gate.name for gate in failed) == tuple(
        name for name in ORDER if name in {g.name for g in failed}
    )
