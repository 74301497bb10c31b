"""`tool_choice`: what it may say, whether it names a tool that is there, and who can be forced."""

from collections.abc import Iterator

from gateway.simulator.rules.case import EXTRA, Case, Json, Rule
from gateway.simulator.rules.lineup import OPUS_4_7, OPUS_4_8, SONNET_5


def tool_choice_fits_the_tools(case: Case) -> Iterator[str]:
    choice: Json | None = case.body.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type")
    if kind not in ("auto", "any", "tool", "none"):
        yield (
            f"tool_choice: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            "'any', 'auto', 'none', 'tool'"
        )
        return
    known = {"type"} if kind == "none" else {"type", "disable_parallel_tool_use"}
    known |= {"name"} if kind == "tool" else set()
    yield from (f"tool_choice.{kind}.{key}: {EXTRA}" for key in choice if key not in known)
    tools: list[Json] = case.body.get("tools") or []
    if not tools:
        yield "tool_choice: may only be specified while providing tools"
    elif kind == "tool" and "name" not in choice:
        yield "tool_choice.tool.name: Field required"
    elif kind == "tool" and choice["name"] not in [tool.get("name") for tool in tools]:
        yield f"Tool '{choice['name']}' not found in provided tools"


def forced_tools_are_supported(case: Case) -> Iterator[str]:
    if not case.forces_tool:
        return
    rule = case.model.forced_tool
    if case.model.id == SONNET_5 and case.switches.on("bedrock"):
        rule = "thinking_off"
    if case.model.id in (OPUS_4_7, OPUS_4_8) and case.switches.forced_while_adaptive:
        rule = "always"
    if rule == "never":
        yield 'tool_choice: type "tool" and "any" are not supported for this model.'
    elif rule == "thinking_off" and case.thinks:
        yield "Thinking may not be enabled when tool_choice forces tool use."


RULES: tuple[Rule, ...] = (tool_choice_fits_the_tools,)
