"""Fallbacks, priority, place, budgets, summaries and context editing, by model."""

from typing import Any

import pytest

from gateway.simulator.rules.bindings.stamps import summary_seal
from gateway.simulator.rules.case import ApiError
from gateway.simulator.rules.judge import check
from gateway.simulator.rules.options import attempt, entries_of, takes_priority
from gateway.simulator.rules.switches import Switches
from tests.support.judged import HELLO, case_of, catalogue, verdict

CURRENT = frozenset(row.id for row in catalogue().models if row.lifecycle.status != "retired")
COVERED = frozenset(
    f"claude-{line}-{number}" for line in ("fable", "mythos") for number in ("5", "5-1", "5-2")
)
O5, O55, S55, H55 = "claude-opus-5", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"
O48, S5 = "claude-opus-4-8", "claude-sonnet-5"
OLDEST = frozenset({"claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"})
EXTRA = "Extra inputs are not permitted"
LIST_BETA, ANY_BETA = "server-side-fallback-2026-06-01", "server-side-fallback-2026-07-01"


def takers(fields: Any, **given: Any) -> set[str]:
    """The current models that take a request with these fields."""
    return {model for model in CURRENT if verdict({"model": model, **fields}, **given) == ""}


# --- fallbacks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        *((model, {O5, O48}) for model in sorted(COVERED | {"claude-mythos-preview", O55})),
        (O5, {O48}),
        (S55, {S5}),
        (H55, set()),
        (O48, set()),
        (S5, set()),
    ],
)
def test_each_model_hands_over_to_these(model: str, allowed: set[str]) -> None:
    def said(target: str) -> str:
        return verdict({"model": model, "fallbacks": [{"model": target}]}, betas=[LIST_BETA])

    assert {target for target in CURRENT if said(target) == ""} == allowed
    if allowed:
        wrong = "fallbacks.0.model: 'claude-opus-9' is not an allowed fallback for this model"
        assert said("claude-opus-9") == wrong
    else:
        assert said(O48) == "fallbacks: this model does not support a list of fallback models"


@pytest.mark.parametrize(
    ("fallbacks", "beta", "said"),
    [
        ([{"model": O48}], "", f"fallbacks: {EXTRA}"),
        ([{"model": O48}], LIST_BETA, ""),
        ([{"model": O48}, {"model": O5}], ANY_BETA, ""),
        ("default", ANY_BETA, ""),
        ("default", LIST_BETA, "fallbacks: Input should be a valid list"),
        ("auto", ANY_BETA, "fallbacks: Input should be a valid list or 'default'"),
        (["claude-opus-5"], ANY_BETA, "fallbacks.0: Input should be a valid dictionary"),
        ([{"max_tokens": 5}], ANY_BETA, "fallbacks.0.model: Field required"),
        ([{"model": O48, "system": "a"}], ANY_BETA, f"fallbacks.0.system: {EXTRA}"),
        (
            [{"model": O48, "thinking": {"type": "enabled", "budget_tokens": 1024}}],
            ANY_BETA,
            'fallbacks.0: "thinking.type.enabled" is not supported for this model. Use '
            '"thinking.type.adaptive" and "output_config.effort" to control thinking behavior.',
        ),
        (
            [{"model": O48, "max_tokens": 8192, "output_config": {"effort": "low"}, "speed": None}],
            ANY_BETA,
            "",
        ),
    ],
)
def test_fallbacks_have_a_spelling(fallbacks: Any, beta: str, said: str) -> None:
    assert verdict({"model": O55, "fallbacks": fallbacks}, betas=[beta] if beta else []) == said


def test_the_default_is_taken_by_all_and_the_list_by_some() -> None:
    assert takers({"fallbacks": "default"}, betas=[ANY_BETA]) == CURRENT


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batched": True}, "fallbacks: not available in batches"),
        ({"switches": Switches(platform="vertex")}, f"fallbacks: {EXTRA}"),
        ({"switches": Switches(platform="google")}, ""),
    ],
)
def test_where_there_are_fallbacks(given: Any, said: str) -> None:
    assert verdict({"model": O55, "fallbacks": "default"}, betas=[ANY_BETA], **given) == said


def test_fallbacks_do_not_go_with_a_credit() -> None:
    body = {"model": O55, "fallbacks": "default", "fallback_credit_token": "t"}
    said = verdict(body, betas=[ANY_BETA, "fallback-credit-2026-07-01"])
    assert said == "fallbacks: cannot be combined with fallback_credit_token"


