"""Tells sinks what happens. The audit log is the queue; a cursor per migration and sink says what was told.

Whoever leads ticks this. A tick never waits: for each sink that is not busy and not to be left alone it
starts one round in the background, which reads what follows the cursor and delivers it in order, one message
for each change, one delivery at a time. A slow sink keeps nobody waiting but itself.

- The cursor moves after a delivery, not before: what a process was about to tell when it died is told by the
  next one. A message may therefore come twice, with the same id, and none is skipped.
- The cursor is a document under the leader's epoch, and is written once more right before each delivery: who
  was deposed without knowing is refused there, and says nothing.
- A sink that failed is tried again after a while, each time a longer one, and so is everything that waits
  for it. What it refuses as such is given up after a few attempts, and what is a day old is not news any
  more; both are logged, and the next message follows.
- A sink that was not there before begins with the present end of the log, not with history.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from gateway.control.notify.deliver import deliver
from gateway.control.notify.payloads import body
from gateway.control.notify.sinks import Sink
from gateway.control.notify.templates import Message, change_of, message
from gateway.core.spec import MigrationSpec
from gateway.core.types import Event, MigrationState, parse_json, to_json
from gateway.errors import BadRequest, GatewayError, StaleWrite, StoreUnavailable
from gateway.store.ports import Store
from gateway.tasks import Clock, Tasks

logger = logging.getLogger(__name__)

CURSOR = "notified:"
"""Begins the name of a sink's cursor among a migration's documents."""
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 600.0
NEWS_S = 86_400.0
"""How old a change may be and still be told."""
REFUSED_AT_MOST = 3
"""How often a message is tried that its receiver refuses as such."""
AT_ONCE = 20
"""Deliveries of one round; what is left waits for the next tick."""


Result = Literal["delivered", "failed", "given_up"]


class Post(Protocol):
    """How a message is sent; raises BadRequest if it is refused as such, else another GatewayError."""

    def __call__(self, sink: Sink, body: bytes, *, id: str, now: float) -> Awaitable[None]: ...


@dataclass(slots=True)
class _Patience:
    """How it stands with one sink, in this process."""

    busy: bool = False
    failures: int = 0
    """In a row."""
    not_before: float = 0.0
    """By the monotonic clock."""
    refused: str = ""
    """The id of the message that was refused last, and how often."""
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    """One migration's news for one sink."""

    migration: str
    spec: MigrationSpec
    """As the file has it now: it says who hears."""
    sink: Sink
    epoch: int
    patience: _Patience

    @property
    def cursor(self) -> str:
        return CURSOR + self.sink.name


