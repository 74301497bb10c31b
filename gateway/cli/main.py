"""The root of the `gateway` command.

Every failure that has a reason is one line on standard error and exit code 2; a traceback is a bug. Other
exit codes belong to the commands that name them in their help.
"""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gateway import __version__
from gateway.cli import demo, documents, migration, serve, steer
from gateway.errors import GatewayError


class OneLineFailures(TyperGroup):
    """A command group that says what went wrong and stops, instead of showing where it noticed."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            for line in error.message.splitlines():
                typer.echo(f"gateway: {line}", err=True)
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
    """Move an application from one Claude model to the next."""


app.command("serve")(serve.serve)
app.command("simulate")(serve.simulate)
app.command("demo")(demo.demo)
app.command("check")(documents.check)
app.add_typer(documents.models, name="models")
steer.add_to(migration.app)
app.add_typer(migration.app, name="migration")

if __name__ == "__main__":
    app()