@pytest.mark.parametrize(("beta", "taken"), [(LIST_BETA, False), (ANY_BETA, True)])
def test_thinking_between_tools_becomes_none_with_the_newer_beta(beta: str, taken: bool) -> None:
    body = {"model": S55, "thinking": {"type": "between_tools"}, "fallbacks": [{"model": S5}]}
    assert (verdict(body, betas=[beta]) == "") is taken
    own = {**body, "fallbacks": [{"model": S5, "thinking": {"type": "disabled"}}]}
    assert verdict(own, betas=[beta]) == ""


@pytest.mark.parametrize(
    ("sent", "entry", "got"),
    [
        ({"thinking": {"type": "adaptive"}}, {}, {"thinking": {"type": "adaptive"}}),
        ({"thinking": {"type": "adaptive"}}, {"thinking": None}, {}),
        ({"output_config": {"effort": "max"}}, {}, {"output_config": {"effort": "max"}}),
        ({"output_config": {"effort": "max"}}, {"output_config": None}, {}),
        (
            {"output_config": {"effort": "max"}},
            {"output_config": {"effort": "low"}},
            {"output_config": {"effort": "low"}},
        ),
        ({"speed": "fast"}, {}, {}),
        ({"speed": "fast"}, {"speed": "fast"}, {"speed": "fast"}),
        ({}, {"max_tokens": 77}, {"max_tokens": 77}),
    ],
)
def test_an_entry_is_merged_into_the_request(sent: Any, entry: Any, got: Any) -> None:
    body = {"model": O55, "fallbacks": "default", **sent}
    tried = attempt(case_of(body, betas=[ANY_BETA]), {"model": O48, **entry})
    assert tried is not None
    assert tried.body == {"model": O48, "max_tokens": 1024, "messages": [HELLO], **got}
    assert tried.model.id == O48


def test_the_default_is_the_models_own_order() -> None:
    assert entries_of(case_of({"model": O55, "fallbacks": "default"})) == [{"model": O5}, {"model": O48}]
    assert entries_of(case_of({"model": H55, "fallbacks": "default"})) == []
    assert entries_of(case_of({"model": O55})) == []


# --- capacity and place -------------------------------------------------------------------------------------


def test_priority_is_for_older_models() -> None:
    priority = Switches(priority_tier=True)
    assert takers({"service_tier": "auto"}) == CURRENT
    assert takers({"service_tier": "standard_only"}, switches=priority) == CURRENT
    older = {"claude-opus-4-6", "claude-opus-4-7", O48, "claude-sonnet-4-6", "claude-fable-5"} | OLDEST
    assert takers({"service_tier": "auto"}, switches=priority) == older
    said = verdict({"model": O55, "service_tier": "auto"}, switches=priority)
    assert said == "service_tier: Priority Tier is not available for this model"
    assert verdict({"model": O5, "service_tier": "best"}) == (
        "service_tier: Input should be 'auto' or 'standard_only'"
    )


def test_priority_and_fast_do_not_go_together() -> None:
    body = {"model": O48, "service_tier": "auto", "speed": "fast"}
    given: Any = {"betas": ["fast-mode-2026-02-01"], "switches": Switches(priority_tier=True)}
    assert verdict(body, **given) == "speed: fast mode is not available with Priority Tier"
    assert not takes_priority(case_of(body, **given))
    assert takes_priority(case_of({"model": O48}, **given))
    assert not takes_priority(case_of({"model": O48, "service_tier": "standard_only"}, **given))
    assert not takes_priority(case_of({"model": O48}))


def test_the_place_of_inference_is_known_from_4_6_on() -> None:
    assert takers({"inference_geo": "us"}) == CURRENT - OLDEST - {"claude-mythos-preview"}
    assert takers({"inference_geo": None}) == CURRENT
    assert takers({"inference_geo": "us"}, switches=Switches(platform="bedrock")) == set()
    assert verdict({"model": O5, "inference_geo": 7}) == "inference_geo: Input should be a valid string"


# --- budgets and summaries ----------------------------------------------------------------------------------

BUDGETS = "task-budgets-2026-03-13"


def budget(total: Any = 20_000, **more: Any) -> dict[str, Any]:
    return {"output_config": {"task_budget": {"type": "tokens", "total": total, **more}}}


def test_who_takes_a_task_budget() -> None:
    assert takers(budget(), betas=[BUDGETS]) == COVERED | {O55, S55, H55, O5, O48, "claude-opus-4-7"}
    assert takers(budget(), betas=[BUDGETS], switches=Switches(platform="bedrock")) == set()
    assert verdict({"model": O55, **budget()}) == f"output_config.task_budget: {EXTRA}"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (budget(remaining=5), ""),
        (budget(19_999), ".total: Input should be greater than or equal to 20000"),
        (budget("many"), ".total: Input should be greater than or equal to 20000"),
        (budget(type="words"), ".type: Input should be 'tokens'"),
        (budget(colour="red"), f".colour: {EXTRA}"),
        ({"output_config": {"task_budget": 7}}, ": Input should be a valid dictionary"),
    ],
)
def test_a_task_budget_has_a_shape(given: Any, said: str) -> None:
    path = f"output_config.task_budget{said}" if said else ""
    assert verdict({"model": O55, **given}, betas=[BUDGETS]) == path


