"""Kinds of tools by model, beta, name and company: the reference's table, cell by cell."""

from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.judged import HELLO, catalogue, verdict

OWN: Any = {"name": "weather", "input_schema": {"type": "object"}}
CURRENT = frozenset(row.id for row in catalogue().models if row.lifecycle.status != "retired")
O45, O46, O47, O48 = "claude-opus-4-5-20251101", "claude-opus-4-6", "claude-opus-4-7", "claude-opus-4-8"
O5, O55 = "claude-opus-5", "claude-opus-5-5"
S45, S46 = "claude-sonnet-4-5-20250929", "claude-sonnet-4-6"
S5, S55 = "claude-sonnet-5", "claude-sonnet-5-5"
H45, H55 = "claude-haiku-4-5-20251001", "claude-haiku-5-5"
F5, F51, F52 = "claude-fable-5", "claude-fable-5-1", "claude-fable-5-2"
M5, M51, M52, MP = "claude-mythos-5", "claude-mythos-5-1", "claude-mythos-5-2", "claude-mythos-preview"
BETAS = ["computer-use-2025-01-24", "computer-use-2025-11-24", "advisor-tool-2026-03-01"]


def tool(kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    return {"type": kind, **({"name": name} if name else {}), **more}


def takers(given: dict[str, Any], **more: Any) -> set[str]:
    """The current models that take a tool."""
    bodies = {model: {"model": model, "tools": [given]} for model in CURRENT}
    return {model for model, body in bodies.items() if verdict(body, betas=BETAS, **more) == ""}


OLDEST = {O45, S45, H45}


@pytest.mark.parametrize(
    ("given", "models"),
    [
        (tool("computer_20250124", "computer"), {S45, H45}),
        (tool("computer_20251124", "computer"), {O45, O46, O47, O48, O5, S46, S5, F5, M5, F51, M51}),
        (tool("computer_toolset_20260801"), {O5, O55, S55, H55, F51, M51, F52, M52}),
        (tool("browser_toolset_20260801"), {O55, H55, F5, M5, F51, M51, F52, M52}),
        (tool("text_editor_20250728", "str_replace_based_edit_tool"), CURRENT),
        (tool("text_editor_20250124", "str_replace_editor"), set()),
        (tool("bash_20250124", "bash"), CURRENT),
        (tool("bash_20241022", "bash"), set()),
        (tool("memory_20250818", "memory"), CURRENT),
        (tool("code_execution_20250522", "code_execution"), CURRENT),
        (tool("code_execution_20260521", "code_execution"), CURRENT),
        (tool("web_search_20250305", "web_search"), CURRENT),
        (tool("web_search_20260209", "web_search"), CURRENT - OLDEST),
        (tool("web_search_20260318", "web_search"), CURRENT - OLDEST),
        (tool("web_fetch_20250910", "web_fetch"), CURRENT),
        (tool("web_fetch_20260309", "web_fetch"), CURRENT - OLDEST),
        (tool("tool_search_tool_regex_20251119", "tool_search_tool_regex"), CURRENT),
        (tool("tool_search_tool_bm25_20251119", "tool_search_tool_bm25"), CURRENT),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_kind_has_its_models(given: dict[str, Any], models: set[str]) -> None:
    assert takers(given) == set(models)


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (
            "claude-opus-5-5",
            "computer_20251124",
            "'claude-opus-5-5' does not support tool types: computer_20251124. "
            "Did you mean one of computer_toolset_20260801?",
        ),
        (
            "claude-haiku-4-5",
            "computer_toolset_20260801",
            "'claude-haiku-4-5' does not support tool types: computer_toolset_20260801. "
            "Did you mean one of computer_20250124?",
        ),
        (
            "claude-opus-5",
            "text_editor_20250124",
            "'claude-opus-5' does not support tool types: text_editor_20250124. "
            "Did you mean one of text_editor_20250429, text_editor_20250728?",
        ),
        ("claude-opus-5", "bash_20250124", "tools.0.bash_20250124.name: Field required"),
        (
            "claude-opus-5",
            "stone_20300101",
            "tools.0: Input tag 'stone_20300101' found using 'type' does not match any of the expected tags",
        ),
    ],
)
def test_what_is_said_of_a_kind_that_is_not_taken(model: str, kind: str, message: str) -> None:
    assert verdict({"model": model, "tools": [tool(kind)]}, betas=BETAS) == message


def test_an_unknown_kind_may_be_let_through() -> None:
    body = {"model": O5, "tools": [tool("stone_20300101", "stone"), OWN]}
    assert verdict(body, switches=Switches(known_tools_only=False)) == ""


@pytest.mark.parametrize(
    ("given", "beta"),
    [
        (tool("computer_20251124", "computer"), "computer-use-2025-11-24"),
        (tool("advisor_20260301", "advisor", model=F52), "advisor-tool-2026-03-01"),
        (tool("mcp_toolset", mcp_server_name="m"), "mcp-client-2025-11-20"),
    ],
)
def test_some_kinds_need_a_beta(given: dict[str, Any], beta: str) -> None:
    body = {"model": O5, "tools": [given, OWN]}
    assert verdict(body).startswith(f"tools.0: Input tag '{given['type']}' found using 'type'")
    assert verdict(body, betas=[beta]) == ""


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("text_editor_20250728", "str_replace_editor", "str_replace_based_edit_tool"),
        ("text_editor_20250429", "editor", "str_replace_based_edit_tool"),
        ("web_search_20250305", "search", "web_search"),
        ("code_execution_20250825", "python", "code_execution"),
        ("memory_20250818", "notes", "memory"),
    ],
)
def test_a_kind_has_one_name(kind: str, wrong: str, right: str) -> None:
    said = verdict({"model": O48, "tools": [tool(kind, wrong)]})
    assert said == f"tools.0.{kind}.name: Input should be '{right}'"
    assert verdict({"model": O48, "tools": [tool(kind, right)]}) == ""


