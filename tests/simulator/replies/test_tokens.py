from typing import Any

import pytest

from gateway.compat.catalog import Model
from gateway.simulator.replies.tokens import PromptCache, PromptUse, count_prompt, count_text, cut_text
from tests.support.judged import catalogue

NOW = 1_800_000_000.0
MARK = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def model(name: str) -> Model:
    found = catalogue().find(name)
    assert found is not None
    return found


OLD, NEW = model("claude-opus-4-5"), model("claude-opus-5-5")


def test_newer_tokenizers_count_about_a_third_more() -> None:
    text = "x" * 4000
    assert (count_text(text, OLD), count_text(text, NEW)) == (1000, 1300)
    assert count_text(text, model("claude-haiku-5-5")) == 1300
    assert count_text("x", NEW) == 1
    assert count_text("", NEW) == 0


@pytest.mark.parametrize("tokens", [0, 1, 7, 100])
def test_a_cut_text_fits(tokens: int) -> None:
    text = "some words " * 100
    for row in (OLD, NEW):
        cut = cut_text(text, tokens, row)
        assert count_text(cut, row) <= tokens
        assert text.startswith(cut)
        assert len(cut) > tokens or tokens == 0


def test_everything_in_a_prompt_weighs_something() -> None:
    empty: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    least = count_prompt(empty, OLD)
    result = {"type": "tool_result", "tool_use_id": "a", "content": "done " * 50}
    call = {"type": "tool_use", "id": "a", "name": "t", "input": {"path": "/long/way/home" * 9}}
    for more in (
        {"system": "Be brief."},
        {"tools": [{"name": "t", "input_schema": {}}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"messages": [{"role": "assistant", "content": [call]}]},
        {"messages": [{"role": "user", "content": [result]}]},
        {
            "messages": [
                {"role": "user", "content": [{**result, "content": [{"type": "text", "text": "d" * 90}]}]}
            ]
        },
    ):
        assert count_prompt({**empty, **more}, OLD) > least
    image = {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}
    assert count_prompt(image, NEW) > 2 * count_prompt(image, OLD)


def test_a_mark_changes_no_count() -> None:
    plain = {"system": [{"type": "text", "text": "a" * 90}], "messages": []}
    marked = {"system": [{"type": "text", "text": "a" * 90, "cache_control": MARK}], "messages": []}
    assert count_prompt(plain, NEW) == count_prompt(marked, NEW)


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
