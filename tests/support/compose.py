"""What the container files say, read as Docker would read them, as far as this project uses it."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, Self

import yaml

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile."""

    name: str
    value: str
    stage: int
    """From 0."""

    @property
    def words(self) -> list[str]:
        """The exec form's argument vector, else the words."""
        if self.value.startswith("["):
            words: list[str] = json.loads(self.value)
            return words
        return shlex.split(self.value)


def read_dockerfile(text: str) -> list[Instruction]:
    """Return every instruction in order."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    instructions: list[Instruction] = []
    stage = -1
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, value = line.strip().partition(" ")
        stage += name.upper() == "FROM"
        instructions.append(Instruction(name.upper(), value.strip(), stage))
    return instructions


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile whose last stage is the image."""

    instructions: list[Instruction]

    @classmethod
    def read(cls, path: Path) -> Self:
        return cls(read_dockerfile(path.read_text("utf-8")))

    def all(self, name: str, *, stage: int | None = None) -> list[Instruction]:
        """Return the instructions of that name, of one stage or of all."""
        return [
            each for each in self.instructions if each.name == name and (stage is None or each.stage == stage)
        ]

    @property
    def last(self) -> int:
        return self.instructions[-1].stage

    def the(self, name: str) -> Instruction:
        """Return the image's only instruction of that name."""
        (found,) = self.all(name, stage=self.last)
        return found

    def environment(self, stage: int) -> dict[str, str]:
        """Return what the ENV instructions of a stage set."""
        words = (word for each in self.all("ENV", stage=stage) for word in each.words)
        return dict(word.split("=", 1) for word in words)

    @property
    def healthcheck(self) -> list[str]:
        """The argument vector of the health check."""
        _, _, command = self.the("HEALTHCHECK").value.partition("CMD ")
        words: list[str] = json.loads(command)
        return words


@dataclass(frozen=True)
class Ignored:
    """A .dockerignore: the last line that matches decides."""

    lines: list[str]

    @classmethod
    def read(cls, path: Path) -> Self:
        lines = (line.strip() for line in path.read_text("utf-8").splitlines())
        return cls([line for line in lines if line and not line.startswith("#")])

    def covers(self, path: str) -> bool:
        """Whether a file is kept from the builder."""
        ignored = False
        for line in self.lines:
            pattern = line.removeprefix("!")
            if any(_matches(str(each), pattern) for each in _with_parents(path)):
                ignored = not line.startswith("!")
        return ignored


def _with_parents(path: str) -> Iterator[PurePosixPath]:
    whole = PurePosixPath(path)
    yield whole
    yield from (parent for parent in whole.parents if str(parent) != ".")


def _matches(path: str, pattern: str) -> bool:
    anywhere = pattern.removeprefix("**/")
    if anywhere != pattern:
        return fnmatch(PurePosixPath(path).name, anywhere)
    return len(PurePosixPath(path).parts) == len(PurePosixPath(pattern).parts) and fnmatch(path, pattern)


class MissingVariable(Exception):
    """A variable without which nothing starts; says what the file says about it."""


@dataclass(frozen=True)
class Variable:
    """One place where a variable of the caller's environment is used."""

    name: str
    kind: str
    """`?` required, `-` with a default, empty: neither."""
    words: str
    """The default, or what is said where it is missing."""


def variables(text: str) -> list[Variable]:
    """Return every use of a variable."""
    return [Variable(match[1], match[2] or "", match[3] or "") for match in _VARIABLE.finditer(text)]


def interpolate(value: Any, env: Mapping[str, str]) -> Any:
    """Return the document with every variable replaced; raises MissingVariable."""
    match value:
        case str():
            return _VARIABLE.sub(lambda match: _value(match, env), value)
        case dict():
            return {key: interpolate(item, env) for key, item in value.items()}
        case list():
            return [interpolate(item, env) for item in value]
        case _:
            return value


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    given = env.get(match[1], "")
    if not given and match[2] == "?":
        raise MissingVariable(f"{match[1]}: {match[3]}")
    return given or (match[3] or "" if match[2] == "-" else "")


@dataclass(frozen=True)
class Compose:
    """docker-compose.yml with the variables of one environment."""

    document: dict[str, Any]
    image: Dockerfile
    """What `build` builds."""
    env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path, env: Mapping[str, str]) -> Self:
        """Raises MissingVariable."""
        document = yaml.safe_load((directory / "docker-compose.yml").read_text("utf-8"))
        return cls(interpolate(document, env), Dockerfile.read(directory / "Dockerfile"), env)

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        services: dict[str, dict[str, Any]] = self.document["services"]
        return services

    def ours(self, name: str) -> bool:
        """Whether a service runs the image that is built here."""
        return "build" in self.services[name]

    def command(self, name: str) -> list[str]:
        """Return the argument vector that a service's container runs."""
        service = self.services[name]
        if not self.ours(name):
            return list(service["command"])
        return [*self.image.the("ENTRYPOINT").words, *service.get("command", self.image.the("CMD").words)]

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a service's container, as far as these files set it."""
        ours = self.image.environment(self.image.last) if self.ours(name) else {}
        return {**ours, **self.services[name].get("environment", {})}

    def mounts(self, name: str) -> dict[str, str]:
        """Return source by target."""
        parts = (volume.split(":") for volume in self.services[name].get("volumes", []))
        return {target: source for source, target, *_ in parts}
