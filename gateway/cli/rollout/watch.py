"""`gateway migration watch`: a rollout as it goes, look after look, until whoever watches has seen enough.

On a terminal one board is redrawn in place; in a pipe a line is written whenever there is something new to
say; with `--json` a status object for each look. A gateway that does not answer for a while is waited for,
and what is shown meanwhile says that it is old; only the first look must succeed.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console
from rich.live import Live

from gateway.cli import view
from gateway.cli.admin import DEFAULT_URL, Admin, AsJson, Name, Url, connect
from gateway.cli.migration import print_json
from gateway.cli.rollout.board import WIDEST, Look, board, sentence
from gateway.cli.rollout.words import clock as time_of_day
from gateway.errors import ConnectFailed, GatewayError, Unavailable, UpstreamTimeout
from gateway.tasks import Clock, SystemClock

LOW, HIGH = 23, 39
"""Lines of a board that nobody's terminal limits: below and from `TALL_FROM` columns on."""
TALL_FROM = 100
PLAN_EVERY_S = 60.0
KEPT_EVENTS = 20

_PASSING = (ConnectFailed, UpstreamTimeout, Unavailable)


def watch(
    name: Name = None,
    interval: Annotated[float, typer.Option(help="Seconds from one look to the next.", min=0.1)] = 2,
    once: Annotated[bool, typer.Option("--once", help="Look once, and return.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Watch a rollout live: where it stands, its stages, gates, comparisons, cost and last events.

    Ctrl-C ends it, with exit code 0. In a pipe it writes a line whenever something has changed; with --json
    the status object at every look, one line each.
    """
    console = view.console()
    screen: Screen = JsonScreen() if as_json else _screen(console, once=once)
    with connect(url) as admin:
        eyes = Eyes(admin, admin.resolve(name), SystemClock(), more=not as_json)
        try:
            follow(eyes.look, screen, lambda: time.sleep(interval), once=once)
        except KeyboardInterrupt:
            return
        finally:
            screen.close()


def follow(
    look: Callable[[], Look], screen: "Screen", pause: Callable[[], None], *, once: bool = False
) -> None:
    """Show look after look; one that the gateway does not answer shows the last one and says that it is."""
    last = look()
    screen.show(last)
    while not once:
        pause()
        try:
            last = look()
        except _PASSING as error:
            last = replace(last, trouble=view.clean(error.message))
        screen.show(last)


class Eyes:
    """Asks a running gateway what a `Look` is made of."""

    def __init__(self, admin: Admin, path: str, clock: Clock, *, more: bool = True) -> None:
        """Without `more` the status is all that is asked for."""
        self._admin = admin
        self._path = path
        self._clock = clock
        self._more = more
        self._events: tuple[Any, ...] = ()
        self._plan: Any = None
        self._plan_next_at = 0.0

    def look(self) -> Look:
        """Return the present moment; raises GatewayError."""
        status = self._admin.get(self._path)
        if not self._more:
            return Look(self._clock.now(), status)
        return view_of(self._clock.now(), status, self._last_events(), self._planned())

    def _last_events(self) -> tuple[Any, ...]:
        seen = self._events[-1]["seq"] if self._events else 0
        # The status is what matters: while the store is away there are no events to be had.
        if (answer := self._ask("events", since=seen)) is not None:
            self._events = (*self._events, *answer["data"])[-KEPT_EVENTS:]
        return self._events

    def _planned(self) -> Any:
        if self._clock.monotonic() >= self._plan_next_at:
            self._plan_next_at = self._clock.monotonic() + PLAN_EVERY_S
            if (answer := self._ask("plan")) is not None:
                self._plan = answer.get("plan")
        return self._plan

    def _ask(self, what: str, **params: int) -> Any:
        try:
            return self._admin.get(f"{self._path}/{what}", **params)
        except GatewayError:
            return None


def view_of(at: float, status: Any, events: tuple[Any, ...], plan: Any) -> Look:
    """Return a look in which nothing is left that a terminal obeys."""
    return Look(at, view.clean(status), tuple(view.clean(events)), view.clean(plan))


# --- where looks are shown --------------------------------------------------------------------------------


class Screen(Protocol):
    """Where looks are shown."""

    def show(self, look: Look) -> None: ...

    def close(self) -> None: ...


def _screen(console: Console, *, once: bool) -> Screen:
    if once:
        return Page(console)
    if console.is_terminal and not console.is_dumb_terminal:
        return InPlace(console)
    return Lines(console)


def height_of(console: Console) -> int:
    """Return how many lines a board may have: as the width allows, and the terminal."""
    most = HIGH if console.width >= TALL_FROM else LOW
    return min(console.height - 1, most) if console.is_terminal else most


@dataclass(slots=True)
class Page:
    """Writes a board and leaves it."""

    console: Console

    def show(self, look: Look) -> None:
        """Write it below what stands there."""
        self.console.print(board(look, min(self.console.width, WIDEST), height_of(self.console)))

    def close(self) -> None:
        """Nothing is left open."""


class InPlace:
    """Redraws one board; the last one stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, look: Look) -> None:
        """Draw it over the one before, in the size that the terminal has now."""
        self._live.update(board(look, self._console.width, height_of(self._console)), refresh=True)

    def close(self) -> None:
        """Leave the last board as it is."""
        self._live.stop()


class Lines:
    """Writes a line whenever it differs from the one before."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def show(self, look: Look) -> None:
        """Write where it stands, if that is news."""
        line = sentence(look)
        if line != self._last:
            self._last = line
            self._console.print(f"{time_of_day(look.at, look.at)}  {line}")
            self._console.file.flush()

    def close(self) -> None:
        """Nothing is left open."""


class JsonScreen:
    """Writes what the gateway answered, a line for each look; nothing while it does not answer."""

    def show(self, look: Look) -> None:
        """Write the status object."""
        if not look.trouble:
            print_json(look.status)

    def close(self) -> None:
        """Nothing is left open."""
