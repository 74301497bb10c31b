from typing import Any

import pytest

from gateway.simulator.rules.conversation import NO_PREFILL
from gateway.simulator.rules.switches import Switches
from tests.support.judged import HELLO, catalogue, verdict

OLD, NEW = "claude-opus-4-5", "claude-opus-5-5"
EXTRA = "Extra inputs are not permitted"


def user(*blocks: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": [_block(block) for block in blocks]}


def assistant(*blocks: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "assistant", "content": [_block(block) for block in blocks]}


def _block(block: dict[str, Any] | str) -> dict[str, Any]:
    return {"type": "text", "text": block} if isinstance(block, str) else block


def call(name: str = "c1") -> dict[str, Any]:
    return {"type": "tool_use", "id": name, "name": "t", "input": {}}


def result(name: str = "c1") -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": name, "content": "done"}


def said_to(*messages: Any, model: str = OLD, **given: Any) -> str:
    return verdict({"model": model, "messages": list(messages)}, **given)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": "hi"}, "messages: Input should be a valid list"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": ["hi"]}, "messages.0: Input should be a valid dictionary"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role: Field required"),
        (
            {"messages": [{"role": "tool", "content": "hi"}]},
            'messages: Unexpected role "tool". Allowed roles are "user" or "assistant".',
        ),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        (
            {"messages": [{"role": "user", "content": 1}]},
            "messages.0.content: Input should be a valid string",
        ),
        ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, f"messages.0.name: {EXTRA}"),
        (
            {"messages": [{"role": "user", "content": ["a"]}]},
            "messages.0.content.0: Input should be an object",
        ),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages.0.content.0.type: Field required"),
        ({"messages": [user({"type": "text"})]}, "messages.0.content.0.text.text: Field required"),
        (
            {"messages": [user({"type": "text", "text": "a", "lang": "en"})]},
            f"messages.0.content.0.text.lang: {EXTRA}",
        ),
        (
            {"messages": [user({"type": "text", "text": None})]},
            "messages.0.content.0.text.text: Input should be a valid string",
        ),
        ({"messages": [user(call())]}, "messages.0: `tool_use` blocks can only be in `assistant` messages"),
        (
            {"messages": [HELLO, assistant(result())]},
            "messages.1: `tool_result` blocks can only be in `user` messages",
        ),
        (
            {"messages": [user({"type": "thinking", "thinking": "", "signature": ""})]},
            "messages.0: `thinking` blocks can only be in `assistant` messages",
        ),
    ],
)
def test_a_message_that_does_not_fit_is_named_by_its_path(fields: dict[str, Any], message: str) -> None:
    assert verdict({"model": OLD, **fields}) == message


def test_messages_are_required() -> None:
    assert verdict({"model": OLD}, without="messages") == "messages: Field required"


def test_an_unknown_block_is_told_which_there_are() -> None:
    said = said_to(user({"type": "video"}))
    assert said.startswith("messages.0.content.0: Input tag 'video' found using 'type' does not match any of")
    assert "'image'" in said
    assert "'web_search_tool_result'" in said


# --- the last turn ------------------------------------------------------------------------------------------


def test_the_published_text_for_a_prefill() -> None:
    assert NO_PREFILL == (
        "This model does not support assistant message prefill. "
        "The conversation must end with a user message."
    )


def test_only_old_models_take_a_prefill() -> None:
    takes = {
        model.id
        for model in catalogue().models
        if model.lifecycle.status != "retired" and said_to(HELLO, assistant("{"), model=model.id) == ""
    }
    assert takes == {"claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"}


@pytest.mark.parametrize("content", ["{", [{"type": "text", "text": "{"}], ""])
def test_any_last_turn_of_the_assistant_is_a_prefill(content: Any) -> None:
    assert said_to(HELLO, {"role": "assistant", "content": content}, model=NEW) == NO_PREFILL


@pytest.mark.parametrize("kind", ["server_tool_use", "web_search_tool_result", "code_execution_tool_result"])
def test_a_paused_turn_that_is_sent_back_is_none(kind: str) -> None:
    assert said_to(HELLO, assistant("Searching.", {"type": kind}), model=NEW) == ""


