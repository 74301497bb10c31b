"""The shapes of the YAML documents: what a key may hold, in the words of `shapes`.

Where a document looks like the frozen dataclass that it becomes (the catalogue, lists), that dataclass is the
shape; the others are written out here and turned into theirs by `to_spec`.

Nothing is accepted that would silently do nothing: an option whose behaviour does not exist yet is a problem.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from gateway.compat.catalog import Model
from gateway.config.compat import CompatDocument, to_policy
from gateway.config.shapes import SOME, Count, Document, Duration, Name, Percent, Ratio, Text
from gateway.core.address import upstream_address
from gateway.core.spec import (
    UNIT_LADDER,
    BreakerRule,
    Gates,
    Holdback,
    Lists,
    MigrationSpec,
    OnRollback,
    Shadow,
    Stage,
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


class MatchDocument(Document):
    """Which requests a migration governs."""

    models: Annotated[tuple[Text, ...], SOME]


class StageDocument(Document):
    """One step of the ramp."""

    name: Name
    percent: Percent
    hold_s: Annotated[Duration, Field(alias="hold")] = 0.0
    min_units: Count = 0
    max_regression: Annotated[float, Field(ge=0, le=1)] | None = None
    approval: bool = False


class BreakerDocument(Document):
    """One absolute limit; what is left out keeps the metric's default."""

    max: Annotated[float, Field(ge=0)] = 0.0
    window_s: Annotated[Duration, Field(alias="window", gt=0)] = 1.0
    min_requests: Count = 0
    min_units: Count = 0


class RatioDocument(Document):
    """The highest tolerated ratio candidate / control."""

    max_ratio: Ratio


class BreakersDocument(Document):
    """Limits by metric; null switches one off."""

    error_rate: BreakerDocument | None = None
    fallback_rate: BreakerDocument | None = None
    latency_p95_s: BreakerDocument | None = None
    quality_issues: BreakerDocument | None = None
    cost_ratio: BreakerDocument | None = None


class RollbackDocument(Document):
    """Comparisons that roll back; null switches one off."""

    error: RatioDocument | None = None
    fallback: RatioDocument | None = None
    tool_error: RatioDocument | None = None
    refusal: RatioDocument | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05


class HoldDocument(Document):
    """Comparisons that keep a stage from advancing; null switches one off."""

    ttft: RatioDocument | None = None
    slow_share: RatioDocument | None = None
    cost: RatioDocument | None = None
    output_tokens: RatioDocument | None = None


class GatesDocument(Document):
    """What stops, holds or rolls back; what is left out keeps its default."""

    breaker: BreakersDocument = BreakersDocument()
    rollback: RollbackDocument = RollbackDocument()
    hold: HoldDocument = HoldDocument()


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
    stages: Annotated[tuple[StageDocument, ...], SOME]
    unit: Annotated[tuple[UnitKind, ...], SOME] = UNIT_LADDER
    lists: Lists = Lists()
    compat: CompatDocument = CompatDocument()
    gates: GatesDocument = GatesDocument()
    on_rollback: OnRollback = OnRollback()
    holdback: HoldbackDocument = HoldbackDocument()
    shadow: Shadow = Shadow()


def to_spec(document: MigrationDocument) -> MigrationSpec:
    """Return the frozen migration that planes work with; whether it makes sense is for `inconsistencies`."""
    until = document.holdback.until
    return MigrationSpec(
        name=document.name,
        control=document.control,
        candidate=document.candidate,
        models=document.match.models,
        stages=tuple(Stage(**stage.model_dump()) for stage in document.stages),
        unit=document.unit,
        lists=document.lists,
        compat=to_policy(document.compat),
        gates=_gates(document.gates),
        on_rollback=document.on_rollback,
        holdback=Holdback(document.holdback.percent, until.isoformat() if until else None),
        shadow=document.shadow,
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
    for path, values in (("unit", spec.unit), ("match.models", spec.models)):
        for value in sorted({value for value in values if values.count(value) > 1}):
            yield f"{path}: {value!r} stands twice"
    if spec.shadow.percent != 0:
        yield "shadow.percent: shadow traffic is not supported yet; leave it at 0"


def _gates(document: GatesDocument) -> Gates:
    default = Gates()
    return Gates(
        breaker=_breakers(document.breaker, default.breaker),
        rollback=_ratios(document.rollback, default.rollback),
        hold=_ratios(document.hold, default.hold),
        alpha=document.rollback.alpha,
    )


def _breakers(document: BreakersDocument, rules: dict[str, BreakerRule]) -> dict[str, BreakerRule]:
    for metric in document.model_fields_set:
        given: BreakerDocument | None = getattr(document, metric)
        if given is None:
            del rules[metric]
        else:
            rules[metric] = replace(rules[metric], **given.model_dump(exclude_unset=True))
    return rules


def _ratios(document: RollbackDocument | HoldDocument, ratios: dict[str, float]) -> dict[str, float]:
    for metric in document.model_fields_set & ratios.keys():
        given: RatioDocument | None = getattr(document, metric)
        if given is None:
            del ratios[metric]
        else:
            ratios[metric] = given.max_ratio
    return ratios