class Notifier:
    """Delivers the fleet's news while this process leads."""

    def __init__(
        self,
        store: Store,
        *,
        sinks: Callable[[], Mapping[str, Sink]],
        specs: Callable[[], Mapping[str, MigrationSpec]],
        tasks: Tasks,
        clock: Clock,
        jitter: Callable[[float], float] = lambda seconds: seconds,
        post: Post = deliver,
        url: str = "",
        on_result: Callable[[Result], None] = lambda result: None,
        on_error: Callable[[str], None] = lambda operation: None,
    ) -> None:
        """`sinks` and `specs` are the configuration as it stands now, by name; `url` is where the command
        line finds this gateway. `on_result` is told what became of each attempt, `on_error` that a call of
        the store failed.
        """
        self._store, self._sinks, self._specs = store, sinks, specs
        self._tasks, self._clock, self._jitter = tasks, clock, jitter
        self._post, self._url = post, url
        self._on_result, self._on_error = on_result, on_error
        self._patience: dict[str, _Patience] = {}

    def tick(self, epoch: int) -> None:
        """Begin what is due, under the leader's `epoch`; never waits."""
        now, sinks = self._clock.monotonic(), self._sinks()
        self._patience = {name: self._patience.get(name) or _Patience() for name in sinks}
        for name, sink in sinks.items():
            patience = self._patience[name]
            if not patience.busy and now >= patience.not_before:
                patience.busy = True
                self._tasks.spawn(f"notify-{name}", self._round(sink, patience, epoch))

    async def _round(self, sink: Sink, patience: _Patience, epoch: int) -> None:
        left = AT_ONCE
        try:
            for name, spec in list(self._specs().items()):
                if sink.listens(spec) and left > 0 and self._clock.monotonic() >= patience.not_before:
                    left -= await self._tell(_Line(name, spec, sink, epoch, patience), left)
        except StoreUnavailable:
            self._on_error("notify")
        except StaleWrite as deposed:
            logger.info("another process tells the news", extra={"sink": sink.name, "why": deposed.message})
        except Exception:
            logger.exception("the news could not be told", extra={"sink": sink.name})
            self._leave_alone(patience)
        finally:
            patience.busy = False

    async def _tell(self, line: _Line, at_most: int) -> int:
        """Tell what follows the cursor, until something fails; return how many deliveries were tried."""
        kept = await self._cursor(line)
        events = await self._store.events(line.migration, kept or 0)
        if kept is None:
            await self._keep(line, events[-1].seq if events else 0)
            return 0
        states = await self._store.load() if events else {}
        tried, cursor = 0, kept
        for event in events:
            told = self._composed(line, event, states)
            if told is not None:
                if tried == at_most:
                    break
                tried += 1
                await self._keep(line, cursor)
                kept = cursor
                if not await self._delivered(line, told):
                    break
            cursor = event.seq
        if cursor != kept:
            await self._keep(line, cursor)
        return tried

    async def _cursor(self, line: _Line) -> int | None:
        """Return the number of the last event that the sink is done with; None if it is a new one."""
        document = await self._store.document(line.migration, line.cursor)
        if document is None:
            return None
        try:
            return int(parse_json(document))
        except (ValueError, TypeError):
            logger.error("a cursor cannot be read: its sink begins anew", extra=_named(line))
            return None

    async def _keep(self, line: _Line, seq: int) -> None:
        await self._store.put_document(line.migration, line.cursor, to_json(seq), epoch=line.epoch)

    def _composed(self, line: _Line, event: Event, states: Mapping[str, MigrationState]) -> Message | None:
        """Return what is to be said of an event to this sink, if anything."""
        change = change_of(event)
        if change is None or not line.sink.hears(line.spec, change):
            return None
        details = {**_named(line), "event": event.seq}
        if self._clock.now() - event.at > NEWS_S:
            logger.error("a notification was given up: it is not news any more", extra=details)
            self._on_result("given_up")
            return None
        state = states.get(line.migration)
        try:
            return message(
                line.migration, event, state.spec or line.spec if state else line.spec, url=self._url
            )
        except Exception:
            logger.exception("a change could not be put into words", extra=details)
            return None

    async def _delivered(self, line: _Line, told: Message) -> bool:
        """Try to deliver; True if the sink is done with this message, and the next one may follow."""
        patience, details = line.patience, {**_named(line), "event": told.event.seq}
        try:
            data = body(told, line.sink.kind)
            await self._post(line.sink, data, id=told.id, now=self._clock.now())
        except BadRequest as refusal:
            patience.refusals = patience.refusals + 1 if patience.refused == told.id else 1
            patience.refused = told.id
            if patience.refusals >= REFUSED_AT_MOST:
                logger.error("a notification was given up", extra={**details, "why": refusal.message})
                self._on_result("given_up")
                return True
            failed: GatewayError = refusal
        except GatewayError as failure:
            failed = failure
        else:
            patience.failures = 0
            self._on_result("delivered")
            return True
        pause_s = self._leave_alone(patience)
        self._on_result("failed")
        logger.warning(
            "a notification failed", extra={**details, "why": failed.message, "again_in_s": round(pause_s)}
        )
        return False

    def _leave_alone(self, patience: _Patience) -> float:
        """Let the sink be for a while, each time for a longer one."""
        pause_s = self._jitter(min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(patience.failures, 16)))
        patience.failures += 1
        patience.not_before = self._clock.monotonic() + pause_s
        return pause_s


def _named(line: _Line) -> dict[str, object]:
    return {"sink": line.sink.name, "migration": line.migration}
