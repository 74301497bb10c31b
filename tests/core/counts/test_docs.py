"""What processes wrote adds up, whoever of them is still there."""

from typing import Any

import pytest

from gateway.core.booking import STAT_BUCKETS
from gateway.core.counts.docs import merge_run, merge_stage
from gateway.core.tally import ArmStage, Buckets, Case, CheckCount, Exposure, RunTally, StageTally
from gateway.core.types import Arm

RUN = {
    "arms": {
        "control": {"requests": 4, "outcomes": {"ok": 4}, "exposure": {"error": [9, 1]}},
        "candidate": {
            "requests": 3, "outcomes": {"ok": 1, "timeout": 2}, "fallbacks": 1, "issues": 1, "ratings": 2,
            "rating_total": -0.5, "priced": 1, "cost_microusd": 70, "measured": 2, "prompt_tokens": 8,
            "output_tokens": 5, "durations": [[3, 1], [-2, 2]], "first_tokens": [[1, 1]],
            "exposure": {"error": [5, 1], "check:json": [2, 0]}, "checks": {"json": [3, 1]},
        },
    },
    "cases": [[5.0, "candidate", "req_1", "t", "error"]],
}  # fmt: skip
STAGE = {
    "arms": {
        "control": {},
        "candidate": {"requests": 2, "means": {"ttft": [[0, 2, 1.5], [63, 1, -1.0]]}, "durations": [[7, 2]]},
    }
}


def test_runs_add_up_number_by_number() -> None:
    tally = merge_run([RUN, RUN, {"arms": {}}])
    ours = tally.arms[Arm.candidate]
    assert (ours.requests, ours.outcomes, ours.fallbacks) == (6, {"ok": 2, "timeout": 4}, 2)
    assert (ours.issues, ours.ratings, ours.rating_total) == (2, 4, -1.0)
    assert (ours.priced, ours.cost_microusd) == (2, 140)
    assert (ours.measured, ours.prompt_tokens, ours.output_tokens) == (4, 16, 10)
    assert (ours.durations, ours.first_tokens) == ({3: 2, -2: 4}, {1: 2})
    assert ours.exposure == {"error": Exposure(10, 2), "check:json": Exposure(4, 0)}
    assert ours.checks == {"json": CheckCount(6, 2)}
    assert tally.arms[Arm.control].exposure == {"error": Exposure(18, 2)}
    assert tally.cases == (Case(5.0, "candidate", "req_1", "t", "error"),) * 2


def test_entries_add_up_bucket_by_bucket() -> None:
    n, total = [0] * STAT_BUCKETS, [0.0] * STAT_BUCKETS
    n[0], n[63], total[0], total[63] = 4, 2, 3.0, -2.0
    ours = ArmStage(4, {"ttft": Buckets(tuple(n), tuple(total))}, {7: 4})
    assert merge_stage([STAGE, STAGE]) == StageTally({Arm.control: ArmStage(), Arm.candidate: ours})


def test_nothing_written_is_nothing_counted() -> None:
    assert merge_run([]) == RunTally()
    assert merge_stage([]) == StageTally()


def test_what_a_newer_version_says_besides_is_left_alone() -> None:
    newer: dict[str, Any] = {
        "arms": {arm: {**RUN["arms"][arm], "mood": [1]} for arm in ("control", "candidate")},  # type: ignore[index]
        "cases": [[*case, "more"] for case in RUN["cases"]],
        "weather": "fine",
    }
    newer["arms"]["third"] = {"requests": 1}
    assert merge_run([newer]) == merge_run([RUN])


def test_only_so_many_cases_of_a_kind_are_kept_in_all_and_the_newest() -> None:
    docs = [
        {"arms": {}, "cases": [[float(2 * n + odd), "control", f"{n}", "", "error"] for n in range(40)]}
        for odd in (0, 1)
    ]
    assert [case.at for case in merge_run(docs).cases] == [float(at) for at in range(79, 29, -1)]


@pytest.mark.parametrize(
    "doc",
    [{}, {"arms": []}, {"arms": {"candidate": 1}}, {"arms": {"candidate": {"requests": "many"}}},
     {"arms": {"candidate": {"durations": [1]}}}, {"arms": {"candidate": {"exposure": {"error": [1]}}}},
     {"arms": {"candidate": {"outcomes": [1]}}}, {"arms": {}, "cases": [[1.0]]}],
)  # fmt: skip
def test_a_run_in_a_foreign_form_is_refused(doc: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="another version"):
        merge_run([RUN, doc])


@pytest.mark.parametrize(
    "doc",
    [{}, {"arms": 1}, {"arms": {"control": {"means": []}}}, {"arms": {"control": {"requests": "x"}}},
     {"arms": {"control": {"means": {"ttft": [[64, 1, 1.0]]}}}},
     {"arms": {"control": {"means": {"ttft": [[1, 1]]}}}}],
)  # fmt: skip
def test_an_entry_in_a_foreign_form_is_refused(doc: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="another version"):
        merge_stage([STAGE, doc])
