"""The prompt cache: by account, model and settings, by tier, with minimum, lifetime and lookback."""

from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.simulator.replies.cache import LOOKBACK, PromptCache, PromptUse, Scope, scope_of
from gateway.simulator.replies.tokens import count_prompt
from gateway.simulator.rules.bindings.shown import shown_body
from gateway.simulator.rules.switches import Switches
from tests.support.judged import case_of, catalogue
from tests.support.thoughts import thinking_conversation

NOW = 1_800_000_000.0
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def model(name: str) -> Model:
    found = catalogue().find(name)
    assert found is not None
    return found


OLD, NEW = model("claude-opus-4-5"), model("claude-opus-5-5")


def body(
    *turns: str, mark: dict[str, Any] | None = None, size: int = 20_000, system_mark: Any = MARK
) -> dict[str, Any]:
    """A long marked system prompt and a few turns, the last of them marked as well if asked for."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": turn}]} for turn in turns
    ]
    if mark:
        messages[-1]["content"][0]["cache_control"] = mark
    system = [{"type": "text", "text": "s" * size, "cache_control": system_mark}]
    return {"system": system, "messages": messages}


def test_a_prefix_is_written_first_and_read_then() -> None:
    cache = PromptCache()
    first = cache.use(body("one"), OLD, NOW)
    assert (first.written_5m, first.read, first.written_1h) == (5004, 0, 0)
    second = cache.use(body("two"), OLD, NOW + 10)
    assert (second.written_5m, second.read) == (0, 5004)
    assert first.total == second.total == count_prompt(body("one"), OLD)
    assert first.plain == second.plain == 5


def test_a_conversation_that_grows_reads_what_it_wrote() -> None:
    cache = PromptCache()
    cache.use(body("one", mark=MARK), OLD, NOW)
    grown = cache.use(body("one", "two", "three", mark=MARK), OLD, NOW)
    assert grown.read == 5009
    assert (grown.written_5m, grown.plain) == (11, 0)


def test_each_model_has_its_own_cache() -> None:
    cache = PromptCache()
    cache.use(body("one"), OLD, NOW)
    assert cache.use(body("one"), NEW, NOW).read == 0


def test_an_edit_before_the_mark_misses() -> None:
    cache = PromptCache()
    cache.use(body("one"), OLD, NOW)
    assert cache.use(body("one", size=20_001), OLD, NOW).read == 0


def test_entries_live_from_their_last_use() -> None:
    cache = PromptCache()
    cache.use(body("one"), OLD, NOW)
    assert cache.use(body("one"), OLD, NOW + 299).read > 0
    assert cache.use(body("one"), OLD, NOW + 299 + 299).read > 0
    assert cache.use(body("one"), OLD, NOW + 299 + 299 + 301).read == 0


def test_an_hour_is_billed_and_kept_apart() -> None:
    cache = PromptCache()
    use = cache.use(body("one" * 400, system_mark=HOUR, mark=MARK), OLD, NOW)
    assert (use.written_1h, use.written_5m) == (5004, 304)
    later = cache.use(body("one" * 400, system_mark=HOUR, mark=MARK), OLD, NOW + 3000)
    assert (later.read, later.written_5m, later.written_1h) == (5004, 304, 0)


def test_a_short_prefix_is_not_cached() -> None:
    cache = PromptCache()
    short = body("one", size=4 * (OLD.min_cacheable_tokens - 10))
    assert cache.use(short, OLD, NOW) == PromptUse(count_prompt(short, OLD))
    assert cache.use(short, NEW, NOW).written_5m > 0


def test_a_mark_at_the_top_means_the_last_block() -> None:
    cache = PromptCache()
    whole = {"cache_control": MARK, "messages": [{"role": "user", "content": "x" * 40_000}]}
    assert cache.use(whole, OLD, NOW).plain == 0
    assert cache.use(whole, OLD, NOW).read == 10_004


def test_the_usage_names_every_part() -> None:
    assert PromptUse(1, 2, 3, 4).as_json() == {
        "input_tokens": 1,
        "cache_creation_input_tokens": 7,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    }


# --- whose cache ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        Scope(account="b"),
        Scope(account="a", speed="fast"),
        Scope(account="a", thinking="adaptive"),
        Scope(account="a", effort="low"),
        Scope(account="a", tool_choice='{"type":"none"}'),
    ],
)
def test_accounts_and_settings_split_the_messages(other: Scope) -> None:
    cache, asked = PromptCache(), body("one" * 2000, mark=MARK)
    own = Scope(account="a")
    whole = cache.use(asked, OLD, NOW, scope=own).written_5m
    assert cache.use(asked, OLD, NOW, scope=own).read == whole
    again = cache.use(asked, OLD, NOW, scope=other)
    assert again.read < whole
    assert again.total == count_prompt(asked, OLD)


@pytest.mark.parametrize(
    ("other", "tools", "system"),
    [
        (Scope(), True, True),
        (Scope(thinking="adaptive"), True, True),
        (Scope(effort="low"), True, True),
        (Scope(tool_choice="x"), True, True),
        (Scope(speed="fast"), True, False),
        (Scope(account="b"), False, False),
        (Scope(effort="low", splits_all=True), False, False),
    ],
)
def test_a_setting_splits_its_tier_and_those_below(other: Scope, tools: bool, system: bool) -> None:
    cache = PromptCache()
    tool = {"name": "t", "input_schema": {"x": "y" * 20_000}, "cache_control": MARK}
    asked = {"tools": [tool], **body("one")}
    cache.use(asked, OLD, NOW)
    first = count_prompt({"tools": [tool], "messages": []}, OLD)
    second = count_prompt({**asked, "messages": []}, OLD)
    assert cache.use(asked, OLD, NOW, scope=other).read == (second if system else first if tools else 0)


def test_searching_the_web_and_citing_leave_the_tools_alone() -> None:
    tool = {"name": "t", "input_schema": {"x": "y" * 20_000}, "cache_control": MARK}
    search = {"type": "web_search_20250305", "name": "web_search"}
    asked = {"tools": [tool], **body("one")}
    read = count_prompt({"tools": [tool], "messages": []}, OLD)
    cited = {"type": "document", "source": {}, "citations": {"enabled": True}}
    pages = [{"role": "user", "content": [cited]}]
    for other in ({**asked, "tools": [search, tool]}, {**asked, "messages": pages}):
        cache = PromptCache()
        cache.use(asked, OLD, NOW)
        assert 0 <= cache.use(other, OLD, NOW).read - read < 30


def test_an_image_splits_the_messages() -> None:
    cache = PromptCache()
    asked = body("one" * 2000, mark=MARK)
    cache.use(asked, OLD, NOW)
    picture = {"role": "user", "content": [{"type": "image", "source": {}}]}
    assert cache.use({**asked, "messages": [*asked["messages"], picture]}, OLD, NOW).read == 5004


def test_the_scope_is_that_of_the_request() -> None:
    def scope(name: str, **fields: Any) -> Scope:
        return scope_of(case_of({"model": name, **fields}, account="a"))

    assert scope("claude-opus-5-5") == scope("claude-opus-5-5", output_config={"effort": "medium"})
    assert scope("claude-opus-5-5") == scope("claude-opus-5-5", thinking={"type": "adaptive"})
    assert scope("claude-opus-4-8") == scope("claude-opus-4-8", thinking={"type": "disabled"})
    assert scope("claude-opus-4-8") != scope("claude-opus-4-8", thinking={"type": "adaptive"})
    assert scope("claude-opus-5") != scope("claude-opus-5", output_config={"effort": "low"})
    assert scope("claude-opus-5") != scope("claude-opus-5", speed="fast")
    shown = {"type": "adaptive", "display": "summarized"}
    assert scope("claude-opus-5-5") == scope("claude-opus-5-5", thinking=shown)
    budgets = [{"type": "enabled", "budget_tokens": budget} for budget in (1024, 2048)]
    assert scope("claude-opus-4-5", thinking=budgets[0]) != scope("claude-opus-4-5", thinking=budgets[1])
    elsewhere = scope_of(case_of({"model": "claude-opus-5-5"}, account="a", workspace="w"))
    assert scope("claude-opus-5-5") != elsewhere
    off = scope("claude-sonnet-5-5", thinking={"type": "between_tools"})
    assert (off.account, off.thinking, off.effort) == ("a ", "between_tools", "high")


@pytest.mark.parametrize(("switch", "least"), [(False, None), (True, 512)])
def test_the_least_that_mythos_preview_caches_is_a_switch(switch: bool, least: int | None) -> None:
    switches = Switches(preview_caches_small=switch)
    scope = scope_of(case_of({"model": "claude-mythos-preview"}, switches=switches))
    assert scope.least_tokens == least
    asked, preview = body("one", size=4 * 600), model("claude-mythos-preview")
    assert bool(PromptCache().use(asked, preview, NOW, scope=scope).written_5m) is switch


def test_every_model_has_its_least_prefix() -> None:
    for row in catalogue().models:
        below = body("one", size=int((row.min_cacheable_tokens - 10) * 4 / 1.3))
        above = body("one", size=(row.min_cacheable_tokens + 10) * 4)
        assert PromptCache().use(below, row, NOW).written_5m == 0
        assert PromptCache().use(above, row, NOW).written_5m >= row.min_cacheable_tokens


# --- when and how far -------------------------------------------------------------------------------------


def test_an_entry_is_read_once_the_answer_that_wrote_it_has_begun() -> None:
    cache = PromptCache()
    first = cache.use(body("one"), OLD, NOW, readable_in_s=2.0)
    fan_out = cache.use(body("one"), OLD, NOW + 1, readable_in_s=2.0)
    assert first.written_5m == fan_out.written_5m == 5004
    assert cache.use(body("one"), OLD, NOW + 2).read == 5004


def turns_of(*kinds: str) -> list[dict[str, Any]]:
    blocks = {
        "tool_use": {"type": "tool_use", "id": "a", "name": "t", "input": {}},
        "tool_result": {"type": "tool_result", "tool_use_id": "a", "content": "ok"},
        "text": {"type": "text", "text": "more"},
    }
    return [{"role": "user", "content": [blocks[kind]]} for kind in kinds]


@pytest.mark.parametrize(
    ("between", "found"),
    [
        (["text"] * (LOOKBACK - 1), True),
        (["text"] * LOOKBACK, False),
        (["tool_use"] * 15 + ["tool_result"] * 15, True),
        (["tool_use", "tool_result"] * 15, False),
    ],
)
def test_an_older_entry_is_found_so_many_places_before_a_mark(between: list[str], found: bool) -> None:
    cache = PromptCache()
    first = body("one" * 8000, mark=MARK, size=40)
    cache.use(first, OLD, NOW)
    unmarked = body("one" * 8000, size=40, system_mark=None)
    last = {"role": "user", "content": [{"type": "text", "text": "now", "cache_control": MARK}]}
    grown = {**unmarked, "messages": [*unmarked["messages"], *turns_of(*between), last]}
    assert (cache.use(grown, OLD, NOW).read > 0) is found


def test_reading_refreshes_an_older_entry_for_nothing() -> None:
    cache = PromptCache()
    cache.use(body("one", mark=MARK), OLD, NOW)
    cache.use(body("one", "two", mark=MARK, system_mark=None), OLD, NOW + 200)
    late = cache.use(body("one", "three", mark=MARK, system_mark=None), OLD, NOW + 450)
    assert late.read == 5009


def test_a_longer_lifetime_is_kept_by_reading_with_a_shorter_one() -> None:
    cache = PromptCache()
    cache.use(body("one", system_mark=HOUR), OLD, NOW)
    cache.use(body("one", system_mark=MARK), OLD, NOW + 100)
    assert cache.use(body("one", system_mark=MARK), OLD, NOW + 3500).read == 5004


def test_a_mark_inside_a_result_counts_for_the_result() -> None:
    part = {"type": "text", "text": "x" * 40_000, "cache_control": MARK}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [part]}
    assert PromptCache().use({"messages": [{"role": "user", "content": [result]}]}, OLD, NOW).plain == 0


def test_the_mark_at_the_top_passes_over_thinking() -> None:
    block = {"type": "thinking", "thinking": "x", "signature": "y"}
    turns = [{"role": "user", "content": "x" * 40_000}, {"role": "assistant", "content": [block]}]
    use = PromptCache().use({"cache_control": MARK, "messages": turns}, OLD, NOW)
    assert (use.written_5m, use.plain) == (10_004, 1)


def test_the_same_words_of_another_speaker_are_another_prefix() -> None:
    cache = PromptCache()
    for role, read in (("user", False), ("assistant", False), ("user", True)):
        block = {"type": "text", "text": "x" * 40_000, "cache_control": MARK}
        assert (cache.use({"messages": [{"role": role, "content": [block]}]}, OLD, NOW).read > 0) is read


def test_a_dropped_thinking_block_changes_the_prefix_from_its_place() -> None:
    long = {"role": "user", "content": [{"type": "text", "text": "x" * 40_000, "cache_control": MARK}]}
    asked = thinking_conversation("claude-opus-5-5", turns=1, cache_control=MARK)
    asked["messages"][0] = long
    reader = model("claude-opus-4-8")
    seen = [shown_body(case_of({**asked, "model": name})) for name in ("claude-opus-4-8", "claude-opus-5-5")]
    cache = PromptCache()
    first = cache.use(seen[1], reader, NOW)
    other = cache.use(seen[0], reader, NOW)
    assert other.read == count_prompt({"messages": [long]}, reader)
    assert first.total - other.total == 40
