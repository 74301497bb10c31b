"""The `gateway` command as a user runs it, in this process: output, errors and exit code."""

from collections.abc import Mapping
from dataclasses import dataclass

from typer.testing import CliRunner

from gateway.cli.main import app


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def first_line(self) -> str:
        return self.out.splitlines()[0] if self.out else ""


def run(*arguments: str, env: Mapping[str, str] | None = None) -> Ran:
    """Run the command; an exception that it does not expect is a failure of the test."""
    wide = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(app, arguments, env={**wide, **(env or {})}, catch_exceptions=False)
    return Ran(result.exit_code, result.stdout, result.stderr)
