"""Clients in Node, as `make deps-deploy` installs them: `tests/deploy/node/package.json` says which."""

from pathlib import Path

from tests.support.deploy import REPOSITORY
from tests.support.programs import program

DIRECTORY = REPOSITORY / "tests" / "deploy" / "node"


def node() -> Path:
    """Return the program that runs scripts."""
    return program("node")


def installed(pattern: str) -> Path:
    """Return the one path among the packages that the pattern names, or fail and say how to get it."""
    found = sorted((DIRECTORY / "node_modules").glob(pattern))
    assert len(found) == 1, f"{pattern} is missing; `make deps-deploy` installs it (needs npm)"
    return found[0]
