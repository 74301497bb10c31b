"""What is written for people about a migration: plan, runbook, checklist, incidents and reports.

Pages are Markdown and go to standard output as they are, so that they can be kept or sent on. `--json` is
what the gateway answered, the page within it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from gateway.cli import view
from gateway.cli.admin import DEFAULT_URL, AsJson, Name, Url, connect
from gateway.cli.migration import print_json
from gateway.errors import BadRequest, NotFound

_MARKS = {"open": ("☐", "yellow"), "done": ("✓", "green"), "not_applicable": ("-", "dim")}
_ESCAPED = re.compile(r"\\([\\`*_\[\]<>|#])")
"""Marks that Markdown would obey, as a page's words have them; a table shows them plainly."""
_PARTS = {"pre": "before", "during": "during", "post": "after"}

RequestsPerMin = Annotated[
    float | None, typer.Option(help="In place of the traffic that was counted.", min=0, show_default=False)
]
UnitsPerDay = Annotated[
    float | None, typer.Option(help="In place of the units that were counted.", min=0, show_default=False)
]
ErrorRate = Annotated[
    float | None, typer.Option(help="Control's error rate, 0 to 1, in place of its own.", show_default=False)
]
Note = Annotated[str, typer.Option(help="With --tick: what you have seen; kept in the audit log.")]
Tick = Annotated[
    str | None,
    typer.Option("--tick", metavar="ITEM", help="Answer for an item, by your name.", show_default=False),
]
Number = Annotated[
    int | None, typer.Option("--id", help="Only the incident of this number.", show_default=False)
]


def plan(
    name: Name = None,
    requests_per_min: RequestsPerMin = None,
    units_per_day: UnitsPerDay = None,
    base_error_rate: ErrorRate = None,
    *,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """What each stage can see at the present traffic, how long it takes and what it costs, as Markdown.

    The numbers are those that the gateway has counted; what is not known yet, or will be different, can be
    said. Nothing is changed.
    """
    asked = {
        "requests_per_min": requests_per_min,
        "units_per_day": units_per_day,
        "base_error_rate": base_error_rate,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    _page(name, "plan", given, url=url, as_json=as_json)


def runbook(name: Name = None, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """What whoever is on call needs to know of this migration, with its numbers of now, as Markdown."""
    _page(name, "runbook", {}, url=url, as_json=as_json)


def checklist(
    name: Name = None,
    tick: Tick = None,
    note: Note = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """What must be true before, during and after, and how it is known; --tick answers for one of them.

    What can be proved by what the gateway knows is proved by itself; everything else a person ticks, and the
    audit log keeps who did.
    """
    if note and tick is None:
        raise BadRequest("--note belongs to --tick ITEM")
    with connect(url) as admin:
        path = f"{admin.resolve(name)}/checklist"
        answer = admin.get(path) if tick is None else admin.write("POST", path, {"item": tick, "note": note})
    if as_json:
        print_json(answer)
        return
    cleaned = view.clean(answer)
    typer.echo(_standing(cleaned))
    view.console().print(_items(cleaned["items"]))


def incidents(
    name: Name = None,
    number: Number = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The whole reports, not a line for each.")
    ] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Every rollback, oldest first: when, what stopped it, and who was hit; --markdown is the report."""
    with connect(url) as admin:
        answer = admin.get(f"{admin.resolve(name)}/incidents")
    found = [each for each in answer["data"] if number in (None, each["id"])]
    if number is not None and not found:
        known = ", ".join(str(each["id"]) for each in answer["data"]) or "none"
        raise NotFound(f"there is no incident {number}; known: {known}")
    if as_json:
        print_json({"data": found})
    elif not found:
        typer.echo("nothing was ever rolled back")
    elif markdown:
        typer.echo("\n\n".join(_clean_page(each["markdown"]).rstrip() for each in found))
    else:
        view.console().print(_incidents(view.clean(found)))


def report(
    name: Name = None,
    kind: Annotated[
        Literal["weekly", "final"], typer.Option(help="The week's, or the comparison of the whole run.")
    ] = "weekly",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """A report as it would be written now, as Markdown; it is not kept."""
    _page(name, "report", {"kind": kind}, url=url, as_json=as_json)


def reports(
    name: Name = None,
    show: Annotated[
        str | None,
        typer.Option(metavar="REPORT", help="Print this one, as it was written.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """The reports that were kept: one a week, and the last one; --show prints one."""
    with connect(url) as admin:
        answer = admin.get(f"{admin.resolve(name)}/reports")
    found = [each for each in answer["data"] if show in (None, each["name"])]
    if show is not None and not found:
        known = ", ".join(each["name"] for each in answer["data"]) or "none"
        raise NotFound(f"there is no report {show!r}; known: {known}")
    if as_json:
        print_json({"data": found})
    elif not found:
        typer.echo("no report has been written yet; `gateway migration report` writes one now")
    elif show is not None:
        typer.echo(_clean_page(found[0]["markdown"]).rstrip())
    else:
        rows = view.clean(found)
        table = view.rows("report", "kind", "written (UTC)")
        for each in rows:
            table.add_row(each["name"], each["kind"], view.moment(each["written_at"]))
        view.console().print(table)


def _page(
    name: str | None, paper: str, params: Mapping[str, str | float], *, url: str, as_json: bool
) -> None:
    with connect(url) as admin:
        answer = admin.get(f"{admin.resolve(name)}/{paper}", **params)
    if as_json:
        print_json(answer)
    else:
        typer.echo(_clean_page(answer["markdown"]).rstrip())


def _clean_page(markdown: str) -> str:
    """Return a page whose lines stay lines; nothing else in it steers a terminal."""
    return "\n".join(view.clean(line) for line in markdown.split("\n"))


def _standing(answer: Mapping[str, Any]) -> str:
    """Say what the checklist means for a start."""
    before = [item for item in answer["items"] if item["part"] == "pre"]
    missing = sum(item["state"] == "open" for item in before)
    if not missing:
        return f"{answer['migration']}: nothing before the start is open"
    then = "a start must be forced until then" if answer["required"] else "it is advice, a start may go ahead"
    return f"{answer['migration']}: {missing} of {len(before)} items before the start are open; {then}"


def _items(items: Iterable[Mapping[str, Any]]) -> Any:
    table = view.rows("", "item", "when", "proof", "what", "how it is known")
    for item in items:
        mark, style = _MARKS.get(item["state"], ("?", ""))
        word = "" if item["state"] != "not_applicable" else "does not apply: "
        table.add_row(
            Text(mark, style), item["id"], _PARTS.get(item["part"], item["part"]),
            item["proof"], item["title"], _ESCAPED.sub(r"\1", f"{word}{item['evidence']}"),
        )  # fmt: skip
    return table


def _incidents(found: Sequence[Mapping[str, Any]]) -> Any:
    table = view.rows("id>", "when (UTC)", "run>", "cause", "why", "units hit>", "rescued>", "failing>")
    for each in found:
        hit = each["affected"]
        table.add_row(
            str(each["id"]), view.moment(each["at"]), str(each["run"]), f"{each['cause']} ({each['by']})",
            each["reason"], f"{hit['units']:,}", f"{hit['rescued']:,}",
            f"{sum(hit['failing'].values()):,}",
        )  # fmt: skip
    return table
