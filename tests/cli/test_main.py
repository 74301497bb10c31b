"""Whatever is mistyped is one line and exit code 2, like everything else that cannot be done."""

import pytest

from gateway import __version__
from tests.support.command import run


def test_version_is_printed() -> None:
    ran = run("--version")
    assert (ran.code, ran.out.strip()) == (0, __version__)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'? (see gateway --help)"),
        (["--colour"], "--colour"),
        (["check", "--confg", "x"], "No such option: --confg"),
        (["check", "extra"], "extra"),
        (["serve", "--port", "eighty"], "--port"),
        (["serve", "--port", "99999"], "65535"),
        (["migration", "advanc"], "Did you mean 'advance'"),
        (["migration", "report", "--kind", "daily"], "Invalid value for '--kind': 'daily' is not one of"),
        (["migration", "explain"], "Missing argument 'unit' (see gateway migration explain --help)"),
        (["migration", "rollback", "--mode", "slowly"], "'slowly'"),
        (["migration", "set-weight", "-5"], "-5"),
        (["migration", "events", "--since", "-1"], "--since"),
        (["migration", "lists", "show", "a", "b"], "b"),
    ],
)
def test_a_mistyped_command_is_one_line(command: list[str], words: str) -> None:
    ran = run(*command)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert line.startswith("gateway: ")
    assert words in line
    assert "--help" in line


@pytest.mark.parametrize("group", [[], ["migration"], ["models"], ["migration", "lists"]])
def test_a_group_alone_shows_what_it_has(group: list[str]) -> None:
    ran = run(*group)
    assert "Usage: gateway" in ran.out + ran.err
    assert "Commands" in ran.out + ran.err


def test_help_names_the_exit_codes() -> None:
    told = " ".join(run("--help").out.split())
    assert "Exit codes: 0 done; 2 could not be done" in told
