"""`gateway explain-request`: what would become of one request, without a gateway and without sending it."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.cli import view
from gateway.cli.documents import AsJson, ConfigFile, config_path
from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.explain.request import Explained, Told, explain
from gateway.compat.prompts import ruleset_of, variant_in_force
from gateway.compat.request import RULESET, Context
from gateway.config import Config, load
from gateway.core.spec import MigrationSpec
from gateway.core.types import to_json
from gateway.errors import BadRequest, ConfigError, NotFound

CLASSES = {"L": "lossless", "E": "emulated", "P": "in words", "X": "unservable"}
CLASS_STYLE = {"L": "green", "E": "yellow", "P": "magenta", "X": "bold red"}
DIFF_STYLE = {"+": "green", "-": "red", "@": "cyan"}


def explain_request(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The request's body; - is standard input.")],
    *,
    source: Annotated[str, typer.Option("--from", help="The model that the request was written for.")] = "",
    target: Annotated[str, typer.Option("--to", help="The model that is to serve it.")] = "",
    migration: Annotated[
        str, typer.Option(help="Take models and policy from this migration of the configuration.")
    ] = "",
    task: Annotated[str, typer.Option(help="As in x-gateway-task: policies may differ by task.")] = "",
    beta: Annotated[
        list[str] | None, typer.Option(help="A value of anthropic-beta; may be given several times.")
    ] = None,
    version: Annotated[str, typer.Option("--api-version", help="The anthropic-version.")] = "2023-06-01",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show what the gateway would make of a request, rule by rule, and what of the answer.

    Nothing is sent. Exit code: 0 explained, also where control has to serve, 2 where there is nothing to
    explain.
    """
    documents = load(config_path(config))
    spec = _migration(documents, migration, task)
    models = _models(documents, spec, source, target)
    envelope = parse(_read(file))
    variant = variant_in_force(documents.prompts, envelope, task, models[1].id)
    context = Context(
        betas=tuple(beta or ()),
        version=version,
        ruleset=ruleset_of(RULESET, variant),
        variant=variant,
    )
    told = explain(envelope, *models, spec.compat.for_task(task), context)
    if as_json:
        typer.echo(to_json(told).decode())
        return
    console = view.console()
    for part in drawn(told):
        console.print(part)


def _migration(documents: Config, name: str, task: str) -> MigrationSpec:
    """Return the migration whose policy holds; without a name, one that says nothing."""
    specs = {spec.name: spec for spec in documents.migrations}
    if name and name not in specs:
        raise NotFound(f"there is no migration {name!r}; configured: {', '.join(specs) or 'none'}")
    if task and not name and len(specs) != 1:
        raise BadRequest("--task: say whose policy with --migration; there is not exactly one")
    chosen = specs[name] if name else next(iter(specs.values())) if task else None
    return chosen or MigrationSpec("", "", "", (), ())


def _models(documents: Config, spec: MigrationSpec, source: str, target: str) -> tuple[Model, Model]:
    found: list[Model] = []
    for option, model_id in (("--from", source or spec.control), ("--to", target or spec.candidate)):
        if not model_id:
            raise BadRequest(f"{option}: which model? Or name a migration with --migration")
        model = documents.catalogue.find(model_id)
        if model is None:
            raise NotFound(f"{model_id!r} is not in the catalogue; `gateway models list` shows what is")
        found.append(model)
    return found[0], found[1]


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None


# --- drawn ------------------------------------------------------------------------------------------------


def drawn(told: Explained) -> Iterator[RenderableType]:
    """Draw an explanation: first the answer to the question, then the reasons, then the diff."""
    yield Text(_headline(told), style="bold red" if told.obstacle or told.violations else "bold")
    if told.changes:
        yield _changes(told.changes)
    for title, lines in (
        ("betas", _betas(told)),
        ("the answer", list(told.answer)),
        ("it would be rejected even so", [f"{each.rule}: {each.sentence}" for each in told.violations]),
        ("the old model rejects it too", [f"{each.rule}: {each.sentence}" for each in told.rejected_before]),
    ):
        if lines:
            yield Text(f"\n{title}", style="dim")
            yield from (Padding(Text(view.clean(line)), (0, 0, 0, 2)) for line in lines)
    if told.diff:
        yield Text("\nthe body", style="dim")
        yield from (
            Text(view.clean(line), style=DIFF_STYLE.get(line[:1], ""), overflow="fold") for line in told.diff
        )


def _headline(told: Explained) -> str:
    way = f"{told.source} → {told.target}"
    if told.obstacle is not None:
        who = "control answers" if told.obstacle.then == "control" else "the client gets a 400"
        return view.clean(f"{way}: {who}, because {told.obstacle.sentence} ({told.obstacle.rule})")
    if told.violations:
        return f"{way}: control answers, because it would be rejected even so"
    if not told.changes:
        return f"{way}: goes on as it is" + (", but for the model's id" if told.diff else "")
    count = len(told.changes)
    return f"{way}: served, with {count} change{'' if count == 1 else 's'}"


def _changes(changes: Sequence[Told]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("code", "rule", "class"):
        table.add_column(column, no_wrap=True)
    table.add_column("what is done", overflow="fold")
    for change in changes:
        style = CLASS_STYLE[change.rewrite_class]
        shown = Text(f"{change.rewrite_class} {CLASSES[change.rewrite_class]}", style=style)
        table.add_row(change.code, change.rule, shown, view.clean(change.sentence))
    return table


def _betas(told: Explained) -> list[str]:
    return [*(f"- {beta}" for beta in told.betas_removed), *(f"+ {beta}" for beta in told.betas_added)]
