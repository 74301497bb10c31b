"""What a conversation must look like: turns, blocks, tool calls with their results, and the last turn.

Every rule takes a `Case` and yields the message of each 400 that it finds, in the order of the messages.
Rules in `SHAPE` come first and may assume nothing; those in `FEATURES` run only on conversations that passed
all of `SHAPE`.

A path in a message is the API's own: `messages.3.content.0`, followed by the block's type where a field of
the block is meant.
"""

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from gateway.simulator.rules.bindings.checks import broken_signatures, open_rounds_keep_their_thinking
from gateway.simulator.rules.case import EXTRA, SAMPLING_FREE_VERSION, Case, Json, Rule
from gateway.simulator.rules.turns import CLEAR_AT_BETAS, PER_MESSAGE_EFFORT_BETAS, blocks_of
from gateway.simulator.rules.turns import RULES as TURNS

ROLES = ("user", "assistant", "system")

BLOCK_KEYS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "text": (frozenset({"text"}), frozenset({"cache_control", "citations"})),
    "image": (frozenset({"source"}), frozenset({"cache_control"})),
    "document": (frozenset({"source"}), frozenset({"cache_control", "citations", "context", "title"})),
    "tool_use": (frozenset({"id", "name", "input"}), frozenset({"cache_control", "caller", "toolset_name"})),
    "tool_result": (
        frozenset({"tool_use_id"}),
        frozenset({"cache_control", "content", "is_error", "toolset_name"}),
    ),
    "thinking": (frozenset({"thinking", "signature"}), frozenset()),
    "redacted_thinking": (frozenset({"data"}), frozenset()),
}
"""Required and optional fields of the blocks whose fields are checked."""

STRINGS = frozenset({"text", "id", "name", "tool_use_id", "thinking", "signature", "data"})
"""The fields among them that hold a string."""

OTHER_BLOCKS = frozenset({
    "advisor_tool_result", "bash_code_execution_tool_result", "browser_state", "code_execution_tool_result",
    "compaction", "container_upload", "fallback", "mcp_tool_listing", "mcp_tool_result", "mcp_tool_use",
    "search_result", "server_tool_use", "text_editor_code_execution_tool_result", "tool_addition",
    "tool_reference", "tool_removal", "tool_search_tool_result", "web_fetch_tool_result",
    "web_search_tool_result",
})  # fmt: skip
"""The blocks that pass whatever they hold."""

ONLY_IN: Mapping[str, str] = {
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_result": "user",
    "tool_addition": "system",
    "tool_removal": "system",
}

NO_PREFILL = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)


def is_prefill(case: Case) -> bool:
    """Whether the conversation ends with the beginning of the answer.

    A paused turn that is sent back (it ends in a server tool's block) and the turn that redeems a fallback
    credit end with the assistant too, and are none.
    """
    last = case.messages[-1]
    if last["role"] != "assistant" or case.body.get("fallback_credit_token"):
        return False
    kind = blocks_of(last)[-1]["type"] if blocks_of(last) else ""
    return not (kind == "server_tool_use" or (kind.endswith("_tool_result") and kind != "tool_result"))


def prefill_text(case: Case) -> str:
    """The text that the answer must continue, which may stand in several turns; empty when there is none."""
    if not is_prefill(case):
        return ""
    turns = takewhile(lambda message: message["role"] == "assistant", reversed(case.messages))
    texts = ["".join(block["text"] for block in blocks_of(turn) if block["type"] == "text") for turn in turns]
    return "".join(reversed(texts))


# --- shape --------------------------------------------------------------------------------------------------


def messages_are_a_list(case: Case) -> Iterator[str]:
    if "messages" not in case.body:
        yield "messages: Field required"
    elif not isinstance(case.body["messages"], list):
        yield "messages: Input should be a valid list"
    elif not case.body["messages"]:
        yield "messages: at least one message is required"


