"""Where notifications go, as the configuration names it, and which changes each place hears of.

A sink's URL is a secret as much as its key is: whoever knows the path of a Slack webhook can write there. It
appears in no message and no representation; what may be shown of it is `place`.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from gateway.core.spec import MigrationSpec

SinkKind = Literal["slack", "webhook"]
ChangeKind = Literal[
    "started", "stage", "paused", "approval", "approved", "resumed", "weight", "lists", "soaking",
    "rolled_back", "completed", "report", "retirement", "drift",
]  # fmt: skip
"""What can be told: `approval` asks for one, `retirement` warns that control's model will be gone."""

CHANGES: tuple[ChangeKind, ...] = get_args(ChangeKind)


@dataclass(frozen=True, slots=True)
class Sink:
    """One place that hears of changes."""

    name: str
    kind: SinkKind
    """`slack`: whatever takes Slack's incoming webhooks; `webhook`: plain JSON."""
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    """Signs what a `webhook` gets; empty: it is not signed."""
    events: tuple[ChangeKind, ...] = CHANGES
    """Which changes it wants."""

    @property
    def place(self) -> str:
        """The part of the URL that may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def hears(self, spec: MigrationSpec, change: ChangeKind) -> bool:
        """Tell whether it wants this change of this migration: those of `notify` hear of everything, those of
        `on_rollback.notify` of rollbacks.
        """
        named = self.name in spec.notify or (change == "rolled_back" and self.name in spec.on_rollback.notify)
        return named and change in self.events

    def listens(self, spec: MigrationSpec) -> bool:
        """Tell whether it hears of anything in this migration."""
        return self.name in spec.notify or self.name in spec.on_rollback.notify
