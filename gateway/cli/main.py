"""The root of the `gateway` command."""

from typing import Annotated

import typer

from gateway import __version__

app = typer.Typer(name="gateway", no_args_is_help=True, add_completion=False)


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