def messages_have_a_shape(case: Case) -> Iterator[str]:
    messages: list[Any] = case.body["messages"]
    for index, message in enumerate(messages):
        path = f"messages.{index}"
        if not isinstance(message, dict):
            yield f"{path}: Input should be a valid dictionary"
        elif (role := message.get("role")) not in ROLES:
            unknown = f'messages: Unexpected role "{role}". Allowed roles are "user" or "assistant".'
            yield unknown if "role" in message else f"{path}.role: Field required"
        else:
            yield from _extra_message_keys(case, path, message)
            yield from _content_has_a_shape(path, message)


def _extra_message_keys(case: Case, path: str, message: Json) -> Iterator[str]:
    known = {"role", "content"}
    if message["role"] == "system":
        known |= {"output_config"} if case.betas & PER_MESSAGE_EFFORT_BETAS else set()
        known |= {"clear_at"} if case.betas & CLEAR_AT_BETAS else set()
    yield from (f"{path}.{key}: {EXTRA}" for key in message if key not in known)


def _content_has_a_shape(path: str, message: Json) -> Iterator[str]:
    content = message.get("content")
    if "content" not in message:
        yield f"{path}.content: Field required"
    elif isinstance(content, list):
        yield from blocks_have_a_shape(f"{path}.content", content, message["role"])
    elif not isinstance(content, str):
        yield f"{path}.content: Input should be a valid string"


def blocks_have_a_shape(path: str, blocks: list[Any], role: str) -> Iterator[str]:
    """Yield what is wrong with the blocks that stand at `path`."""
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            yield f"{path}.{index}: Input should be an object"
        elif not isinstance(block.get("type"), str):
            yield f"{path}.{index}.type: Field required"
        else:
            yield from _block_has_a_shape(f"{path}.{index}", block, role)


def _block_has_a_shape(path: str, block: Json, role: str) -> Iterator[str]:
    kind = block["type"]
    if (home := ONLY_IN.get(kind, role)) != role:
        yield f"{path.split('.content')[0]}: `{kind}` blocks can only be in `{home}` messages"
    if kind in OTHER_BLOCKS:
        return
    if kind not in BLOCK_KEYS:
        tags = ", ".join(f"'{tag}'" for tag in sorted({*BLOCK_KEYS, *OTHER_BLOCKS}))
        yield f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}"
        return
    required, optional = BLOCK_KEYS[kind]
    yield from (f"{path}.{kind}.{key}: Field required" for key in sorted(required) if key not in block)
    for key, value in block.items():
        if key not in required and key not in optional and key != "type":
            yield f"{path}.{kind}.{key}: {EXTRA}"
        elif key in required & STRINGS and not isinstance(value, str):
            yield f"{path}.{kind}.{key}: Input should be a valid string"


# --- features -----------------------------------------------------------------------------------------------


def content_is_not_empty(case: Case) -> Iterator[str]:
    last = len(case.messages) - 1
    for index, message in enumerate(case.messages):
        blocks = blocks_of(message)
        empty = not blocks or (isinstance(message["content"], str) and not message["content"])
        may_be = "output_config" in message or (index == last and message["role"] == "assistant")
        if empty and not may_be:
            yield (
                f"messages.{index}: all messages must have non-empty content "
                "except for the optional final assistant message"
            )
        elif not empty and any(block["type"] == "text" and not block["text"] for block in blocks):
            yield "messages: text content blocks must be non-empty"


def tool_calls_have_results(case: Case) -> Iterator[str]:
    turns = _merged_turns(case)
    called: set[str] = set()
    for number, turn in enumerate(turns):
        for path, block in turn:
            if block["type"] == "tool_result" and block["tool_use_id"] not in called:
                yield (
                    f"{path}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block['tool_use_id']}. Each `tool_result` block must have a corresponding `tool_use` "
                    "block in the previous message."
                )
        following = turns[number + 1] if number + 1 < len(turns) else []
        results = {block["tool_use_id"] for _, block in following if block["type"] == "tool_result"}
        called = {block["id"] for _, block in turn if block["type"] == "tool_use"}
        missing = [(path, block["id"]) for path, block in turn if block.get("id") in called - results]
        if missing:
            yield (
                f"{missing[0][0].split('.content')[0]}: `tool_use` ids were found without `tool_result` "
                f"blocks immediately after: {', '.join(call for _, call in missing)}. Each `tool_use` block "
                "must have a corresponding `tool_result` block in the next message."
            )


