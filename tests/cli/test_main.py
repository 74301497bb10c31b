from typer.testing import CliRunner

from gateway import __version__
from gateway.cli.main import app


def test_version_is_printed() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output.strip()) == (0, __version__)
