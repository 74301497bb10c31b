"""The shapes of the YAML documents: what a key may hold, and the sentence for what it may not.

A document is validated whole. Every problem becomes one line, `file: path.to[0].key: what is wrong`, and all
lines travel in one ConfigError. Unknown keys are problems too, with the name that was probably meant. Where a
document looks like the frozen dataclass that it becomes (the catalogue, lists, policies), that dataclass is
the shape; the others are written out here and turned into theirs by `to_spec`.

Nothing is accepted that would silently do nothing: an option whose behaviour does not exist yet is a problem.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.compat.catalog import Model
from gateway.core.address import upstream_address
from gateway.core.spec import (
    UNIT_LADDER,
    BreakerRule,
    CompatPolicy,
    Gates,
    Holdback,
    Lists,
    MigrationSpec,
    OnRollback,
    Shadow,
    Stage,
    UnitKind,
)
from gateway.errors import ConfigError

SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")


def parse_duration(text: object) -> float:
    """Return the seconds of `3d`, `48h`, `2h30m`, `5s`; a bare number has no unit, so only 0 passes."""
    if text == 0 and not isinstance(text, bool):
        return 0.0
    if not isinstance(text, str) or not _DURATION.fullmatch(text.strip()):
        raise ValueError("a duration is a number with its unit, such as 3d, 48h, 5m or 30s")
    return sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(text))


def _only_what_exists(compat: object) -> object:
    if isinstance(compat, Mapping):
        if compat.get("model_field") == "requested":
            raise ValueError(
                "model_field: 'requested' is not supported yet; answers name the model that served them"
            )
        if isinstance(compat.get("effort"), Mapping):
            raise ValueError("effort: a map of levels is not supported yet; use preserve or target_default")
    return compat


def _not_empty(entries: object) -> object:
    if isinstance(entries, list | tuple) and not entries:
        raise ValueError("needs at least one entry")
    return entries


Duration = Annotated[float, BeforeValidator(parse_duration)]
Percent = Annotated[float, Field(ge=0, le=100)]
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=63)]
Ratio = Annotated[float, Field(gt=0)]
SOME = BeforeValidator(_not_empty)
"""Of a tuple; judged before its entries are, so that a bad entry is not reported as a missing one too."""


class Document(BaseModel):
    """What every shape has in common; the dataclasses inside inherit it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class CatalogueDocument(Document):
    """config/models.yaml."""

    models: Annotated[tuple[Model, ...], SOME]


class UpstreamDocument(Document):
    """Where requests go, and how long they may take to get there."""

    url: Annotated[str, AfterValidator(upstream_address)] = "https://api.anthropic.com"
    connect_timeout: Annotated[Duration, Field(gt=0)] = 5.0
    first_byte_timeout: Annotated[Duration, Field(gt=0)] = 600.0


class LimitsDocument(Document):
    """What one request may cost the gateway."""

    body_mib: Annotated[float, Field(gt=0)] = 32


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
    compat: Annotated[CompatPolicy, BeforeValidator(_only_what_exists)] = CompatPolicy()
    gates: GatesDocument = GatesDocument()
    on_rollback: OnRollback = OnRollback()
    holdback: HoldbackDocument = HoldbackDocument()
    shadow: Shadow = Shadow()


D = TypeVar("D", bound=Document)


def validated(shape: type[D], content: object, path: Path) -> D:
    """Return `content` as `shape`, or raise ConfigError with one line per problem."""
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        schema = shape.model_json_schema()
        lines = [f"{path}: {_sentence(problem, schema)}" for problem in error.errors(include_url=False)]
        raise ConfigError("\n".join(lines)) from None


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
        compat=document.compat,
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


# --- sentences ---------------------------------------------------------------------------------------------


def _sentence(problem: Mapping[str, Any], schema: dict[str, Any]) -> str:
    place: tuple[str | int, ...] = problem["loc"]
    match problem["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            reason = _unknown_key(str(place[-1]), _known_keys(place[:-1], schema))
        case "missing" | "missing_argument":
            reason = "is required"
        case "model_type" | "dataclass_type" | "dict_type":
            reason = "should be keys with values, not a list or a single value"
        case "tuple_type" | "list_type":
            reason = "should be a list"
        case _:
            reason = problem["msg"].removeprefix("Value error, ")
    return f"{_dotted(place)}: {reason}" if place else reason


def _dotted(place: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _unknown_key(key: str, known: list[str]) -> str:
    close = get_close_matches(key, known, n=1)
    return (
        f"unknown key; did you mean {close[0]!r}?"
        if close
        else f"unknown key; known here: {', '.join(known)}"
    )


def _known_keys(place: tuple[str | int, ...], schema: dict[str, Any]) -> list[str]:
    """Return the keys that may stand at `place`, by walking the shape's JSON schema."""
    node = schema
    for part in (*place, None):
        node = next((option for option in node.get("anyOf", ()) if option.get("type") != "null"), node)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        if part is not None:
            node = node["items"] if isinstance(part, int) else node["properties"][part]
    return list(node.get("properties", ()))
