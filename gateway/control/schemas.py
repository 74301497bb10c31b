"""What the admin API accepts and answers, as it stands in its OpenAPI document.

Bodies are strict: a key that is not known is refused rather than ignored, and so is a number in quotes.
Answers are the dataclasses of `control.status` and `core`, wrapped where the interface says so.
"""

from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.compat.catalog import Effort
from gateway.control.preview import Question
from gateway.control.service import Proof
from gateway.core.spec import Lists
from gateway.core.types import parse_json, to_json

T = TypeVar("T")

REASON_LENGTH = 1000
Reason = Annotated[str, Field(max_length=REASON_LENGTH, description="Why; kept in the audit log.")]
Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=512)]], Field(max_length=10_000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ActionBody(_Body):
    """Arguments of a verb; all may be left out."""

    reason: Reason = ""
    mode: Literal["evict", "drain"] | None = Field(
        default=None, description="For rollback: how running conversations leave. Left out: as configured."
    )
    force: bool = Field(
        default=False,
        description="For start and restart: past an open checklist. For advance: past a gate that wants a "
        "rollback, or past the approval of a second person. Needs a reason.",
    )
    keep_assignment: bool = Field(
        default=False, description="For restart: everybody keeps the arm of the run before (a false alarm)."
    )
    exclude_previous: bool = Field(
        default=False,
        description="For restart: whoever the run before gave to the candidate stays on control.",
    )


PROOF_BYTES = 64 * 1024


class TickBody(_Body):
    """An item of the checklist that somebody answers for."""

    item: Annotated[str, Field(min_length=1, max_length=200, description="Its id.")]
    note: Reason = ""


class ProofBody(_Body):
    """What somebody showed of a migration, for its checklist."""

    kind: Literal["rehearsal", "evals", "baseline"]
    passed: bool
    summary: Annotated[str, Field(min_length=1, max_length=REASON_LENGTH, description="One sentence.")]
    details: dict[str, Any] = Field(
        default_factory=dict, description="Numbers behind it, at most 64 KiB; never prompts or answers."
    )

    @field_validator("details")
    @classmethod
    def _is_small(cls, details: dict[str, Any]) -> dict[str, Any]:
        if len(to_json(details)) > PROOF_BYTES:
            raise ValueError(f"may have at most {PROOF_BYTES} bytes as JSON")
        return details

    def proof(self) -> Proof:
        """Return what is to be noted."""
        return Proof(self.kind, self.passed, self.summary, self.details)


class WeightBody(_Body):
    """The candidate's share, set by hand; automation pauses."""

    percent: float = Field(ge=0, le=100, allow_inf_nan=False)
    reason: Reason = ""


class ListsBody(_Body):
    """The lists; a list that is left out stays as it is."""

    allow_users: Names | None = None
    allow_tasks: Names | None = None
    deny_users: Names | None = None
    reason: Reason = ""

    def apply_to(self, present: Lists) -> Lists:
        """Return the lists as this body leaves them."""
        return Lists(
            allow_users=present.allow_users if self.allow_users is None else tuple(self.allow_users),
            allow_tasks=present.allow_tasks if self.allow_tasks is None else tuple(self.allow_tasks),
            deny_users=present.deny_users if self.deny_users is None else tuple(self.deny_users),
        )


class EffortMap(_Body):
    """The effort in force on the old model → the one to ask of the new."""

    map: dict[Effort, Effort]


class PolicyBody(_Body):
    """Words of `compat:`; what is left out stays as it is."""

    prefill: Literal["emulate", "control", "reject"] | None = None
    forced_tool: Literal["emulate", "control", "reject"] | None = None
    unservable: Literal["control", "reject"] | None = None
    effort: Literal["preserve", "target_default"] | EffortMap | None = None
    thinking: Literal["preserve", "adopt"] | None = None
    unasked_thinking: Literal["hide", "show"] | None = None
    model_field: Literal["served", "requested"] | None = None
    progress_notes: Literal["pass", "text"] | None = None
    stop_reasons: Literal["pass", "classic"] | None = None
    max_tokens_headroom: Annotated[int, Field(ge=0, le=1_000_000)] | None = None

    def words(self) -> dict[str, Any]:
        """Return what is said, as `core.spec.CompatPolicy` spells it."""
        said: dict[str, Any] = self.model_dump(exclude_none=True)
        if isinstance(self.effort, EffortMap):
            return {**said, "effort": "map", "effort_map": dict(self.effort.map)}
        return said


class PreviewBody(_Body):
    """A request and the way that it is to go; models and policy may come from a migration."""

    body: dict[str, Any] = Field(description="The body of a Messages request.")
    source: str = Field("", alias="from", description="The model that it was written for.")
    target: str = Field("", alias="to", description="The model that is to serve it.")
    betas: Annotated[list[str], Field(max_length=100)] = Field(
        default_factory=list, description="Values of anthropic-beta."
    )
    version: str = Field("2023-06-01", description="The anthropic-version.")
    task: str = Field("", description="As in x-gateway-task.")
    migration: str = Field("", description="Whose models and policy hold where none are named here.")
    policy: PolicyBody | None = None

    def question(self) -> Question:
        """Return what is asked."""
        return Question(
            body=self.body,
            source=self.source,
            target=self.target,
            betas=tuple(self.betas),
            version=self.version,
            task=self.task,
            policy=self.policy.words() if self.policy else None,
        )


def reason_in(body: bytes) -> str:
    """Return the reason that is given in a body of any kind, JSON or a form, shortened if need be."""
    try:
        document = parse_json(body)
    except ValueError:
        document = dict(parse_qsl(body.decode("utf-8", "replace")))
    reason = document.get("reason") if isinstance(document, dict) else None
    if not isinstance(reason, str):
        return ""
    return reason if len(reason) <= REASON_LENGTH else reason[: REASON_LENGTH - 1] + "…"


class Listing(BaseModel, Generic[T]):
    """Several of something."""

    data: list[T]


class ErrorDetail(BaseModel):
    """What went wrong."""

    type: str
    message: str


class ErrorBody(BaseModel):
    """Every error of the admin API, in the envelope of the Messages API."""

    type: Literal["error"] = "error"
    error: ErrorDetail
    current: dict[str, Any] | None = Field(None, description="With 409: the migration's status as it is now.")
