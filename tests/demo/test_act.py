"""An act books requests to the stage in which they were sent, and a stage begins when everybody obeys it."""

import asyncio
from typing import Any

from gateway.core.types import Arm
from gateway.demo.act import Act, Operator, Scene
from gateway.demo.story import GOOD
from gateway.demo.tally import Seen
from gateway.tasks import SystemClock
from tests.support.admin_api import status
from tests.support.staged import Scripted, Told


class Talkers:
    """Callers who send a request whenever the loop turns."""

    def __init__(self, arm: Arm = Arm.candidate) -> None:
        self.stopped = asyncio.Event()
        self._seen = Seen("chat", True, arm, "bucket", 0.25)

    async def talk(self, stage: Any, report: Any) -> None:
        while not self.stopped.is_set():
            report(stage(), self._seen)
            await asyncio.sleep(0)

    def stop(self) -> None:
        self.stopped.set()


def act(operator: Operator, screen: Told | None = None) -> Act:
    return Act(Scene(1, "title", GOOD, 400), operator, screen or Told(), SystemClock())


BEHIND = {"expected": 2, "acknowledged": 1, "missing": ["b"]}


async def test_a_stage_begins_when_every_replica_obeys() -> None:
    operator = Scripted(status(replicas=BEHIND), status(replicas=BEHIND), status(weight_percent=5.0))
    play = act(operator)
    steered = []

    async def steer() -> None:
        await play.enter("start", "canary")
        steered.append(play.scene.status["replicas"]["acknowledged"])

    await play.run(Talkers(), steer)
    assert (operator.verbs, steered, play.reached) == (["start"], [3], [5.0])


async def test_requests_are_booked_to_the_stage_they_were_sent_in() -> None:
    play = act(Scripted(status()))

    async def steer() -> None:
        await play.until(lambda: play.scene.total.requests > 10, 5)
        play.mark("canary")
        await play.until(lambda: play.stages["canary"].requests > 10, 5)

    await play.run(Talkers(), steer)
    assert play.scene.stage is play.stages["canary"]
    assert play.scene.total.requests == play.stages[""].requests + play.stages["canary"].requests


async def test_the_screen_is_redrawn_all_the_time_and_once_more_at_the_end() -> None:
    screen = Told()
    play = act(Scripted(status()), screen)

    async def steer() -> None:
        await play.until(lambda: screen.scenes >= 3, 5)

    await play.run(Talkers(), steer)
    assert screen.scenes >= 4


async def test_waiting_ends_at_its_limit() -> None:
    assert await act(Scripted(status())).until(lambda: False, 0.0) is False


async def test_the_candidates_first_request_has_its_time() -> None:
    async def steer() -> None:
        await play.until(lambda: play.scene.total.requests > 0, 5)

    play = act(Scripted(status()))
    await play.run(Talkers(Arm.control), steer)
    assert play.first_candidate_at is None
    play = act(Scripted(status()))
    before = SystemClock().now() - 0.25
    await play.run(Talkers(), steer)
    assert play.first_candidate_at is not None
    assert before <= play.first_candidate_at <= SystemClock().now()
