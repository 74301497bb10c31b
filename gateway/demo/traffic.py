"""The demo's five applications, sent at a gateway that somebody else runs, until they are told to stop."""

from collections.abc import Callable
from pathlib import Path

from gateway.compat.catalog import Catalogue
from gateway.demo.apps import load_templates
from gateway.demo.callers import Callers
from gateway.demo.story import GOOD, USERS
from gateway.demo.tally import Seen, Tally
from gateway.tasks import Clock

AT_ONCE = 8
"""Conversations that run at the same time: some twenty requests per second at most."""
SAY_EVERY_S = 10.0


class Traffic:
    """Five applications that ask for the old model of the demo's first act; each names itself as the task."""

    def __init__(
        self, url: str, files: Path, catalogue: Catalogue, clock: Clock, *, say: Callable[[str], None]
    ) -> None:
        """Raises ConfigError where `files` holds no traffic."""
        self._callers = Callers(
            url.rstrip("/"),
            load_templates(files / "demo"),
            catalogue,
            clock,
            model=GOOD.models[0],
            users=USERS,
            at_once=AT_ONCE,
            say=lambda conversation: {"x-gateway-task": conversation.template.application},
        )
        self._clock = clock
        self._say = say
        self._tally = Tally()
        self._say_next_at = 0.0

    async def send(self) -> None:
        """Send requests until `stop`, and say now and then how it goes."""
        self._say_next_at = self._clock.monotonic() + SAY_EVERY_S
        await self._callers.talk(lambda: "", self._count)
        self._say(told(self._tally))

    def stop(self) -> None:
        """Begin nothing new."""
        self._callers.stop()

    def _count(self, _stage: str, seen: Seen) -> None:
        self._tally.add(seen)
        if self._clock.monotonic() >= self._say_next_at:
            self._say_next_at += SAY_EVERY_S
            self._say(told(self._tally))


def told(tally: Tally) -> str:
    """Return what has come of all requests so far."""
    candidate = tally.candidate.requests
    line = f"{tally.requests:,} requests, {candidate:,} of them to the candidate, {tally.failed:,} failed"
    worst = "".join(f"; mostly: {complaint}" for complaint, _ in tally.complaints.most_common(1))
    return line + worst
