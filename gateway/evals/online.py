"""Online checks: copies of answers, judged a moment after their callers have them.

Copies wait in a queue that is bounded in number and in characters; what finds it full is dropped and counted,
because a judge that falls behind may cost verdicts but neither memory nor time of the data path. Small copies
are judged on the loop, one at a time with a turn for everybody else in between; large ones in a thread. What
was found goes out as `Checked`; what was read stays here and is forgotten.

A check that cannot be compiled (a run's own copy may hold one that this version refuses) is left out, with a
line in the log.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from gateway.core.booking import Checked
from gateway.core.checks import Compiled, compile_checks, judge
from gateway.core.spec import Check
from gateway.core.tap import AnswerCopy
from gateway.core.types import Arm
from gateway.tasks import Tasks

logger = logging.getLogger(__name__)

MAX_WAITING = 1_000
MAX_WAITING_CHARS = 32 * 1024 * 1024
"""How many copies wait at most, and how much they hold together."""
LARGE_CHARS = 64 * 1024
"""Copies above this are judged in a thread."""


class OnlineChecks:
    """The tap that judges answers by the checks of their migration."""

    def __init__(
        self,
        *,
        checks_of: Callable[[str], tuple[Check, ...]],
        checked: Callable[[str, Checked], None],
        dropped: Callable[[str, Arm], None],
        tasks: Tasks,
    ) -> None:
        """`checks_of` a migration's run; `checked` and `dropped` are told by the migration's name."""
        self._checks_of, self._checked, self._dropped = checks_of, checked, dropped
        self._tasks = tasks
        self._compiled: dict[str, tuple[tuple[Check, ...], tuple[Compiled, ...]]] = {}
        self._waiting: deque[AnswerCopy] = deque()
        self._chars = 0
        self._worker: asyncio.Task[None] | None = None

    def wants(self, migration: str, task: str, *, has_tools: bool) -> bool:
        """Tell whether anything would be judged of an answer."""
        return has_tools or any(check.covers(task) for check in self._ready(migration))

    def take(self, copy: AnswerCopy) -> None:
        """Let a copy wait for its turn, or drop it."""
        size = _size(copy)
        if len(self._waiting) >= MAX_WAITING or self._chars + size > MAX_WAITING_CHARS:
            self._dropped(copy.migration, copy.place.arm)
            return
        self._waiting.append(copy)
        self._chars += size
        if self._worker is None or self._worker.done():
            self._worker = self._tasks.spawn("checks", self._work())

    async def _work(self) -> None:
        while self._waiting:
            copy = self._waiting.popleft()
            size = _size(copy)
            try:
                await self._judge(copy, size)
            except Exception as error:
                # The kind alone: what an error says may hold words of the answer.
                logger.warning("an answer could not be judged", extra={"problem": type(error).__name__})
            finally:
                self._chars -= size
            await asyncio.sleep(0)

    async def _judge(self, copy: AnswerCopy, size: int) -> None:
        checks = self._ready(copy.migration)
        said = await asyncio.to_thread(judge, checks, copy) if size > LARGE_CHARS else judge(checks, copy)
        if said:
            self._checked(copy.migration, Checked(copy.place, copy.request_id, copy.task, said))

    def _ready(self, migration: str) -> tuple[Compiled, ...]:
        """Return a migration's checks, compiled when they are first asked for."""
        checks = self._checks_of(migration)
        known = self._compiled.get(migration)
        if known is None or (known[0] is not checks and known[0] != checks):
            known = self._compiled[migration] = checks, _compiled(migration, checks)
        return known[1]


def _compiled(migration: str, checks: tuple[Check, ...]) -> tuple[Compiled, ...]:
    usable: list[Compiled] = []
    for check in checks:
        try:
            usable += compile_checks([check])
        except ValueError as error:
            seen = {"migration": migration, "check": check.name, "problem": str(error)}
            logger.warning("a check cannot be used", extra=seen)
    return tuple(usable)


def _size(copy: AnswerCopy) -> int:
    return len(copy.text) + len(copy.tools) + sum(len(call.input_json) for call in copy.tool_calls)