@pytest.mark.parametrize(
    ("switches", "kind", "models"),
    [
        (Switches(older_browser_toolset=True), "browser_toolset_20260801", {O5, S55}),
        (Switches(platform="bedrock"), "computer_20251124", {O55, S55, F52, M52}),
    ],
)
def test_platforms_and_open_questions_add_models(switches: Switches, kind: str, models: set[str]) -> None:
    given = tool(kind, "" if "toolset" in kind else "computer")
    assert takers(given, switches=switches) - takers(given) == models


# --- together -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([OWN, OWN], "tools: Tool names must be unique."),
        (
            [{**OWN, "defer_loading": True}],
            "All tools have defer_loading set. At least one tool must be loaded from the start.",
        ),
        (
            [
                {**OWN, "defer_loading": True},
                tool("tool_search_tool_regex_20251119", "tool_search_tool_regex"),
            ],
            "",
        ),
        (
            [tool("computer_toolset_20260801"), {**OWN, "name": "computer"}],
            "tools: computer_toolset_20260801 cannot be combined with another tool named 'computer'",
        ),
        (
            [tool("computer_toolset_20260801", "computer")],
            "tools.0.computer_toolset_20260801.name: Extra inputs are not permitted",
        ),
        (
            [tool("computer_toolset_20260801", display_width_px=800)],
            "tools.0.computer_toolset_20260801.display_width_px: Extra inputs are not permitted",
        ),
        ([tool("computer_toolset_20260801", configs={"zoom": {"enabled": False}}), OWN], ""),
        (
            [tool("computer_toolset_20260801"), tool("computer_20251124", "computer")],
            "tools: computer_toolset_20260801 cannot be combined with another tool named 'computer'",
        ),
    ],
)
def test_tools_go_together_or_do_not(tools: list[Any], message: str) -> None:
    assert verdict({"model": O5, "tools": tools}, betas=BETAS) == message