def _merged_turns(case: Case) -> list[list[tuple[str, Json]]]:
    """The blocks of each turn with their paths; messages of one role in a row are one turn."""
    turns: list[list[tuple[str, Json]]] = []
    role = ""
    for index, message in enumerate(case.messages):
        if message["role"] == "system":
            continue
        if message["role"] != role:
            turns.append([])
            role = message["role"]
        turns[-1] += [(f"messages.{index}.content.{n}", block) for n, block in enumerate(blocks_of(message))]
    return turns


def the_version_allows_it(case: Case) -> Iterator[str]:
    """Documents of the assistant and citations of the user ended with the newer API version."""
    if case.version != SAMPLING_FREE_VERSION:
        return
    for index, message in enumerate(case.messages):
        for position, block in enumerate(blocks_of(message)):
            path = f"messages.{index}.content.{position}"
            if block["type"] == "document" and message["role"] == "assistant":
                yield f"`document` blocks are not supported in assistant messages: {path}"
            if block["type"] == "text" and block.get("citations") and message["role"] == "user":
                yield f"{path}.text.citations: citations are not supported in user messages"
            if block["type"] == "tool_result":
                yield from _cited_results(path, block)


def _cited_results(path: str, result: Json) -> Iterator[str]:
    """Citations inside the search results that a tool brought."""
    for number, part in enumerate(blocks_of(result)):
        for place, text in enumerate(blocks_of(part) if part.get("type") == "search_result" else ()):
            if text.get("citations"):
                where = f"{path}.content.{number}.content.{place}.text.citations"
                yield f"{where}: citations are not supported in tool results"


def the_last_turn_is_the_users(case: Case) -> Iterator[str]:
    if not is_prefill(case):
        return
    if not case.model.prefill:
        yield NO_PREFILL
        return
    index, blocks = len(case.messages) - 1, blocks_of(case.messages[-1])
    if case.thinks and (not blocks or blocks[0]["type"] not in ("thinking", "redacted_thinking")):
        yield _thinking_first(index, blocks[0]["type"] if blocks else "text")
    if case.output_format is not None:
        yield "output_config.format: structured outputs cannot be combined with an assistant message prefill"
    if (text := prefill_text(case)) and text != text.rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"


def manual_thinking_opens_tool_turns(case: Case) -> Iterator[str]:
    """With a thinking budget, the turn whose tool results come now must begin with its thinking block."""
    if case.thinking_type != "enabled" or len(case.messages) < 2:
        return
    turn, result = case.messages[-2:]
    if turn["role"] != "assistant" or not any(block["type"] == "tool_result" for block in blocks_of(result)):
        return
    first = blocks_of(turn)[0]["type"] if blocks_of(turn) else "text"
    if first not in ("thinking", "redacted_thinking"):
        yield _thinking_first(len(case.messages) - 2, first)


def _thinking_first(index: int, found: str) -> str:
    return (
        f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. "
        "When `thinking` is enabled, a final `assistant` message must start with a thinking block "
        "(preceeding the lastmost set of `tool_use` and `tool_result` blocks). To avoid this requirement, "
        "disable `thinking`."
    )


SHAPE: tuple[Rule, ...] = (messages_are_a_list, messages_have_a_shape)
FEATURES: tuple[Rule, ...] = (
    *TURNS,
    content_is_not_empty,
    tool_calls_have_results,
    the_version_allows_it,
    open_rounds_keep_their_thinking,
    broken_signatures,
)
LAST_TURN: tuple[Rule, ...] = (the_last_turn_is_the_users, manual_thinking_opens_tool_turns)