def test_nor_is_the_turn_that_redeems_a_fallback_credit() -> None:
    body = {"model": NEW, "messages": [HELLO, assistant("So far")], "fallback_credit_token": "t"}
    assert verdict(body, betas=["fallback-credit-2026-07-01"]) == ""


def test_a_few_shot_answer_in_the_middle_is_none() -> None:
    assert said_to(HELLO, assistant("Yes."), HELLO, model=NEW) == ""


def test_a_prefill_goes_without_thinking_format_and_trailing_space() -> None:
    messages = [HELLO, assistant("{")]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    said = verdict({"model": OLD, "max_tokens": 2048, "messages": messages, "thinking": thinking})
    assert said.startswith(
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`. "
        "When `thinking` is enabled, a final `assistant` message must start with a thinking block"
    )
    chosen = {"type": "json_schema", "schema": {"type": "string"}}
    said = verdict({"model": OLD, "messages": messages, "output_config": {"format": chosen}})
    assert said == (
        "output_config.format: structured outputs cannot be combined with an assistant message prefill"
    )
    said = said_to(HELLO, assistant("Answer: "))
    assert said == "messages: final assistant content cannot end with trailing whitespace"


def test_a_budget_wants_the_thinking_of_an_open_tool_round_back() -> None:
    messages = [HELLO, assistant(call()), user(result())]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    said = verdict({"model": OLD, "max_tokens": 2048, "messages": messages, "thinking": thinking})
    assert said.startswith(
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`"
    )
    assert said_to(*messages) == ""
    assert said_to(*messages, model=NEW) == ""


# --- roles --------------------------------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "Be brief."}
SYSTEM_PLACE = "messages.{}: a 'system' message must follow a user turn or a server tool result"


@pytest.mark.parametrize(
    ("messages", "model", "message"),
    [
        ([HELLO, SYSTEM], NEW, ""),
        ([HELLO, SYSTEM, assistant("Yes."), HELLO], NEW, ""),
        ([HELLO, SYSTEM], "claude-opus-4-8", ""),
        ([HELLO, SYSTEM], "claude-opus-4-7", "role 'system' is not supported on this model"),
        ([HELLO, SYSTEM], "claude-sonnet-5", "role 'system' is not supported on this model"),
        (
            [SYSTEM, HELLO],
            NEW,
            "messages.0: use the top-level 'system' parameter for the initial system prompt",
        ),
        ([HELLO, assistant("Yes."), SYSTEM], NEW, SYSTEM_PLACE.format(2)),
        ([HELLO, SYSTEM, SYSTEM], NEW, SYSTEM_PLACE.format(2)),
        ([HELLO, assistant({"type": "web_search_tool_result"}), SYSTEM], NEW, ""),
        (
            [HELLO, SYSTEM, HELLO],
            NEW,
            "messages.1: a 'system' message must be last or be followed by an assistant turn",
        ),
        (
            [HELLO, {"role": "system", "content": [{"type": "image", "source": {}}]}],
            NEW,
            "messages.1: 'system' messages may only contain text",
        ),
        ([assistant("Yes."), HELLO], OLD, 'messages: first message must use the "user" role'),
        ([HELLO, HELLO], OLD, ""),
    ],
)
def test_roles_have_an_order(messages: list[Any], model: str, message: str) -> None:
    assert said_to(*messages, model=model) == message


def test_roles_alternate_where_that_is_switched_on() -> None:
    said = said_to(HELLO, HELLO, switches=Switches(strict_roles=True))
    assert said == 'messages: roles must alternate between "user" and "assistant"'


def effort(level: str) -> dict[str, Any]:
    return {"role": "system", "content": "", "output_config": {"effort": level}}


def test_effort_per_message_needs_its_beta_a_model_and_thinking() -> None:
    beta = ["mid-conversation-output-config-2026-07-01"]
    assert said_to(HELLO, effort("low"), model=NEW) == f"messages.1.output_config: {EXTRA}"
    assert said_to(HELLO, effort("low"), model=NEW, betas=beta) == ""
    said = said_to(HELLO, effort("low"), model="claude-fable-5", betas=beta)
    assert said == "output_config.effort requires a model that supports per-turn effort; this model does not"
    body = {
        "model": "claude-sonnet-5-5",
        "messages": [HELLO, effort("low")],
        "thinking": {"type": "between_tools"},
    }
    said = verdict(body, betas=beta)
    assert said.startswith(
        "messages.1: output_config.effort 'low' differs from the 'high' in effect before it; "
    )
    assert verdict({**body, "messages": [HELLO, effort("high")]}, betas=beta) == ""


