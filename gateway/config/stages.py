"""The shapes of `stages:`, and the plans that stand for a list of them.

A plan is a word in the place of the list and nothing more: what it means is written here in the keys of a
document, is copied into the run as if it had been written out, and `gateway check` prints it.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from gateway.config.shapes import SOME, UNION, Count, Document, Duration, Name, Percent, format_duration
from gateway.core.spec import Stage

PLANS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "gradual": (
        {"name": "internal", "percent": 0, "hold": "3d"},
        {"name": "canary", "percent": 5, "hold": "2d", "min_units": 200},
        {"name": "early", "percent": 25, "hold": "3d", "min_units": 1000},
        {"name": "half", "percent": 50, "hold": "5d", "min_units": 2000},
        {"name": "full", "percent": 100},
    ),
    "fast": (
        {"name": "canary", "percent": 1, "hold": "2h", "min_units": 50, "max_regression": 0.05},
        {"name": "early", "percent": 5, "hold": "6h", "min_units": 200, "max_regression": 0.03},
        {"name": "wide", "percent": 20, "hold": "24h", "min_units": 1000, "max_regression": 0.02},
        {"name": "half", "percent": 50, "hold": "48h", "min_units": 2000, "max_regression": 0.02},
        {"name": "full", "percent": 100},
    ),
    "internal": (
        {"name": "internal", "percent": 0, "hold": "3d"},
        {"name": "canary", "percent": 5, "hold": "2d", "min_units": 200},
        {"name": "half", "percent": 50, "hold": "5d", "min_units": 2000},
        {"name": "full", "percent": 100},
    ),
}
"""Word → what it stands for. Units are as many as let a comparison see a share of failures half as high
again, where a few in a hundred fail; `gateway migration plan` says it for the traffic there is."""


Span = Annotated[Duration, Field(gt=0)]


class ApprovalDocument(Document):
    """Who must agree before the next stage, and until when."""

    approval_deadline_s: Annotated[Span | None, Field(alias="deadline")] = None
    on_deadline: Literal["hold", "rollback"] = "hold"
    approval_by_another: Annotated[bool, Field(alias="by_another")] = False

    @model_validator(mode="after")
    def _means_something(self) -> "ApprovalDocument":
        if "on_deadline" in self.model_fields_set and self.approval_deadline_s is None:
            raise ValueError("on_deadline does nothing without a deadline")
        return self


def _spelling(approval: object) -> str:
    return f"{UNION}terms" if isinstance(approval, Mapping | ApprovalDocument) else f"{UNION}word"


Approval = Annotated[
    Annotated[bool, Tag(f"{UNION}word")] | Annotated[ApprovalDocument, Tag(f"{UNION}terms")],
    Discriminator(_spelling),
]


class StageDocument(Document):
    """One step of the ramp."""

    name: Name
    percent: Percent
    hold_s: Annotated[Duration, Field(alias="hold")] = 0.0
    min_units: Count = 0
    max_regression: Annotated[float, Field(ge=0, le=1)] | None = None
    approval: Approval = False
    max_duration_s: Annotated[Span | None, Field(alias="max_duration")] = None
    on_max_duration: Literal["hold", "rollback", "advance"] = "hold"
    require: Literal["no_harm", "non_inferior"] = "no_harm"

    @model_validator(mode="after")
    def _can_be_left(self) -> "StageDocument":
        if self.max_duration_s is None:
            if "on_max_duration" in self.model_fields_set:
                raise ValueError("on_max_duration does nothing without max_duration")
        elif self.max_duration_s <= self.hold_s:
            raise ValueError("max_duration must be longer than hold, or the stage is given up before its end")
        return self


def _written_out(stages: object) -> object:
    if not isinstance(stages, str):
        return stages
    if stages not in PLANS:
        close = get_close_matches(stages, PLANS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(PLANS)}"
        raise ValueError(f"there is no plan {stages!r}; {hint}")
    return PLANS[stages]


Stages = Annotated[tuple[StageDocument, ...], SOME, BeforeValidator(_written_out)]
"""A list of stages, or the word for one."""


def to_stage(document: StageDocument) -> Stage:
    """Return the stage that a document describes."""
    fields = document.model_dump(exclude={"approval"})
    terms = document.approval
    if isinstance(terms, ApprovalDocument):
        return Stage(**fields, approval=True, **terms.model_dump())
    return Stage(**fields, approval=terms)


def plan_of(stages: Sequence[Stage]) -> str | None:
    """Return the word that stands for exactly these stages, if there is one."""
    for name, rows in PLANS.items():
        if tuple(to_stage(StageDocument(**row)) for row in rows) == tuple(stages):
            return name
    return None


def describe(stage: Stage) -> str:
    """Return in words what a stage is and what it takes to leave it."""
    terms = [f"hold {format_duration(stage.hold_s)}"] if stage.hold_s else []
    if stage.min_units:
        terms.append(f"{stage.min_units} units")
    if stage.max_regression is not None:
        terms.append(f"at most {stage.max_regression * 100:g} % of checks failed")
    if stage.require == "non_inferior":
        terms.append("shown to be no worse")
    if stage.approval:
        limit = stage.approval_deadline_s
        until = f" within {format_duration(limit)}, else {stage.on_deadline}" if limit else ""
        terms.append(f"approval{' by another person' if stage.approval_by_another else ''}{until}")
    if stage.max_duration_s is not None:
        terms.append(f"after {format_duration(stage.max_duration_s)} {stage.on_max_duration}")
    return f"{stage.name} {stage.percent:g} %{': ' if terms else ''}{', '.join(terms)}"
