"""A picture knows its stage, and whether the arms are matched."""

import pytest

from gateway.core.types import LINE, Phase
from tests.support.pictures import STAGES, seen


@pytest.mark.parametrize(("index", "name"), [(0, "canary"), (2, "full"), (9, "full")])
def test_the_stage_is_the_runs_own_and_never_beyond_the_last(index: int, name: str) -> None:
    assert seen(stage_index=index).current_stage.name == name
    assert seen().current_stage is STAGES[0]


@pytest.mark.parametrize(
    ("phase", "weight", "widest", "compared"),
    [
        (Phase.running, 1, 1, True),
        (Phase.paused, LINE // 2, LINE // 2, True),
        (Phase.running, 0, LINE // 2, False),
        (Phase.running, LINE // 2 + 1, LINE // 2 + 1, False),
        (Phase.running, 5_000, LINE // 2 + 1, False),
        (Phase.soaking, LINE // 2, LINE // 2, False),
        (Phase.rolled_back, 5_000, 5_000, False),
    ],
)
def test_arms_are_compared_while_they_are_matched_and_always_were(
    phase: Phase, weight: int, widest: int, compared: bool
) -> None:
    assert seen(phase=phase, weight=weight, widest=widest).compared is compared