@pytest.mark.parametrize("kind", ["computer_toolset_20260801", "browser_toolset_20260801"])
def test_a_toolset_does_not_go_with_the_fine_grained_beta(kind: str) -> None:
    beta = "fine-grained-tool-streaming-2025-05-14"
    assert verdict({"model": O55, "tools": [OWN]}, betas=[beta]) == ""
    said = verdict({"model": O55, "tools": [tool(kind)]}, betas=[beta])
    assert said == f"tools: toolsets cannot be combined with the `{beta}` beta"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"toolset_name": "computer"}, ""),
        ({}, "messages.2.content.0.tool_result.toolset_name: Input should be 'computer'"),
    ],
)
def test_results_name_the_toolset_of_their_call(named: Any, message: str) -> None:
    call = {"type": "tool_use", "id": "a", "name": "screenshot", "input": {}, "toolset_name": "computer"}
    result = {"type": "tool_result", "tool_use_id": "a", "content": "ok", **named}
    turns = [HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    body = {"model": O55, "tools": [tool("computer_toolset_20260801")], "messages": turns}
    assert verdict(body) == message


# --- advisors and programs ----------------------------------------------------------------------------------

TO_5 = {F5, M5, F51, M51, F52, M52, O5, O55}
TO_S5 = TO_5 | {O47, O48, S55, S5, H55}


@pytest.mark.parametrize(
    ("executor", "advisors"),
    [
        (F52, {F52, M52}),
        (M52, {F52, M52}),
        (F51, {F51, M51, F52, M52}),
        (O5, TO_5),
        (O55, TO_5),
        (F5, TO_5),
        (M5, TO_5),
        (O47, TO_5 | {O47, O48, S55}),
        (O48, TO_5 | {O47, O48, S55}),
        (S55, TO_5 | {S55}),
        (S5, TO_S5),
        (H55, TO_S5),
        (O46, TO_S5 | {O46}),
        (S46, TO_S5 | {O46, S46}),
        (H45, TO_S5 | {O46, S46}),
        (S45, set()),
        (O45, set()),
    ],
)
def test_each_model_has_its_advisors(executor: str, advisors: set[str]) -> None:
    def said(advisor: str) -> str:
        given = tool("advisor_20260301", "advisor", model=advisor)
        return verdict({"model": executor, "tools": [given]}, betas=BETAS)

    assert {model for model in CURRENT if said(model) == ""} == advisors
    assert said("claude-opus-9") == "tools.0.advisor_20260301.model: 'claude-opus-9' cannot advise this model"


def test_an_advisor_is_named() -> None:
    said = verdict({"model": O5, "tools": [tool("advisor_20260301", "advisor")]}, betas=BETAS)
    assert said == "tools.0.advisor_20260301.model: Field required"


CODE = tool("code_execution_20260120", "code_execution")


@pytest.mark.parametrize(
    ("model", "callers", "more", "message"),
    [
        (O45, ["direct"], [], ""),
        (O45, ["code_execution_20260120"], [CODE], ""),
        (S45, ["direct", "code_execution_20260120"], [CODE], ""),
        (H55, ["code_execution_20260120"], [CODE], ""),
        (
            H45,
            ["code_execution_20260120"],
            [CODE],
            "tools.0.allowed_callers: programmatic tool calling is not supported for this model",
        ),
        (H45, ["direct"], [], ""),
        (
            O5,
            ["code_execution_20260521"],
            [CODE],
            "tools.0.allowed_callers: 'code_execution_20260521' needs a tool of a type in "
            "code_execution_20260120, code_execution_20260521",
        ),
        (
            O5,
            ["code_execution_20250825"],
            [tool("code_execution_20250825", "code_execution")],
            "tools.0.allowed_callers: 'code_execution_20250825' needs a tool of a type in "
            "code_execution_20260120, code_execution_20260521",
        ),
        (
            O5,
            ["me"],
            [],
            "tools.0.allowed_callers: Input should be 'direct', 'code_execution_20250825', "
            "'code_execution_20260120', 'code_execution_20260521'",
        ),
    ],
)
def test_programs_may_call_tools_where_there_are_programs(
    model: str, callers: list[str], more: list[Any], message: str
) -> None:
    assert verdict({"model": model, "tools": [{**OWN, "allowed_callers": callers}, *more]}) == message