COMPACT, ON_DEMAND, EDITING = "compact-2026-01-12", "compact-2026-09-04", "context-management-2025-06-27"


def edits(*given: Any) -> dict[str, Any]:
    return {"context_management": {"edits": list(given)}}


def test_who_sums_conversations_up() -> None:
    due = edits({"type": "compact_20260112"})
    assert takers(due, betas=[COMPACT]) == CURRENT - OLDEST
    asked = {"compaction": {"type": "summarize"}}
    assert takers(asked, betas=[ON_DEMAND]) == COVERED | {O55, S55, H55}


@pytest.mark.parametrize(
    ("fields", "betas", "said"),
    [
        (edits({"type": "clear_tool_uses_20250919"}), [EDITING], ""),
        (edits({"type": "clear_thinking_20251015"}), [EDITING], ""),
        (edits({"type": "clear_tool_uses_20250919"}), [], f"context_management: {EXTRA}"),
        (
            edits({"type": "compact_20260112"}),
            [EDITING],
            "context_management.edits.0: Input tag 'compact_20260112' does not match any of the expected "
            "tags: 'clear_thinking_20251015', 'clear_tool_uses_20250919'",
        ),
        (
            edits({"type": "compact_20260112", "trigger": {"type": "input_tokens", "value": 49_999}}),
            [COMPACT],
            "context_management.edits.0.trigger.value: Input should be greater than or equal to 50000",
        ),
        (edits({"type": "compact_20260112", "trigger": {"value": 50_000}}), [COMPACT], ""),
        (edits("clear"), [EDITING], "context_management.edits: Input should be a valid list"),
        ({"context_management": {}}, [EDITING], ""),
        ({"compaction": {"type": "summarize"}}, [COMPACT], f"compaction: {EXTRA}"),
        ({"compaction": {"type": "shorten"}}, [ON_DEMAND], "compaction.type: Input should be 'summarize'"),
        (
            {"compaction": {"type": "summarize"}, **edits()},
            [ON_DEMAND],
            "compaction: cannot be combined with context_management",
        ),
        (
            {"compaction": {"type": "summarize"}, "max_tokens": 0},
            [ON_DEMAND],
            "max_tokens: 0 cannot be combined with compaction",
        ),
    ],
)
def test_summaries_and_edits_have_a_spelling(fields: Any, betas: list[str], said: str) -> None:
    assert verdict({"model": O55, **fields}, betas=betas) == said


def test_thinking_is_cleared_where_there_is_some() -> None:
    body = {"model": O5, "thinking": {"type": "disabled"}, **edits({"type": "clear_thinking_20251015"})}
    assert verdict(body, betas=[EDITING]) == (
        "context_management.edits.0: clear_thinking_20251015 requires thinking to be enabled"
    )


SUMMARY: Any = {"type": "compaction", "content": "They spoke.", "signature": summary_seal("They spoke.")}
CALL: Any = {"type": "tool_use", "id": "a", "name": "t", "input": {}}
ASKED: Any = {"compaction": {"type": "summarize"}}


def first(block: Any, role: str = "assistant") -> list[Any]:
    return [{"role": role, "content": [block]}, HELLO]


@pytest.mark.parametrize(
    ("messages", "fields", "code"),
    [
        (first(SUMMARY), {}, None),
        (first(SUMMARY, "user"), {}, None),
        (first({**SUMMARY, "content": "They shouted."}), {}, "compaction_signature_invalid"),
        ([HELLO, *first(SUMMARY)], {}, "compaction_block_misplaced"),
        ([HELLO, *first({"type": "compaction", "content": "By itself."})], {}, None),
        ([HELLO, {"role": "assistant", "content": [CALL]}], ASKED, "compaction_incomplete_turn"),
    ],
)
def test_a_summary_comes_back_whole_and_first(messages: Any, fields: Any, code: str | None) -> None:
    case = case_of({"model": O55, "messages": messages, **fields}, betas=[ON_DEMAND])
    if code is None:
        assert check(case, lambda: 1) == 1
        return
    with pytest.raises(ApiError) as caught:
        check(case, lambda: 1)
    assert caught.value.error_code == code