# --- content ------------------------------------------------------------------------------------------------

EMPTY = (
    "messages.{}: all messages must have non-empty content except for the optional final assistant message"
)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"role": "user", "content": ""}], EMPTY.format(0)),
        ([{"role": "user", "content": []}], EMPTY.format(0)),
        ([HELLO, assistant(), HELLO], EMPTY.format(1)),
        ([HELLO, assistant()], ""),
        ([user("a", "")], "messages: text content blocks must be non-empty"),
    ],
)
def test_content_is_not_empty(messages: list[Any], message: str) -> None:
    assert said_to(*messages) == message


def without_result(index: int, *names: str) -> str:
    return (
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(names)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
        "next message."
    )


def without_call(path: str, name: str) -> str:
    return (
        f"{path}: unexpected `tool_use_id` found in `tool_result` blocks: {name}. Each `tool_result` block "
        "must have a corresponding `tool_use` block in the previous message."
    )


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([HELLO, assistant(call()), user(result())], ""),
        ([HELLO, assistant(call("a"), call("b")), user(result("a")), user(result("b"))], ""),
        ([HELLO, assistant(call("a"), call("b")), user(result("b"), result("a"), "Go on.")], ""),
        ([HELLO, assistant("Wait.", call("a"), call("b")), user(result("a"))], without_result(1, "b")),
        ([HELLO, assistant(call("a"), call("b")), HELLO], without_result(1, "a", "b")),
        ([user(result("a"))], without_call("messages.0.content.0", "a")),
        ([HELLO, assistant("No."), user("x", result("a"))], without_call("messages.2.content.1", "a")),
    ],
)
def test_calls_and_results_come_in_pairs(messages: list[Any], message: str) -> None:
    assert said_to(*messages) == message


def test_a_system_message_may_stand_between_a_result_and_the_answer() -> None:
    messages = [HELLO, assistant(call()), user(result()), SYSTEM]
    assert said_to(*messages, model=NEW) == ""


def test_the_newer_api_version_takes_no_documents_of_the_assistant_nor_citations_of_the_user() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "a"}
    document = [HELLO, assistant({"type": "document", "source": source}), HELLO]
    cited = user({"type": "text", "text": "a", "citations": [{"type": "char_location"}]})
    assert said_to(*document) == said_to(cited) == ""
    said = said_to(*document, version="2026-10-21")
    assert said == "`document` blocks are not supported in assistant messages: messages.1.content.0"
    said = said_to(cited, version="2026-10-21")
    assert said == "messages.0.content.0.text.citations: citations are not supported in user messages"


CITED = {"type": "text", "text": "a", "citations": [{"type": "char_location"}]}


def found(*texts: dict[str, Any]) -> list[Any]:
    """A conversation with a search result that a tool brought."""
    page = {"type": "search_result", "source": "s", "title": "t", "content": list(texts)}
    brought = {"type": "tool_result", "tool_use_id": "c1", "content": [page]}
    return [HELLO, assistant(call()), user(brought)]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (
            found({"type": "text", "text": "b"}, CITED),
            "messages.2.content.0.content.0.content.1.text.citations: citations are not supported in tool "
            "results",
        ),
        (found({"type": "text", "text": "b"}), ""),
        ([HELLO, assistant(CITED), HELLO], ""),
        ([user({**CITED, "citations": []})], ""),
        ([user({"type": "document", "source": {}, "citations": {"enabled": True}})], ""),
        (
            [HELLO, assistant(call()), user({**result(), "content": [{"type": "document", "source": {}}]})],
            "",
        ),
    ],
)
def test_the_newer_version_looks_into_results_and_nowhere_else(messages: list[Any], said: str) -> None:
    ways: list[dict[str, Any]] = [{}, {"counting": True}, {"batched": True}]
    for given in ways:
        assert said_to(*messages, version="2026-10-21", **given) == said
        assert said_to(*messages, **given) == ""
