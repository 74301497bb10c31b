"""What surrounds an act of the demo, without servers: a screen that remembers, a scripted operator."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.demo.act import Scene


class Told:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.scenes = 0
        self.lines: list[str] = []

    def show(self, scene: Scene) -> None:
        self.scenes += 1

    def say(self, line: str) -> None:
        self.lines.append(line)


class Scripted:
    """An operator whose gateway answers with these statuses, one after the other; the last repeats."""

    def __init__(self, *statuses: Mapping[str, Any]) -> None:
        self.statuses = list(statuses)
        self.verbs: list[str] = []

    async def status(self, migration: str) -> Mapping[str, Any]:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    async def act(self, migration: str, verb: str, reason: str) -> Mapping[str, Any]:
        self.verbs.append(verb)
        return self.statuses[0]

    async def events(self, migration: str) -> Sequence[Mapping[str, Any]]:
        return []
