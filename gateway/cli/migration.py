"""`gateway migration`: where a migration on a running gateway stands, and what happened to it.

The verbs that change something are in `steer`, the live view and the papers in `rollout`. `status --wait` is
for scripts: its exit code is the answer.
"""

import re
import time
from typing import Annotated, Any

import typer

from gateway.cli import view
from gateway.cli.admin import DEFAULT_URL, Admin, AsJson, Name, Url, connect
from gateway.core.types import to_json
from gateway.errors import ConnectFailed, UpstreamTimeout
from gateway.tasks import SystemClock

app = typer.Typer(
    no_args_is_help=True,
    help="See and steer the migrations of a running gateway.\n\n"
    "The admin token is GATEWAY_ADMIN_TOKEN, else the file that `gateway serve` left in its data directory. "
    "Every command exits with 2 when it could not be done, and says why.",
)

TIMED_OUT = 2
_UNESCAPED = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON may hold as it is although a terminal obeys it. It stands only in texts, which may escape it."""
_ENDS = {"completed": 0, "soaking": 0, "rolled_back": 1, "paused": 3}


@app.command("list")
def list_migrations(as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """All migrations, one line each."""
    with connect(url) as admin:
        answer = admin.get("/admin/migrations")
    if as_json:
        print_json(answer)
    elif answer["data"]:
        view.console().print(view.migrations_table(answer["data"]))
    else:
        typer.echo("no migration is configured")


@app.command()
def status(
    name: Name = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Return only when the rollout has come to an end.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that --wait waits.", min=0)] = 3600,
    interval: Annotated[float, typer.Option(help="Seconds from one look to the next.", min=0.01)] = 1,
    *,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Where it stands; the first line says it all.

    With --wait the exit code is: 0 completed or soaking, 1 rolled back, 2 not within --timeout, 3 paused, be
    it for inconclusive numbers, an approval, a freeze, missing traffic or by somebody; most of these may end
    by themselves, so wait again if that is all right. Without --wait it is 0.
    """
    with connect(url) as admin:
        path = admin.resolve(name)
        answer = _await_end(admin, path, timeout, interval) if wait else admin.get(path)
    if as_json:
        print_json(answer)
    else:
        view.console().print(view.status_report(answer))
    if wait and (code := _ENDS.get(answer["phase"], TIMED_OUT)):
        raise typer.Exit(code)


@app.command()
def explain(
    unit: Annotated[
        str, typer.Argument(help="A user, a session, an x-gateway-unit: whatever you assign by.")
    ],
    name: Name = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Which arm a unit gets, and why; changes nothing."""
    with connect(url) as admin:
        answer = admin.get(f"{admin.resolve(name)}/explain", unit=unit)
    if as_json:
        print_json(answer)
        return
    typer.echo(view.clean(f"{unit}: {answer['arm']}, because {answer['reason']}"))
    rest = {key: value for key, value in answer.items() if key not in {"arm", "reason", "unit"}}
    view.console().print(view.facts((key.replace("_", " "), plain(value)) for key, value in rest.items()))


@app.command()
def events(
    name: Name = None,
    since: Annotated[int, typer.Option(help="Only events after this number.", min=0)] = 0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Who did what, when and why: the audit log."""
    with connect(url) as admin:
        answer = admin.get(f"{admin.resolve(name)}/events", since=since)
    if as_json:
        print_json(answer)
    elif answer["data"]:
        view.console().print(view.events_table(answer["data"]))
    else:
        typer.echo("nothing has happened yet" if since == 0 else f"nothing has happened since {since}")


def print_json(answer: Any) -> None:
    """Print the gateway's answer for another program, or for a person whose terminal it must not steer."""
    typer.echo(_UNESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", to_json(answer).decode()))


def plain(value: object) -> str:
    """Return a JSON value as a person would write it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case list():
            return ", ".join(plain(item) for item in value) or "-"
        case dict():
            return ", ".join(f"{key} {plain(item)}" for key, item in value.items()) or "-"
        case _:
            return str(value)


def _await_end(admin: Admin, path: str, timeout_s: float, interval_s: float) -> Any:
    """Poll until the rollout has ended, is paused or the time is up. A gateway that restarts meanwhile is
    waited for."""
    clock = SystemClock()
    give_up_at = clock.monotonic() + timeout_s
    answer = admin.get(path)
    while answer["phase"] not in _ENDS and (left_s := give_up_at - clock.monotonic()) > 0:
        time.sleep(min(interval_s, left_s))
        try:
            answer = admin.get(path)
        except (ConnectFailed, UpstreamTimeout):
            continue
    return answer
