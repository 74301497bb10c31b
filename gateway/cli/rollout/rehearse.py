"""`gateway migration rehearse`: what a rehearsal showed, as a table, and as the checklist's proof."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.cli import view
from gateway.cli.admin import DEFAULT_URL, Name, Url, connect
from gateway.cli.demo import demo_files, to_the_end
from gateway.cli.documents import AsJson, ConfigFile, config_path
from gateway.cli.migration import print_json
from gateway.config import files, load
from gateway.core.spec import MigrationSpec
from gateway.errors import BadRequest
from gateway.rehearsal.failures import FAILURES, HEALTHY, chosen
from gateway.rehearsal.play import Played, partly
from gateway.rehearsal.play import rehearse as play
from gateway.rehearsal.report import Report, Result
from gateway.tasks import SystemClock

WIDTH = 100
"""The words below the table grow no wider."""
LEGEND = (
    "after: seconds from the first bad answer to the rollback; last: to the last request that went to the "
    "candidate; asked: requests that went there since it went wrong; hurt: callers who could not use their "
    "answer; rescued: answered by control instead"
)
KNOWN = ", ".join((HEALTHY, *(failure.name for failure in FAILURES)))
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="FAILURE", help=f"Only this; may be given several times. One of {KNOWN}."),
]
Record = Annotated[
    bool, typer.Option("--record", help="Note the outcome for the checklist of the gateway at --url.")
]
_ENDED = {"rolled_back": "rolled back", "climbed": "climbed", "stayed": "stayed", "unguarded": "not guarded"}


def rehearse(
    name: Name = None,
    config: ConfigFile = None,
    only: Only = None,
    record: Record = False,
    *,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Rehearse a migration of the configuration: a climb to the top, and every rollback, within minutes.

    A copy of it with its days taken out runs on this machine: a real gateway in front of a simulated Messages
    API, under the traffic of five applications. Exit code: 0 everything ended as it must, 1 something did
    not, 2 it could not be rehearsed.
    """
    healthy, failures = chosen(only or ())
    if record and only:
        raise BadRequest("--record: a rehearsal of a part proves nothing; leave out --only")
    path = config_path(config)
    documents = load(path)
    spec = meant(documents.migrations, name)
    if record:
        with connect(url) as admin:
            admin.get(admin.resolve(spec.name))  # Rather now than after minutes.
    played = Played(spec, documents.catalogue, files(path)[1], demo_files() / "demo")
    console = Console(stderr=True, markup=False, highlight=False) if as_json else view.console()
    tell = partial(_tell, console)
    report = to_the_end(play(played, SystemClock(), healthy=healthy, failures=failures, tell=tell))
    report = partly(report) if only else report
    if as_json:
        print_json(report.document())
    else:
        console.print(drawn(report, console.width))
    if record:
        hand_in(report, url)
    if not as_json:
        console.print(_afterwards(report, url, recorded=record))
    raise typer.Exit(0 if report.passed else 1)


def meant(specs: Sequence[MigrationSpec], name: str | None) -> MigrationSpec:
    """Return the migration that is meant; raises BadRequest naming those that there are."""
    names = ", ".join(spec.name for spec in specs)
    if not specs:
        raise BadRequest("the configuration has no migration")
    if name is None and len(specs) > 1:
        raise BadRequest(f"say which migration is meant: {names}")
    found = next((spec for spec in specs if name in (None, spec.name)), None)
    if found is None:
        raise BadRequest(f"the configuration has no migration {name!r}; it has {names}")
    return found


def hand_in(report: Report, url: str) -> None:
    """Note the outcome for the checklist."""
    details = report.document()
    proof = {
        "kind": "rehearsal",
        "passed": report.passed,
        "summary": details.pop("summary"),
        "details": details,
    }
    with connect(url) as admin:
        admin.write("POST", f"{admin.resolve(report.migration)}/proofs", proof)


def drawn(report: Report, width: int) -> RenderableType:
    """Return the table, what the gates said, and what was not as it is configured."""
    width = min(width, WIDTH)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for header in ("", "ended", "stopped by", "after", "last", "asked", "hurt", "rescued"):
        number = header in ("after", "last", "asked", "hurt", "rescued")
        table.add_column(header, justify="right" if number else "left", no_wrap=True)
    for result in report.results:
        table.add_row(*_row(result))
    legend = "; ".join([*_where(report), LEGEND])
    parts: list[RenderableType] = [Text(), table, Text(), _wrapped(legend, width, "dim"), Text()]
    parts += (_why(result, width) for result in report.results)
    if report.changes:
        parts += [Text(), Text("not as it is configured:", style="dim")]
        parts += (_wrapped(line, width, "dim", indent=2) for line in report.changes)
    return Group(*parts, Text())


def _where(report: Report) -> Iterator[str]:
    stages = dict.fromkeys((result.stage, result.percent) for result in report.results if result.stage)
    yield from (f"failures were let loose in stage {name} ({percent:g} %)" for name, percent in stages)


def _row(result: Result) -> Iterator[Text | str]:
    mark, style = _mark(result)
    yield Text(f"{mark} {result.failure}", style=style)
    yield _ENDED[result.ended]
    yield result.gates[0] if result.gates else "-"
    yield _seconds(result.rollback_s)
    yield _seconds(result.last_request_s)
    yield f"{result.candidate:,}"
    yield Text(f"{result.hurt:,}", style="bold" if result.hurt else "")
    yield f"{result.rescued:,}"


def _mark(result: Result) -> tuple[str, str]:
    if not result.ok:
        return "✗", "bold red"
    return ("-", "yellow") if result.ended == "unguarded" else ("✓", "green")


def _why(result: Result, width: int) -> RenderableType:
    mark, style = _mark(result)
    head = _wrapped(f"{mark} {result.failure}: {result.said}", width, style)
    lines = [view.clean(line) for line in (result.problem, result.why) if line]
    return Group(head, *(_wrapped(line, width, "", indent=2) for line in lines))


def _wrapped(words: str, width: int, style: str, indent: int = 0) -> RenderableType:
    return Constrain(Padding(Text(words, style=style), (0, 0, 0, indent)), width)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _tell(console: Console, line: str) -> None:
    console.print(f"  {line}", style="dim")


def _afterwards(report: Report, url: str, *, recorded: bool) -> Text:
    """Return the last word: what came of it, and where it is noted."""
    words = f"{report.migration}: {report.summary} ({report.took_s:.0f} s)."
    if recorded:
        words += f" Noted for the checklist of the gateway at {url}."
    elif report.passed and report.whole:
        words += " --record notes it for the checklist of a running gateway."
    return Text(view.clean(words), style="bold green" if report.passed else "bold red")
