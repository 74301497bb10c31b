"""What counts is what was sent after it went wrong, by the callers' own clock."""

from typing import Any

from gateway.core.types import Arm, Reason
from gateway.demo.tally import Seen
from gateway.rehearsal.failures import FAILURES
from gateway.rehearsal.witness import Witness
from tests.support.clock import ManualClock


def witness(**changes: Any) -> tuple[Witness, ManualClock]:
    clock = ManualClock()
    return Witness(clock, FAILURES[0].shows, **changes), clock


def seen(arm: Arm = Arm.candidate, **changes: Any) -> Seen:
    return Seen(
        **{"application": "chat", "first": True, "arm": arm, "reason": "bucket", "took_s": 0.5, **changes}
    )


def test_what_was_sent_before_does_not_count() -> None:
    watching, clock = witness()
    watching.see("", seen(complaint="answer was empty"))
    watching.begin()
    clock.advance(0.25)
    watching.see("", seen(complaint="answer was empty"))
    assert (watching.felt.requests, watching.answered) == (0, 2)
    clock.advance(0.25)
    watching.see("", seen())
    assert (watching.felt.requests, watching.felt.candidate, watching.answered) == (1, 1, 3)


def test_what_callers_felt_is_counted() -> None:
    watching, clock = witness()
    watching.begin()
    clock.advance(1)
    for each in (
        seen(Arm.control),
        seen(fallback="overloaded"),
        seen(complaint="answer was empty"),
        seen(complaint="answer was empty"),
        seen(Arm.control, complaint="HTTP 529"),
        seen(reason=Reason.unservable),
    ):
        watching.see("", each)
    felt = watching.felt
    assert (felt.requests, felt.candidate, felt.hurt, felt.rescued) == (6, 3, 3, 1)
    assert watching.worst == {"chat: answer was empty": 2, "chat: HTTP 529": 1}


def test_times_are_of_the_first_bad_answer_and_of_the_last_request() -> None:
    watching, clock = witness()
    watching.begin()
    began = clock.now()
    clock.advance(1)
    watching.see("", seen())
    clock.advance(1)
    watching.see("", seen(fallback="overloaded"))
    clock.advance(1)
    watching.see("", seen(fallback="overloaded", took_s=2.75))
    assert watching.felt.first_bad_at == began + 2
    assert watching.felt.last_candidate_at == began + 1.5


def test_users_complain_of_the_candidate_alone_and_only_where_they_do() -> None:
    for complains, wanted in ((True, ["b"]), (False, [])):
        watching, clock = witness(complains=complains)
        watching.begin()
        clock.advance(1)
        watching.see("", seen(Arm.control, request_id="a"))
        watching.see("", seen(request_id="b"))
        watching.see("", seen())
        assert list(watching.complaints) == wanted
