"""What no request says: the account's terms, the platform, and the questions on which the sources disagree.

Each switch has the answer that a rehearsal gets by default. Tests and `gateway simulate --switch NAME=VALUE`
settle them for all requests, the header `x-simulator-switches: name=value, name=value` for the one that
carries it. Values are `true` and `false`, the words of the switch, or `none`.
"""

from dataclasses import dataclass, fields, replace
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

from gateway.errors import ConfigError

Habit = Literal["repeat", "spaced", "fenced", "continue"]
"""What a model does with the characters that it is told to begin with."""
Platform = Literal["first_party", "aws", "google", "vertex", "bedrock", "foundry"]
"""Whose front door it is: the vendor's own, or `aws`, `google` (both run by the vendor), `vertex`, `bedrock`
and `foundry` (run by others).
"""
Obedience = Literal["always", "never", "second"]


@dataclass(frozen=True, slots=True)
class Switches:
    """One answer to each question."""

    # --- the account and its platform

    platform: Platform = "first_party"
    recent_account: bool = False
    """On: the account is newer than 2026-08-31, and the models that check a conversation's history do so."""
    data_retention: bool = True
    """Off: Fable and Mythos refuse the organisation."""
    verified_organisation: bool = True
    """Off: models for verified organisations do not exist."""
    own_encryption_keys: bool = False
    """On: Fable and Mythos take no structured outputs."""
    priority_tier: bool = False
    """On: the organisation has priority capacity, so `service_tier: auto` asks for it."""
    linked_organisations: bool = False
    """On: every API key belongs to one group of organisations, which read each other's thinking."""

    # --- where the sources disagree

    known_betas_only: bool = True
    """Off: any `anthropic-beta` value passes."""
    known_tools_only: bool = True
    """Off: a tool of an unknown type passes."""
    strict_roles: bool = False
    """On: two turns of one role in a row are a 400; off: they are merged."""
    default_sampling_passes: bool = False
    """On: Opus from 4.7, Fable and Mythos take sampling parameters at their default values."""
    sonnet_5_system_turns: bool = False
    """On: Sonnet 5 takes system messages in the conversation."""
    forced_while_adaptive: bool = False
    """On: Opus 4.7 and 4.8 can be forced to call a tool while they think."""
    old_disabled_wording: bool = False
    """On: Fable and Mythos up to 5.1 advise manual thinking to those who switch thinking off."""
    preview_retired: bool = False
    """On: Mythos Preview is gone."""
    preview_caches_small: bool = False
    """On: Mythos Preview caches prefixes from 512 tokens."""
    foundry_binds_blocks: bool = False
    """On: `thinking.block_binding` is known on Foundry too."""
    fable_5_1_reads_opus_5_5: bool = False
    """On: it does so on other platforms than the vendor's, too."""
    older_read_own_only: bool = False
    """On: Opus 5, Sonnet 5, Fable 5, Mythos 5 and all before them read thinking of their own only."""
    open_round_needs_thinking: bool = False
    """On: a tool round that thought is not continued without its thinking blocks."""
    drop_reaches: Literal["turn", "rest"] = "turn"
    """What `drop_block` takes along: the rest of the turn's thinking, or all later thinking."""
    end_user: Literal["profile", "metadata"] = "profile"
    """Which field names the end user: the header `anthropic-user-profile-id`, or `metadata.user_id`."""
    batches_tell_transformations: bool = True
    """Off: messages in batch results have no `input_transformations`."""
    older_browser_toolset: bool = False
    """On: Opus 5 and Sonnet 5.5 take the browser toolset."""
    threads_take_fallbacks: bool = True
    """Off: a request with `fallbacks` cannot be a thread."""
    settings_split_cache: Literal["messages", "all"] = "messages"
    """Whether another effort or thinking misses the cached messages only, or tools and system as well."""

    # --- what answers are like

    list_all: bool = False
    """On: an error message names every rule that is broken, one per line, instead of the first."""
    names_the_edit: bool = True
    """Off: the error of an edited history does not say where the edit begins."""
    null_details: bool = False
    """On: errors without details say `"details": null`."""
    prefill_reply: Habit | None = None
    """How a model answers when told which characters to begin with; None: each model has its habit."""
    obeys_tool_line: Obedience = "always"
    """Told in words that it must call a tool, a model does so; or never; or only every second time that it
    is told so in the same conversation.
    """
    speaks_before_calls: bool = False
    """On: a sentence comes before a call that was not forced."""

    def on(self, *platforms: Platform) -> bool:
        """Whether the platform is one of these."""
        return self.platform in platforms


def read_switches(spec: str, base: Switches) -> Switches:
    """`base` with what `spec` (`name=value, name=value`) says; raises ConfigError naming what is wrong."""
    return replace(base, **dict(_read_one(part.strip()) for part in spec.split(",") if part.strip()))


def _read_one(part: str) -> tuple[str, Any]:
    name, _, value = (piece.strip() for piece in part.partition("="))
    if name not in (field.name for field in fields(Switches)):
        known = ", ".join(field.name for field in fields(Switches))
        raise ConfigError(f"switch {part!r}: {name!r} is unknown; one of {known}")
    options = _options(get_type_hints(Switches)[name])
    if value not in options:
        raise ConfigError(f"switch {part!r}: {value!r} is not one of {', '.join(options)}")
    return name, options[value]


def _options(kind: Any) -> dict[str, Any]:
    """The values of a switch by how they are written."""
    if kind is bool:
        return {"true": True, "false": False}
    if kind is NoneType:
        return {"none": None}
    options: dict[str, Any] = {}
    for part in get_args(kind):
        options |= {part: part} if isinstance(part, str) else _options(part)
    return options
