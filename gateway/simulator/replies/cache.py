"""The prompt cache: which part of a prompt was read from it, which was written, and for how long.

A prompt is read in the order tools, system, messages, block by block. Every `cache_control` marks a
breakpoint, a top-level one the last block that can have one. The prefix up to a breakpoint is written unless
it is there, and read when it is; up to `LOOKBACK` places before a breakpoint an older entry is found too,
where a run of tool calls or of results is one place.

Entries belong to an account's workspace and a model. Settings split them by tier: speed, web search and
citations from the system prompt on, tool choice, images, thinking and effort from the messages on. A prefix
below the model's minimum is not cached. An entry lives five minutes or an hour from the start of the last
request that used it, and can be read once the answer of the one that wrote it has begun.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.compat.catalog import Model
from gateway.core.types import to_json
from gateway.simulator.replies.tokens import count_block, unmarked
from gateway.simulator.rules.bindings.prefix import as_blocks
from gateway.simulator.rules.bindings.stamps import is_thinking
from gateway.simulator.rules.case import Case, Json
from gateway.simulator.rules.lineup import MYTHOS_PREVIEW

LOOKBACK = 20
TTL_S: Mapping[str, float] = {"5m": 300.0, "1h": 3600.0}
MAX_ENTRIES = 20_000
RUNS = frozenset({"tool_use", "tool_result"})
"""Blocks of which any number in a row is one place for the lookback."""


@dataclass(frozen=True, slots=True)
class PromptUse:
    """The prompt's tokens by how they were billed."""

    plain: int
    read: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def total(self) -> int:
        return self.plain + self.read + self.written_5m + self.written_1h

    def as_json(self) -> Json:
        """The input side of a `usage` object."""
        return {
            "input_tokens": self.plain,
            "cache_creation_input_tokens": self.written_5m + self.written_1h,
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.written_5m,
                "ephemeral_1h_input_tokens": self.written_1h,
            },
        }


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose cache it is, and under which settings."""

    account: str = ""
    speed: str = "standard"
    thinking: str = "off"
    effort: str = ""
    tool_choice: str = ""
    splits_all: bool = False
    """Whether thinking and effort split tools and system as well."""
    least_tokens: int | None = None
    """The smallest prefix that is cached; None: the model's own."""


