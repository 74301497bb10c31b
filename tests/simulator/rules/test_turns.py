"""System messages, per-message effort and tools that come and go."""

from typing import Any

import pytest

from gateway.simulator.rules.case import ApiError
from gateway.simulator.rules.judge import check
from gateway.simulator.rules.switches import Switches
from tests.support.judged import HELLO, case_of, catalogue, verdict

NEW = "claude-opus-5-5"
CURRENT = frozenset(row.id for row in catalogue().models if row.lifecycle.status != "retired")
EFFORT_BETA = "mid-conversation-output-config-2026-07-01"
CLEAR_BETA = "mid-conversation-system-clear-at-2026-08-21"
CHANGES_BETA, INLINE_BETA = "mid-conversation-tool-changes-2026-07-01", "inline-tools-2026-09-15"
ANSWER = {"role": "assistant", "content": "Yes."}
EXTRA = "Extra inputs are not permitted"


def system(content: Any = "Be brief.", **more: Any) -> dict[str, Any]:
    return {"role": "system", "content": content, **more}


def said_to(*messages: Any, model: str = NEW, fields: Any = (), **given: Any) -> str:
    return verdict({"model": model, "messages": list(messages), **dict(fields)}, **given)


SEARCH = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([HELLO, system()], ""),
        ([HELLO, system(), ANSWER, HELLO], ""),
        ([HELLO, {"role": "assistant", "content": [SEARCH, FOUND]}, system()], ""),
        ([system(), HELLO], "messages.0: use the top-level 'system' parameter for the initial system prompt"),
        (
            [HELLO, ANSWER, system()],
            "messages.2: a 'system' message must follow a user turn or a server tool result",
        ),
        (
            [HELLO, system(), system()],
            "messages.2: a 'system' message must follow a user turn or a server tool result",
        ),
        (
            [HELLO, system(), HELLO],
            "messages.1: a 'system' message must be last or be followed by an assistant turn",
        ),
        (
            [HELLO, system([{"type": "image", "source": {}}])],
            "messages.1: 'system' messages may only contain text",
        ),
    ],
)
def test_a_system_message_has_its_places(messages: list[Any], message: str) -> None:
    assert said_to(*messages) == message


def test_who_takes_system_messages() -> None:
    def takers(**given: Any) -> set[str]:
        return {model for model in CURRENT if said_to(HELLO, system(), model=model, **given) == ""}

    covered = {f"claude-{line}-{number}" for line in ("fable", "mythos") for number in ("5", "5-1", "5-2")}
    expected = {"claude-opus-4-8", "claude-opus-5", NEW, "claude-sonnet-5-5", "claude-haiku-5-5"} | covered
    assert takers() == expected
    assert takers(switches=Switches(sonnet_5_system_turns=True)) == expected | {"claude-sonnet-5"}
    assert takers(switches=Switches(platform="foundry")) == set()
    refused = said_to(HELLO, system(), model="claude-sonnet-5")
    assert refused == "role 'system' is not supported on this model"


