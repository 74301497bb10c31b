"""One act: callers who talk to the gateway while somebody steers a migration, and the numbers of every
moment.

A request is booked to the stage in which it was sent. A stage begins when every replica obeys it, so that
what is counted in it was decided in it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm, Reason
from gateway.demo.tally import Seen, Tally
from gateway.tasks import Clock

REDRAW_S = 0.125
AGREE_S = 3.0
"""How long a verb may take to reach every replica."""
REASON = "the demo goes on"


@dataclass(slots=True)
class Scene:
    """What there is to see at one moment."""

    number: int
    title: str
    plan: MigrationSpec
    users: int
    status: Mapping[str, Any] = field(default_factory=dict)
    stage: Tally = field(default_factory=Tally)
    """Since the stage began."""
    total: Tally = field(default_factory=Tally)
    """Since the act began."""
    elapsed_s: float = 0.0
    """Since the act began."""
    note: str = ""
    """What is worth knowing of how it ended."""


class Screen(Protocol):
    """Where the story is told."""

    def show(self, scene: Scene) -> None:
        """Draw the present moment; called several times a second."""
        ...

    def say(self, line: str) -> None:
        """Tell something that stays."""
        ...


class Operator(Protocol):
    """Who steers the gateway, and looks at it."""

    async def status(self, migration: str) -> Mapping[str, Any]:
        """Return where the migration stands."""
        ...

    async def act(self, migration: str, verb: str, reason: str) -> Mapping[str, Any]:
        """Carry out one verb."""
        ...

    async def events(self, migration: str) -> Sequence[Mapping[str, Any]]:
        """Return the audit log."""
        ...


class Talkers(Protocol):
    """Who sends requests."""

    async def talk(self, stage: Callable[[], str], report: Callable[[str, Seen], None]) -> None:
        """Send requests until `stop`, and report each with the stage in which it was sent."""
        ...

    def stop(self) -> None:
        """Begin nothing new."""
        ...


class Act:
    """The handle by which an act is steered and asked."""

    def __init__(self, scene: Scene, operator: Operator, screen: Screen, clock: Clock) -> None:
        self.scene = scene
        self.stages: dict[str, Tally] = defaultdict(Tally)
        self.reached: list[float] = []
        """The weights, in percent, that the gateway said it served on entering each stage."""
        self.first_candidate_at: float | None = None
        """When an answer first came from the candidate's arm, in epoch seconds."""
        self._operator = operator
        self._screen = screen
        self._clock = clock
        self._began_at = clock.monotonic()
        self._stage = ""

    async def run(self, callers: Talkers, steer: Callable[[], Awaitable[None]]) -> None:
        """Let the callers talk while `steer` runs; returns when the last answer is in."""
        self._screen.show(self.scene)
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(callers.talk(lambda: self._stage, self._count), name="callers")
            drawing = group.create_task(self._draw(), name="screen")
            await steer()
            callers.stop()
            await talking
            drawing.cancel()
        self._screen.show(self.scene)

    async def enter(self, verb: str, stage: str) -> None:
        """Carry out `verb` and arrive at `stage`."""
        await self._operator.act(self.scene.plan.name, verb, REASON)
        await self.arrive(stage)

    async def arrive(self, stage: str) -> None:
        """Wait until every replica obeys, and book what is sent from now on to `stage`."""
        await self.until(self._agreed, AGREE_S)
        self.reached.append(float(self.scene.status["weight_percent"]))
        self.mark(stage)

    def mark(self, stage: str) -> None:
        """Book what is sent from now on to `stage`."""
        self._stage = stage
        self.scene.stage = self.stages[stage]

    async def until(self, happened: Callable[[], bool], limit_s: float) -> bool:
        """Wait until something has happened; False when the limit came first."""
        give_up_at = self._clock.monotonic() + limit_s
        self.scene.status = await self._operator.status(self.scene.plan.name)
        while not happened():
            if self._clock.monotonic() >= give_up_at:
                return False
            await asyncio.sleep(REDRAW_S)
        return True

    async def events(self) -> Sequence[Mapping[str, Any]]:
        """Return the audit log of the act's migration."""
        return await self._operator.events(self.scene.plan.name)

    def elapsed_s(self) -> float:
        """Return the seconds since the act began."""
        return self._clock.monotonic() - self._began_at

    def _agreed(self) -> bool:
        replicas = self.scene.status["replicas"]
        return bool(replicas["acknowledged"] >= replicas["expected"] > 0)

    def _count(self, stage: str, seen: Seen) -> None:
        self.scene.total.add(seen)
        self.stages[stage].add(seen)
        if seen.arm is Arm.candidate and seen.reason != Reason.unservable and self.first_candidate_at is None:
            self.first_candidate_at = self._clock.now() - seen.took_s

    async def _draw(self) -> None:
        while True:
            self.scene.status = await self._operator.status(self.scene.plan.name)
            self.scene.elapsed_s = self.elapsed_s()
            self._screen.show(self.scene)
            await asyncio.sleep(REDRAW_S)