def scope_of(case: Case) -> Scope:
    """The scope of a request; leaving a setting out is the same as its default."""
    thinking: Json = case.body.get("thinking") or {}
    budget = thinking.get("budget_tokens", "")
    mode = f"{case.thinking_type or 'adaptive'} {budget}" if case.thinks else "off"
    small = case.switches.preview_caches_small and case.model.id == MYTHOS_PREVIEW
    return Scope(
        account=f"{case.account} {case.workspace}",
        speed=case.body.get("speed") or "standard",
        thinking="between_tools" if case.thinking_type == "between_tools" else mode,
        effort=case.effort or "",
        tool_choice=to_json(case.body.get("tool_choice")).decode(),
        splits_all=case.switches.settings_split_cache == "all",
        least_tokens=512 if small else None,
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """One block of a prompt."""

    block: Json
    tier: int
    """0 tools, 1 system, 2 messages."""
    role: str
    number: int
    """Where it stands for the lookback."""
    ttl: str | None
    """The lifetime that its breakpoint asks for, if it has one."""


@dataclass(slots=True)
class _Entry:
    """A prefix that is remembered."""

    expires_at: float
    ttl_s: float
    readable_at: float


Key = bytes


class PromptCache:
    """The prefixes that models remember."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()

    def use(
        self, body: Json, model: Model, now: float, *, scope: Scope = Scope(), readable_in_s: float = 0.0
    ) -> PromptUse:
        """Bill a prompt with a breakpoint in it: what is read, what is written, what is neither."""
        places = list(_places(body))
        prefixes = _prefixes(places, model, scope)
        least = model.min_cacheable_tokens if scope.least_tokens is None else scope.least_tokens
        marked = [n for n, place in enumerate(places) if place.ttl and prefixes[n][1] >= least]
        total = prefixes[-1][1]
        if not marked:
            return PromptUse(total)
        numbers = [place.number for place in places]
        found = (self._found(prefixes, numbers, index, now) for index in marked)
        hit = max((index for index in found if index is not None), default=-1)
        read = covered = prefixes[hit][1] if hit >= 0 else 0
        if hit >= 0:
            self._refresh(prefixes[hit][0], now)
        written = dict.fromkeys(TTL_S, 0)
        for index in marked:
            ttl = places[index].ttl or "5m"
            written[ttl] += max(0, prefixes[index][1] - covered)
            covered = max(covered, prefixes[index][1])
            self._remember(prefixes[index][0], now, TTL_S[ttl], now + readable_in_s)
        return PromptUse(total - covered, read, written["5m"], written["1h"])

    def _found(
        self, prefixes: list[tuple[Key, int]], numbers: list[int], index: int, now: float
    ) -> int | None:
        """The longest prefix that is remembered, at or shortly before a breakpoint."""
        for candidate in range(index, -1, -1):
            if numbers[index] - numbers[candidate] > LOOKBACK:
                return None
            entry = self._entries.get(prefixes[candidate][0])
            if entry is not None and entry.readable_at <= now < entry.expires_at:
                return candidate
        return None

    def _refresh(self, key: Key, now: float) -> None:
        entry = self._entries[key]
        entry.expires_at = max(entry.expires_at, now + entry.ttl_s)
        self._entries.move_to_end(key)

    def _remember(self, key: Key, now: float, ttl_s: float, readable_at: float) -> None:
        entry = self._entries.get(key)
        if entry is None or entry.expires_at <= now:
            self._entries[key] = _Entry(now + ttl_s, ttl_s, readable_at)
        else:
            entry.ttl_s = max(entry.ttl_s, ttl_s)
            entry.expires_at = max(entry.expires_at, now + ttl_s)
        self._entries.move_to_end(key)
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)


def has_breakpoint(body: Json) -> bool:
    """Whether a request asks for anything to be cached."""
    contents = [body.get("tools"), body.get("system"), *(message["content"] for message in body["messages"])]
    blocks = (block for content in contents if isinstance(content, list) for block in content)
    return bool(body.get("cache_control")) or any(_mark_of(block) for block in blocks)


def _places(body: Json) -> Iterator[_Place]:
    """Every block of the prompt in reading order."""
    contents = [(0, "", body.get("tools")), (1, "", body.get("system"))]
    contents += [(2, message["role"], message["content"]) for message in body["messages"]]
    blocks = [(tier, role, block) for tier, role, content in contents for block in as_blocks(content)]
    markable = [index for index, (_, _, block) in enumerate(blocks) if not is_thinking(block)]
    automatic = markable[-1] if markable and body.get("cache_control") else -1
    number, before = 0, ""
    for index, (tier, role, block) in enumerate(blocks):
        kind = str(block.get("type"))
        number += not (kind == before and kind in RUNS)
        before = kind
        mark = _mark_of(block) or (body["cache_control"] if index == automatic else None)
        yield _Place(block, tier, role, number, mark.get("ttl", "5m") if mark else None)


def _mark_of(block: Json) -> Json | None:
    """The breakpoint of a block, or one inside the content of a result."""
    mark, inner = block.get("cache_control"), block.get("content")
    if not mark and isinstance(inner, list):
        mark = next((part["cache_control"] for part in as_blocks(inner) if part.get("cache_control")), None)
    return mark if isinstance(mark, dict) else None


def _prefixes(places: list[_Place], model: Model, scope: Scope) -> list[tuple[Key, int]]:
    """Key and tokens of the prefix that ends with each block."""
    settings = [scope.thinking, scope.effort]
    digest = hashlib.sha256(to_json([scope.account, model.id, settings if scope.splits_all else []]))
    tools, sources = ([place.block for place in places if place.tier == tier] for tier in (0, 2))
    seeds: list[Any] = [
        None,
        [scope.speed, [tool for tool in tools if _searches(tool)], any(map(_is_cited, sources))],
        [any(block.get("type") == "image" for block in sources), scope.tool_choice, settings],
    ]
    prefixes, tokens, tier, role = [], 0, 0, ""
    for place in places:
        while tier < place.tier:
            tier += 1
            digest.update(to_json(seeds[tier]))
        if place.role != role:
            role = place.role
            digest.update(role.encode())
        if not (place.tier == 0 and _searches(place.block)):
            digest.update(to_json(unmarked(place.block)))
        tokens += count_block(place.block, model)
        prefixes.append((digest.digest(), tokens))
    return prefixes


def _searches(tool: Json) -> bool:
    return str(tool.get("type")).startswith("web_search_")


def _is_cited(block: Json) -> bool:
    citations = block.get("citations")
    return isinstance(citations, dict) and bool(citations.get("enabled"))
