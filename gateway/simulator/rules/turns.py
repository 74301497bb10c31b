"""Who speaks when, and what the operator says between the turns: roles, system messages, per-message effort,
tools that come and go.

A system message follows a user turn or a server tool's result, and is last or followed by the assistant; it
is never first. It holds text, and under their betas changes of the tools: by reference, or by value too.
`clear_at` makes its text go away at the user's next message. `output_config.effort` changes the effort from
there on.
"""

from collections.abc import Iterator

from gateway.compat.catalog import EFFORTS
from gateway.simulator.rules.case import EXTRA, Case, Coded, Json, Rule
from gateway.simulator.rules.lineup import COVERED_FROM_5_1, NEWEST, OPUS_5, SONNET_5

PER_MESSAGE_EFFORT = COVERED_FROM_5_1 | NEWEST | {OPUS_5}
PER_MESSAGE_EFFORT_BETAS = frozenset({
    "mid-conversation-output-config-2026-07-01", "mid-conversation-effort-2026-08-01",
    "per-turn-control-2026-07-01",
})  # fmt: skip
CLEAR_AT_BETAS = frozenset({"mid-conversation-system-clear-at-2026-08-21"})
TOOL_CHANGES_BETA = "mid-conversation-tool-changes-2026-07-01"
INLINE_TOOLS_BETA = "inline-tools-2026-09-15"
REFERENCES = ("tool_reference", "mcp_tool_reference", "mcp_toolset_reference")
NO_EFFORT_PER_TURN = (
    "output_config.effort requires a model that supports per-turn effort; this model does not"
)
CHANGES = ("tool_addition", "tool_removal")


def blocks_of(message: Json) -> list[Json]:
    """The content of a message as blocks; a string is one text block."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def roles_are_in_order(case: Case) -> Iterator[str]:
    previous: Json = {}
    for index, message in enumerate(case.messages):
        role = message["role"]
        if role == "system":
            yield from _system_turn(case, index, previous)
        elif not previous and role != "user" and not _is_summary(message):
            yield 'messages: first message must use the "user" role'
        elif role == previous.get("role") and case.switches.strict_roles:
            yield 'messages: roles must alternate between "user" and "assistant"'
        previous = message


def _is_summary(message: Json) -> bool:
    """Whether a message begins with what came before it, summed up."""
    return bool(blocks_of(message)) and blocks_of(message)[0]["type"] == "compaction"


def takes_system_turns(case: Case) -> bool:
    """Whether the operator may speak in the middle of the conversation."""
    if case.switches.on("foundry"):
        return False
    asked = case.model.id == SONNET_5 and case.switches.sonnet_5_system_turns
    return case.model.mid_conversation_system or asked


def _system_turn(case: Case, index: int, previous: Json) -> Iterator[str]:
    message, rest = case.messages[index], case.messages[index + 1 :]
    if not takes_system_turns(case):
        yield "role 'system' is not supported on this model"
    elif index == 0:
        yield "messages.0: use the top-level 'system' parameter for the initial system prompt"
    elif previous["role"] == "system" or (
        previous["role"] == "assistant" and not _ends_in_server_result(previous)
    ):
        yield f"messages.{index}: a 'system' message must follow a user turn or a server tool result"
    elif rest and rest[0]["role"] == "user":
        yield f"messages.{index}: a 'system' message must be last or be followed by an assistant turn"
    if any(block["type"] not in ("text", *CHANGES) for block in blocks_of(message)):
        yield f"messages.{index}: 'system' messages may only contain text"
    if "clear_at" in message:
        yield from _cleared(f"messages.{index}", message)


def _cleared(path: str, message: Json) -> Iterator[str]:
    """What a message that goes away may not hold."""
    if message["clear_at"] not in (None, "never", "next_user_message"):
        yield f"{path}.clear_at: Input should be 'next_user_message' or 'never'"
    elif message["clear_at"] == "next_user_message":
        if any(block["type"] != "text" for block in blocks_of(message)):
            yield f"{path}.clear_at: a message that is cleared may only contain text"
        if any(block.get("cache_control") for block in blocks_of(message)):
            yield f"{path}.clear_at: cache_control is not allowed on a message that is cleared"
        if message.get("output_config"):
            yield f"{path}.clear_at: output_config is not allowed on a message that is cleared"


def _ends_in_server_result(message: Json) -> bool:
    kind = blocks_of(message)[-1]["type"] if blocks_of(message) else ""
    return kind.endswith("_tool_result") and kind != "tool_result"


def effort_per_message_is_allowed(case: Case) -> Iterator[str]:
    before = case.effort
    for index, message in enumerate(case.messages):
        if not isinstance(config := message.get("output_config"), dict):
            continue
        effort = config.get("effort")
        if effort is None:
            continue
        if case.model.id not in PER_MESSAGE_EFFORT:
            bedrock = f"messages.{index}.output_config: {EXTRA}"
            yield bedrock if case.switches.on("bedrock") else NO_EFFORT_PER_TURN
        elif effort not in EFFORTS:
            path = f"messages.{index}.output_config.effort"
            yield f"{path}: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
        elif not case.thinks and effort != before:
            yield (
                f"messages.{index}: output_config.effort '{effort}' differs from the '{before}' "
                "in effect before it; effort cannot change while thinking is off"
            )
        before = effort


def tool_changes_are_allowed(case: Case) -> Iterator[str]:
    """Tools come and go by reference to one that is known, or by value."""
    known: set[str] | None = None
    for index, message in enumerate(case.messages):
        for position, block in enumerate(blocks_of(message) if message["role"] == "system" else ()):
            if block["type"] not in CHANGES:
                continue
            if known is None:
                known = {str(tool.get("name") or tool.get("type")) for tool in case.body.get("tools") or []}
            yield from _tool_change(case, f"messages.{index}.content.{position}", block, known)


def _tool_change(case: Case, path: str, block: Json, known: set[str]) -> Iterator[str]:
    kind, tool = block["type"], block.get("tool")
    given = tool.get("type") if isinstance(tool, dict) else None
    inline = INLINE_TOOLS_BETA in case.betas
    if not inline and TOOL_CHANGES_BETA not in case.betas:
        yield f"{path}: Input tag '{kind}' found using 'type' does not match any of the expected tags: 'text'"
    elif not isinstance(tool, dict):
        yield f"{path}.{kind}.tool: Field required"
    elif given == "tool_definition" and kind == "tool_addition" and inline:
        name = str((tool.get("definition") or {}).get("name"))
        if name in known:
            yield Coded(f"{path}.{kind}.tool: a tool named '{name}' is defined already", "tool_name_conflict")
        known.add(name)
    elif given not in REFERENCES:
        tags = ", ".join(f"'{tag}'" for tag in REFERENCES)
        yield f"{path}.{kind}.tool: Input tag '{given}' does not match any of the expected tags: {tags}"
    elif given == "tool_reference" and tool.get("name") not in known:
        message = f"{path}.{kind}.tool: no tool named '{tool.get('name')}' is declared"
        yield Coded(message, "tool_reference_unresolved")


RULES: tuple[Rule, ...] = (
    roles_are_in_order,
    effort_per_message_is_allowed,
    tool_changes_are_allowed,
)
