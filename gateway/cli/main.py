"""The root of the `gateway` command.

Every failure that has a reason is one line on standard error and exit code 2, a mistyped command like one
that cannot be done; a traceback is a bug. Other exit codes belong to the commands that name them in their
help.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from gateway import __version__
from gateway.cli import demo, documents, explain, migration, rollout, serve, steer, view
from gateway.errors import GatewayError


class OneLineFailures(TyperGroup):
    """A command group that says what went wrong and stops, instead of showing where it noticed."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        with _one_line():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        with _one_line():
            return super().invoke(ctx)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except GatewayError as error:
        _stop(*error.message.splitlines())
    except typer.TyperException as error:
        if not error.format_message():
            raise  # a group without a command, which shows its help
        where = getattr(getattr(error, "ctx", None), "command_path", "gateway")
        said = " ".join(error.format_message().replace("Value error, ", "").split()).rstrip(".")
        _stop(f"{said} (see {where} --help)")


def _stop(*lines: str) -> NoReturn:
    for line in lines:
        typer.echo(f"gateway: {view.clean(line)}", err=True)
    raise typer.Exit(2) from None


app = typer.Typer(
    name="gateway",
    cls=OneLineFailures,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Move an application from one Claude model to the next.

    Exit codes: 0 done; 2 could not be done, and one line on standard error says why. `demo`, `models sync`,
    `migration status --wait`, `migration rehearse` and `migration emergency-rollback` have more, which their
    help explains.
    """


app.command("serve")(serve.serve)
app.command("simulate")(serve.simulate)
app.command("demo")(demo.demo)
app.command("check")(documents.check)
app.command("explain-request")(explain.explain_request)
app.command("system-hash")(documents.system_hash)
app.add_typer(documents.models, name="models")
rollout.add_to(migration.app)
steer.add_to(migration.app)
app.add_typer(migration.app, name="migration")

if __name__ == "__main__":
    app()
