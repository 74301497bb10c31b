"""Where nobody looks, nothing is collected."""

from gateway.core.booking import Place
from gateway.core.tap import AnswerCopy, NoTap, Tap
from gateway.core.types import Arm


def test_nobody_wants_nothing_and_takes_everything() -> None:
    tap: Tap = NoTap()
    assert not tap.wants("m", "task", has_tools=True)
    place = Place(Arm.control, 1, 1, None, False)
    tap.take(AnswerCopy("m", place, "gw_1", "task", "words", (), b"", "end_turn"))
