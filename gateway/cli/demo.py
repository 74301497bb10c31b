"""`gateway demo`: the command around the demo - screen, signals, closing summary, exit code."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

import gateway
from gateway.cli import view
from gateway.cli.scene import LiveScreen, PlainScreen
from gateway.config import load_catalogue
from gateway.demo.story import Check, play
from gateway.demo.traffic import Traffic
from gateway.errors import ConfigError, GatewayError
from gateway.tasks import SystemClock

INTERRUPTED = 130

T = TypeVar("T")


def demo(
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live view.")] = False,
    traffic: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Only the applications' traffic, to a gateway that runs already, until stopped.",
        ),
    ] = None,
) -> None:
    """Watch a whole migration: a good candidate climbs to 100 %, a bad one is rolled back by itself.

    Everything runs on this machine: a simulated Messages API, the gateway with its embedded store, and the
    traffic of five applications. Exit code: 0 if all of it happened and no caller saw a failure, 1 if not, 2
    if it could not run. With --traffic: 0 when it was stopped.
    """
    files = demo_files()
    catalogue = load_catalogue(files / "models.yaml")
    if traffic is not None:
        asyncio.run(_send(Traffic(traffic, files, catalogue, SystemClock(), say=_say)))
        return
    console = view.console()
    in_place = console.is_terminal and not plain and not os.environ.get("CI")
    screen: LiveScreen | PlainScreen = LiveScreen(console) if in_place else PlainScreen(console)
    clock = SystemClock()
    started = clock.monotonic()
    checks = to_the_end(play(screen, clock, catalogue, files), screen.close)
    raise typer.Exit(summarise(console, checks, clock.monotonic() - started))


def to_the_end(story: Coroutine[Any, Any, T], close: Callable[[], None] = lambda: None) -> T:
    """Run what starts servers of its own, and return what came of it; told to stop, it ends them and exits.

    `close` ends whatever is drawn, before anything else is said.
    """
    try:
        return asyncio.run(_until_told_to_stop(story))
    except (KeyboardInterrupt, asyncio.CancelledError):
        close()
        typer.echo("stopped; nothing is left running", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except BaseExceptionGroup as group:
        if error := next(_expected(group), None):
            raise error from None
        raise
    finally:
        close()


def summarise(console: Console, checks: Sequence[Check], took_s: float) -> int:
    """Write what happened, claim by claim, and return the exit code: 0 only if every claim holds."""
    console.print()
    for check in checks:
        mark, style = ("✓", "green") if check.holds else ("✗", "bold red")
        console.print(f"{mark} {check.claim if check.holds else check.otherwise}", style=style)
    console.print()
    held = sum(check.holds for check in checks)
    if held < len(checks) or not checks:
        words = f"The demo failed: {len(checks) - held} of {len(checks)} claims do not hold ({took_s:.0f} s)."
        console.print(words, style="bold red")
        return 1
    console.print(
        f"All of it on this machine, in {took_s:.0f} s. Next: make run, and README.md.", style="bold"
    )
    return 0


async def _send(traffic: Traffic) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, traffic.stop)
    await traffic.send()


def _say(line: str) -> None:
    print(line, flush=True)


async def _until_told_to_stop(story: Coroutine[Any, Any, T]) -> T:
    """Run the story; a terminal that closes and a polite kill end it like Ctrl-C does."""
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(story, name="demo")
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, telling.cancel)
    return telling.result()


def demo_files() -> Path:
    """Return the folder with models.yaml and the demo's traffic: of the working directory, else of the
    checkout."""
    folders = [Path("config"), Path(gateway.__file__).parents[1] / "config"]
    for folder in folders:
        if (folder / "demo").is_dir():
            return folder
    raise ConfigError(
        "the demo needs config/demo and config/models.yaml; run it from a clone of the repository"
    )


def _expected(group: BaseExceptionGroup[BaseException]) -> Iterator[GatewayError]:
    for error in group.exceptions:
        if isinstance(error, GatewayError):
            yield error
        elif isinstance(error, BaseExceptionGroup):
            yield from _expected(error)
