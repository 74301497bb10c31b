"""The shapes of the YAML documents: what a key may hold, in the words of `shapes`.

Where a document looks like the frozen dataclass that it becomes (the catalogue, lists), that dataclass is the
shape; the others are written out here and turned into theirs by `to_spec`.

Nothing is accepted that would silently do nothing: an option whose behaviour does not exist yet is a problem.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.compat.catalog import Model
from gateway.config.checks import CheckDocument, to_checks
from gateway.config.compat import CompatDocument, to_policy
from gateway.config.freezes import FreezeDocument, repeated, to_freezes
from gateway.config.gates import GatesDocument, to_gates
from gateway.config.shapes import SOME, Document, Duration, Name, Percent, Text
from gateway.config.sinks import SinkDocument
from gateway.config.stages import Stages, to_stage
from gateway.core.address import upstream_address
from gateway.core.spec import (
    UNIT_LADDER,
    Holdback,
    Lists,
    MigrationSpec,
    OnRollback,
    Shadow,
    UnitKind,
)


def _flattened(rows: object) -> object:
    """Take lists that stand inside a row's lists apart: YAML can share a list, but not join two."""
    if not isinstance(rows, list):
        return rows
    return [
        {key: _flat(value) if isinstance(value, list) else value for key, value in row.items()}
        if isinstance(row, Mapping)
        else row
        for row in rows
    ]


def _flat(items: list[Any]) -> list[Any]:
    return [part for item in items for part in (_flat(item) if isinstance(item, list) else (item,))]


class CatalogueDocument(Document):
    """config/models.yaml."""

    models: Annotated[tuple[Model, ...], SOME, BeforeValidator(_flattened)]
    sets: tuple[tuple[Any, ...], ...] = ()
    """Lists that rows share by anchor; they mean nothing by themselves."""


class UpstreamDocument(Document):
    """Where requests go, and how long they may take to get there."""

    url: Annotated[str, AfterValidator(upstream_address)] = "https://api.anthropic.com"
    connect_timeout: Annotated[Duration, Field(gt=0)] = 5.0
    first_byte_timeout: Annotated[Duration, Field(gt=0)] = 600.0


class LimitsDocument(Document):
    """What one request may cost the gateway."""

    body_mib: Annotated[float, Field(gt=0)] = 32
    batch_mib: Annotated[float, Field(gt=0)] = 256


class RelayDocument(Document):
    """How an answer is passed on."""

    ping_after: Annotated[Duration, Field(gt=0)] = 15.0


class PinsDocument(Document):
    """How conversations are remembered."""

    idle_ttl: Annotated[Duration, Field(ge=1)] = 3600.0


class GatewayDocument(Document):
    """config/gateway.yaml."""

    upstream: UpstreamDocument = UpstreamDocument()
    catalogue: Text = "models.yaml"
    include: tuple[Text, ...] = ("migrations/*.yaml",)
    prompts: tuple[Text, ...] = ("prompts/*.yaml",)
    limits: LimitsDocument = LimitsDocument()
    relay: RelayDocument = RelayDocument()
    pins: PinsDocument = PinsDocument()
    notify: dict[Name, SinkDocument] = Field(default_factory=dict)


class MatchDocument(Document):
    """Which requests a migration governs."""

    models: Annotated[tuple[Text, ...], SOME]


class HoldbackDocument(Document):
    """Units kept on control."""

    percent: Percent = 0.0
    until: date | None = None


class MigrationDocument(Document):
    """config/migrations/*.yaml, one migration each."""

    name: Name
    control: Text
    candidate: Text
    match: MatchDocument
    stages: Stages
    unit: Annotated[tuple[UnitKind, ...], SOME] = UNIT_LADDER
    lists: Lists = Lists()
    compat: CompatDocument = CompatDocument()
    gates: GatesDocument = GatesDocument()
    checks: tuple[CheckDocument, ...] = ()
    freeze: tuple[FreezeDocument, ...] = ()
    on_rollback: OnRollback = OnRollback()
    holdback: HoldbackDocument = HoldbackDocument()
    shadow: Shadow = Shadow()
    notify: tuple[Name, ...] = ()
    checklist: Literal["required", "advisory"] = "required"


def to_spec(document: MigrationDocument, file: Path = Path()) -> MigrationSpec:
    """Return the frozen migration that planes work with; whether it makes sense is for `inconsistencies`.

    What its checks name lies beside `file`; raises ConfigError where a check cannot be.
    """
    until = document.holdback.until
    return MigrationSpec(
        name=document.name,
        control=document.control,
        candidate=document.candidate,
        models=document.match.models,
        stages=tuple(map(to_stage, document.stages)),
        unit=document.unit,
        lists=document.lists,
        compat=to_policy(document.compat),
        gates=to_gates(document.gates),
        on_rollback=document.on_rollback,
        holdback=Holdback(document.holdback.percent, until.isoformat() if until else None),
        shadow=document.shadow,
        checks=to_checks(document.checks, file),
        freeze=to_freezes(document.freeze),
        notify=document.notify,
        checklist=document.checklist,
    )


def inconsistencies(spec: MigrationSpec) -> Iterator[str]:
    """Yield what is wrong between fields that are right by themselves, each with its path."""
    names = [stage.name for stage in spec.stages]
    for index, stage in enumerate(spec.stages):
        if stage.name in names[:index]:
            yield f"stages[{index}].name: {stage.name!r} stands twice"
        before = spec.stages[index - 1]
        if index and stage.percent <= before.percent:
            yield f"stages[{index}].percent: {stage.percent:g} is not above {before.percent:g}"
    lists: dict[str, tuple[str, ...]] = {
        "unit": spec.unit,
        "match.models": spec.models,
        "notify": spec.notify,
        "on_rollback.notify": spec.on_rollback.notify,
    }
    for path, values in lists.items():
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"{path}: {value!r} stands twice"
    yield from repeated(spec.freeze)
    if spec.shadow.percent != 0:
        yield "shadow.percent: shadow traffic is not supported yet; leave it at 0"
