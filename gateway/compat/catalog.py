"""What each model is and accepts, as frozen rows, and the exact look-up from an id to its row.

The rows come from `config/models.yaml` (facts with their source tag; nothing here is guessed from an id). Ids
are compared whole: newer ids extend older ones, so a prefix never decides. Prices are USD per million tokens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

ThinkingType = Literal["enabled", "adaptive", "disabled", "between_tools"]
Effort = Literal["low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")

Feature = Literal[
    "structured_outputs",  # output_config.format, and tools with strict: true
    "output_format",  # the older spelling of it, at the top level
    "task_budgets",  # output_config.task_budget
    "compaction",  # context_management edits of type compact_20260112
    "compaction_on_demand",  # the top-level `compaction`
    "programmatic_tools",  # tools that code may call (allowed_callers)
    "inference_geo",
    "priority_tier",  # service_tier: auto, where the organisation has priority capacity
    "per_message_effort",  # output_config on a turn of role system
    "tool_changes",  # tool_addition and tool_removal in a turn of role system
    "fallbacks",  # a list of models that answer in its place when it declines
    "fallbacks_default",  # fallbacks: "default"
    "batch_300k",  # answers of 300K tokens in batches
    "dynamic_search",  # web search and fetch whose results are filtered by code
    "unthinking_calls",  # a call that was forced comes without thinking
]
"""What a model takes, where it is a plain yes or no. Most of them are asked for under a beta."""


@dataclass(frozen=True, slots=True)
class Prices:
    """One rate card, USD per million tokens."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float
    batch_input: float
    batch_output: float
    fast_input: float | None = None
    fast_output: float | None = None


@dataclass(frozen=True, slots=True)
class PriceTier:
    """The rate card for prompts longer than `above_prompt_tokens`, for the whole request."""

    above_prompt_tokens: int
    prices: Prices


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Where the vendor has the model, and since or until when."""

    status: Literal["active", "deprecated", "retired"]
    retires_on: date | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Thinking:
    """Which `thinking` values pass, and what leaving it out means."""

    types: frozenset[ThinkingType]
    omitted: Literal["off", "adaptive"]
    display_default: Literal["summarized", "omitted"]
    off_max_effort: Effort | None = None
    """Highest effort at which thinking may be off (`disabled`, `between_tools`); None: any."""
    updates: bool = False
    """Whether `display` may be `updates` (with adaptive thinking, under its beta)."""


@dataclass(frozen=True, slots=True)
class EffortRule:
    """Levels of `output_config.effort`; no levels means that the parameter is rejected."""

    levels: tuple[Effort, ...] = ()
    default: Effort | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """What `temperature`, `top_p` and `top_k` may be (API version 2023-06-01)."""

    accepts: Literal["any", "defaults", "none"]
    """`any` (the usual ranges), `defaults` (only the value in `defaults` passes), `none` (presence is
    rejected).
    """
    defaults: Mapping[str, float] = field(default_factory=dict)
    """The only accepted value by parameter; a parameter that is missing here is rejected whatever its value.
    """
    both: bool = True
    """Whether temperature and top_p may come together."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the team decides about a model; the vendor knows nothing of it."""

    tier: Literal["production", "canary", "fallback", "experimental"]
    pinned_on: date | None = None
    tested_on: date | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the catalogue."""

    id: str
    """The id to send; a dated id where there is one."""
    aliases: tuple[str, ...]
    """Other ids that mean this row, compared whole."""
    display_name: str
    line: Literal["haiku", "sonnet", "opus", "fable", "mythos", "claude"]
    context_tokens: int
    max_output_tokens: int
    lifecycle: Lifecycle
    tokenizer: Literal["old", "new", "newer"]
    min_cacheable_tokens: int
    thinking: Thinking
    effort: EffortRule
    prefill: bool
    sampling: Sampling
    forced_tool: Literal["always", "thinking_off", "never"]
    mid_conversation_system: bool
    fast_mode: Literal["no", "ignored", "beta", "yes"]
    """`ignored`: `speed: fast` passes and means nothing; `beta`: it needs its beta."""
    decision: Decision
    source: str
    """Where the facts stand: tag and section of the reference."""
    prices: Prices | None = None
    long_prices: PriceTier | None = None
    verified_orgs_only: bool = False
    features: frozenset[Feature] = frozenset()
    rejects_tools: frozenset[str] = frozenset()
    """Exact tool types that are rejected; any other one passes."""
    advisors: tuple[str, ...] = ()
    """Models that may advise it, first the one that takes the place of one that may not; none: no advisor."""
    fallbacks: tuple[str, ...] = ()
    """Models that a list of `fallbacks` may name."""
    checks_prefix: Literal["never", "recent_accounts", "always"] = "never"
    """Whether its thinking is held to the conversation before it; `recent_accounts`: for accounts made since
    2026-08-31, and for requests that ask for it.
    """
    binds_account: bool = False
    """Whether its thinking is held to the account that it was made for."""
    reads: frozenset[str] = frozenset()
    """Ids of the models whose thinking it reads, besides its own."""


def loses(source: Model, target: Model, feature: Feature) -> bool:
    """Tell whether `source` has a feature that `target` has not."""
    return feature in source.features and feature not in target.features


class Catalogue:
    """The rows by id. Immutable; build a new one to change anything."""

    def __init__(self, models: Iterable[Model]) -> None:
        """Index the rows by id and alias; raises ValueError naming an id that two rows claim."""
        self.models: tuple[Model, ...] = tuple(models)
        self._by_id: dict[str, Model] = {}
        for model in self.models:
            for name in (model.id, *model.aliases):
                if name in self._by_id:
                    raise ValueError(
                        f"model id {name!r} stands in two rows: {self._by_id[name].id} and {model.id}"
                    )
                self._by_id[name] = model

    def find(self, model_id: str) -> Model | None:
        """Return the row whose id or alias is exactly `model_id`."""
        return self._by_id.get(model_id)
