"""The shapes of `gates:`; what is left out keeps its default, and null switches one off."""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from gateway.config.shapes import Count, Document, Duration, Ratio
from gateway.core.spec import BreakerRule, Gates


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
    incomplete: RatioDocument | None = None
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
    fresh_s: Annotated[Duration, Field(alias="fresh", ge=3)] = Gates().fresh_s
    no_traffic_s: Annotated[Duration, Field(alias="no_traffic", ge=60)] = Gates().no_traffic_s


def to_gates(document: GatesDocument) -> Gates:
    """Return the gates that a document describes."""
    default = Gates()
    return Gates(
        breaker=_breakers(document.breaker, default.breaker),
        rollback=_ratios(document.rollback, default.rollback),
        hold=_ratios(document.hold, default.hold),
        alpha=document.rollback.alpha,
        fresh_s=document.fresh_s,
        no_traffic_s=document.no_traffic_s,
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