# --- going away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (system(clear_at="next_user_message"), ""),
        (system(clear_at="never"), ""),
        (system(clear_at="soon"), "messages.1.clear_at: Input should be 'next_user_message' or 'never'"),
        (
            system(
                [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
                clear_at="next_user_message",
            ),
            "messages.1.clear_at: cache_control is not allowed on a message that is cleared",
        ),
        (
            system(clear_at="next_user_message", output_config={"effort": "low"}),
            "messages.1.clear_at: output_config is not allowed on a message that is cleared",
        ),
        (
            system(
                [{"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}}],
                clear_at="next_user_message",
            ),
            "messages.1.clear_at: a message that is cleared may only contain text",
        ),
    ],
)
def test_a_message_that_goes_away_is_plain_text(message: Any, said: str) -> None:
    assert said_to(HELLO, message, betas=[CLEAR_BETA, EFFORT_BETA, CHANGES_BETA]) == said


def test_going_away_needs_its_beta_and_no_user_behind_it() -> None:
    cleared = system(clear_at="next_user_message")
    assert said_to(HELLO, cleared) == f"messages.1.clear_at: {EXTRA}"
    assert said_to(HELLO, cleared, HELLO, betas=[CLEAR_BETA]) == (
        "messages.1: a 'system' message must be last or be followed by an assistant turn"
    )


# --- effort -------------------------------------------------------------------------------------------------

LOW = system("", output_config={"effort": "low"})


def test_who_takes_another_effort_in_the_middle() -> None:
    takers = {model for model in CURRENT if said_to(HELLO, LOW, model=model, betas=[EFFORT_BETA]) == ""}
    newer = {f"claude-{line}-{number}" for line in ("fable", "mythos") for number in ("5-1", "5-2")}
    assert takers == newer | {"claude-opus-5", NEW, "claude-sonnet-5-5", "claude-haiku-5-5"}


@pytest.mark.parametrize(
    "beta", [EFFORT_BETA, "mid-conversation-effort-2026-08-01", "per-turn-control-2026-07-01"]
)
def test_every_spelling_of_its_beta_opens_it(beta: str) -> None:
    assert said_to(HELLO, LOW, betas=[beta]) == ""
    assert said_to(HELLO, LOW) == f"messages.1.output_config: {EXTRA}"


@pytest.mark.parametrize(
    ("model", "thinking", "effort", "said"),
    [
        ("claude-sonnet-5-5", {"type": "between_tools"}, "high", ""),
        ("claude-haiku-5-5", {"type": "disabled"}, "medium", ""),
        ("claude-haiku-5-5", {"type": "adaptive"}, "low", ""),
        (
            "claude-sonnet-5-5",
            {"type": "between_tools"},
            "low",
            "messages.1: output_config.effort 'low' differs from the 'high' in effect before it; "
            "effort cannot change while thinking is off",
        ),
        (
            "claude-opus-5",
            {"type": "adaptive"},
            "most",
            "messages.1.output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ),
        (
            "claude-fable-5",
            {"type": "adaptive"},
            "low",
            "output_config.effort requires a model that supports per-turn effort; this model does not",
        ),
    ],
)
def test_effort_changes_only_while_thinking_is_on(model: str, thinking: Any, effort: str, said: str) -> None:
    message = system("", output_config={"effort": effort})
    fields = {"thinking": thinking}
    assert said_to(HELLO, message, model=model, fields=fields, betas=[EFFORT_BETA]) == said


def test_bedrock_words_it_otherwise_and_nothing_said_is_nothing() -> None:
    bedrock = Switches(platform="bedrock")
    said = said_to(HELLO, LOW, model="claude-fable-5", betas=[EFFORT_BETA], switches=bedrock)
    assert said == f"messages.1.output_config: {EXTRA}"
    nothing = system("Be brief.", output_config={})
    assert said_to(HELLO, nothing, model="claude-fable-5", betas=[EFFORT_BETA]) == ""


# --- tools --------------------------------------------------------------------------------------------------

TOOLS = {"tools": [{"name": "a", "input_schema": {"type": "object"}}]}
GONE = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "a"}}
BACK = {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "a"}}
DEFINED = {"type": "tool_definition", "definition": {"name": "b", "input_schema": {"type": "object"}}}
NEWLY = {"type": "tool_addition", "tool": DEFINED}


@pytest.mark.parametrize(
    ("block", "betas", "said", "code"),
    [
        (GONE, [CHANGES_BETA], "", None),
        (BACK, [CHANGES_BETA], "", None),
        (GONE, [INLINE_BETA], "", None),
        (NEWLY, [INLINE_BETA], "", None),
        (
            GONE,
            [],
            "messages.1.content.0: Input tag 'tool_removal' found using 'type' does not match any of the "
            "expected tags: 'text'",
            None,
        ),
        (
            NEWLY,
            [CHANGES_BETA],
            "messages.1.content.0.tool_addition.tool: Input tag 'tool_definition' does not match any of the "
            "expected tags: 'tool_reference', 'mcp_tool_reference', 'mcp_toolset_reference'",
            None,
        ),
        (
            {**GONE, "tool": {"type": "tool_reference", "name": "z"}},
            [CHANGES_BETA],
            "messages.1.content.0.tool_removal.tool: no tool named 'z' is declared",
            "tool_reference_unresolved",
        ),
        (
            {**NEWLY, "tool": {**DEFINED, "definition": {"name": "a"}}},
            [INLINE_BETA],
            "messages.1.content.0.tool_addition.tool: a tool named 'a' is defined already",
            "tool_name_conflict",
        ),
        (
            {"type": "tool_removal"},
            [CHANGES_BETA],
            "messages.1.content.0.tool_removal.tool: Field required",
            None,
        ),
    ],
)
def test_tools_come_and_go(block: Any, betas: list[str], said: str, code: str | None) -> None:
    case = case_of({"model": NEW, "messages": [HELLO, system([block])], **TOOLS}, betas=betas)
    if not said:
        assert check(case, lambda: 1) == 1
        return
    with pytest.raises(ApiError) as caught:
        check(case, lambda: 1)
    assert (caught.value.message, caught.value.error_code) == (said, code)


def test_only_the_operator_changes_tools() -> None:
    assert said_to({"role": "user", "content": [GONE]}, fields=TOOLS, betas=[CHANGES_BETA]) == (
        "messages.0: `tool_removal` blocks can only be in `system` messages"
    )


def test_what_was_defined_can_be_referred_to() -> None:
    removed = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "b"}}
    turns = [HELLO, system([NEWLY]), ANSWER, HELLO, system([removed])]
    assert said_to(*turns, fields=TOOLS, betas=[INLINE_BETA]) == ""
