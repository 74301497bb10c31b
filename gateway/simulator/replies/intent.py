"""What a conversation asks the model to do, as far as a simulated model understands it.

It understands a few things, always in the same way:

- **Tools.** With `tool_choice` any or tool it calls. Otherwise it calls when the last turn says so ("use the
  tool", "call get_weather", "invoke the search tool"); the tool that is named, else the first. A request with
  two or more tools of the client's is an agent's: it makes one to three rounds of calls per question, as the
  question's digest says, then answers. "in parallel" makes two calls at once, unless parallel use is switched
  off. Tools that were removed in the conversation are not called, those that were added are.
- **A tool line.** What stands behind the question (a system message, or a last text block of its own) and
  speaks of calling a tool decides alone: the model calls what the line names, or the first tool, or nothing,
  as `Switches.obeys_tool_line` says.
- **JSON.** "reply with JSON", "answer with one JSON object only" and the like, in the last turn or the system
  prompt, get a JSON object with the fields that the prompt names.
- **A beginning.** "begin your reply with ..." or "your reply has already begun with ...", and the characters
  in quotes, backticks, a fence or a tag.

Only text of the last turn counts (and of a system message behind it), so an old instruction is not followed
again.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from gateway.core.types import parse_json, to_json
from gateway.simulator.replies.documents import sample
from gateway.simulator.rules.case import Case, Json
from gateway.simulator.rules.tools.kinds import TOOLSETS
from gateway.simulator.rules.turns import blocks_of

TYPED_TOOL_INPUTS: dict[str, Json] = {
    "bash": {"command": "ls -la"},
    "text_editor": {"command": "view", "path": "/work"},
    "computer": {"action": "screenshot"},
    "memory": {"command": "view", "path": "/memories"},
}
"""What is sent to tools whose schema the vendor defines, by the beginning of their type."""

_VERB = r"\b(?:use|call|invoke)s?\b"
_USE_A_TOOL = re.compile(_VERB + r"[^.\n]{0,80}\btools?\b", re.IGNORECASE)
_JSON = re.compile(
    r"\b(?:only|return|reply|respond|answer|output|produce|give)\b[^.\n]{0,60}\bjson\b", re.IGNORECASE
)
_BEGIN = re.compile(r"\b(?:begins?|begun|beginning|starts?|started|starting)\b", re.IGNORECASE)
_ONCE = re.compile(r"\b(?:do not|don't|without|never) repeat", re.IGNORECASE)
_GIVEN = re.compile(
    r"<(?P<tag>[\w-]+)>(?P<inner>.+?)</(?P=tag)>"
    r"|```\w*\n(?P<fence>.+?)\n```"
    r'|(?P<json>"(?:[^"\\\n]|\\.)+")'
    r"|`(?P<tick>[^`\n]+)`",
    re.DOTALL,
)
_CALLING = re.compile(r"\b(?:us(?:e|es|ing)|call(?:s|ed|ing)?|invok(?:e|es|ing))\b", re.IGNORECASE)
_NEGATED = re.compile(
    r"\b(?:do not|don't|must not|never|without|instead of)\b[^.\n]{0,40}"
    r"\b(?:us(?:e|ing)|call(?:ing)?|invok(?:e|ing))\b[^.\n]*",
    re.IGNORECASE,
)
_TOOL_OR_CALL = re.compile(r"\btools?\b|\bcall(?:ing)?\b", re.IGNORECASE)
_NEAR = 400
"""How many characters may stand between the verb and what it is about."""


def conversation_seed(case: Case) -> bytes:
    """What the values of an answer are chosen by: the conversation alone, so that models agree on them."""
    return hashlib.sha256(to_json([case.body.get("system"), case.messages])).digest()


def last_text(case: Case) -> str:
    """The text of the last user turn, and of system messages behind it; a prefill is not looked at."""
    return case.once("last text", lambda: _last_text(case))


def _last_text(case: Case) -> str:
    texts: list[str] = []
    for message in reversed(case.messages):
        if message["role"] != "assistant":
            texts = [block["text"] for block in blocks_of(message) if block["type"] == "text"] + texts
        if message["role"] == "user":
            break
    return "\n".join(texts)


def prompt_text(case: Case) -> str:
    """The system prompt and the last turn."""
    system = case.body.get("system") or ""
    blocks = blocks_of({"content": system})
    return "\n".join([*(str(block.get("text", "")) for block in blocks), last_text(case)])


def wants_json(case: Case) -> bool:
    return _JSON.search(prompt_text(case)) is not None


@dataclass(frozen=True, slots=True)
class Beginning:
    """The characters that a reply is told to begin with."""

    text: str
    only_the_rest: bool
    """Whether it is told not to repeat them."""


def given_beginning(case: Case) -> Beginning | None:
    """What the reply is told to begin with, if anything; told several times, the last counts."""
    text, told, place = last_text(case), None, 0
    while verb := _BEGIN.search(text, place):
        place = verb.end()
        given = _GIVEN.search(text, place)
        if given and given.start() - place <= _NEAR:
            once = _ONCE.search(text, place, given.start()) is not None
            told = Beginning(
                _literal(given["json"]) or given["inner"] or given["fence"] or given["tick"], once
            )
            # What is given may hold such a verb itself.
            place = given.end()
    return told


def _literal(quoted: str | None) -> str:
    """What a text in quotes says: as a JSON string if it is one, else as it stands."""
    if not quoted:
        return ""
    try:
        return str(parse_json(quoted))
    except ValueError:
        return quoted[1:-1]


def tool_calls(case: Case, seed: bytes, *, obeys: bool = True) -> list[tuple[str, Json]]:
    """The tools to call now, with their inputs; none when the model answers in text."""
    tools = [tool for tool in offered(case) if _is_clients(tool)]
    choice: Json = case.body.get("tool_choice") or {"type": "auto"}
    if not tools or choice["type"] == "none":
        return []
    if choice["type"] == "tool":
        tools = [tool for tool in tools if tool["name"] == choice["name"]]
    named = _named(case, tools)
    if (line := tool_line(case)) and not case.forces_tool:
        if not obeys:
            return []
        named = _mentioned(line, tools) or tools[:1]
    if not case.forces_tool and not named and not _asked(case, tools, seed):
        return []
    parallel = "in parallel" in last_text(case).lower() and not choice.get("disable_parallel_tool_use")
    chosen = named or [
        tools[seed[1] % len(tools)] if _is_agents(tools) and choice["type"] == "auto" else tools[0]
    ]
    count = 2 if parallel else 1
    return [(tool["name"], _input(tool, seed + bytes([n]))) for n in range(count) for tool in chosen[:1]]


def offered(case: Case) -> list[Json]:
    """The tools that have a name, as the conversation left them; of a toolset, its screenshot."""
    tools: dict[str, Json] = {}
    for tool in case.body.get("tools") or []:
        family = TOOLSETS.get(str(tool.get("type")))
        if family:
            tools[family] = {"name": "screenshot", "type": tool["type"], "toolset": family}
        elif "name" in tool:
            tools[tool["name"]] = tool
    known = dict(tools)
    for message in case.messages:
        for block in blocks_of(message) if message["role"] == "system" else ():
            _change(block, tools, known)
    return list(tools.values())


def _change(block: Json, tools: dict[str, Json], known: dict[str, Json]) -> None:
    """Do to `tools` what a block says; `known` are all that were ever defined."""
    given = block.get("tool")
    if not isinstance(given, dict):
        return
    definition = given.get("definition")
    name = str((definition or given).get("name"))
    if block["type"] == "tool_removal":
        tools.pop(name, None)
    elif block["type"] == "tool_addition":
        if isinstance(definition, dict):
            known[name] = definition
        if name in known:
            tools[name] = known[name]


def toolset_of(case: Case, name: str) -> str | None:
    """The family of a toolset's member."""
    families = (tool["toolset"] for tool in offered(case) if tool["name"] == name and "toolset" in tool)
    return next(families, None)


def program_calling(case: Case, name: str) -> str | None:
    """The kind of program that calls a tool which the model may not call directly."""
    for tool in case.body.get("tools") or []:
        callers = tool.get("allowed_callers") or ["direct"]
        if tool.get("name") == name and "direct" not in callers:
            return str(callers[0])
    return None


def tool_line(case: Case) -> str:
    """What stands behind the question and speaks of calling a tool; empty when nothing does."""
    lines: list[str] = []
    for message in reversed(case.messages):
        texts = [block["text"] for block in blocks_of(message) if block["type"] == "text"]
        if message["role"] == "user":
            lines += texts[-1:] if len(blocks_of(message)) > 1 else []
            break
        if message["role"] == "system":
            lines += texts
    line = _NEGATED.sub("", "\n".join(lines))
    return line if _CALLING.search(line) and _TOOL_OR_CALL.search(line) else ""


def _mentioned(line: str, tools: list[Json]) -> list[Json]:
    """The tools that a line names, in the order in which it does."""
    places = {
        tool["name"]: re.search(rf"(?<![\w-]){re.escape(tool['name'])}(?![\w-])", line) for tool in tools
    }
    found = [(place.start(), tool) for tool in tools if (place := places[tool["name"]])]
    return [tool for _, tool in sorted(found, key=lambda item: item[0])]


def between_calls(case: Case) -> bool:
    """Whether the last turn brings the result of a tool."""
    return any(block["type"] == "tool_result" for block in blocks_of(case.messages[-1]))


def _is_clients(tool: Json) -> bool:
    kind = tool.get("type", "custom")
    return (
        kind in (None, "custom")
        or "toolset" in tool
        or any(str(kind).startswith(prefix) for prefix in TYPED_TOOL_INPUTS)
    )


def _is_agents(tools: list[Json]) -> bool:
    return len(tools) >= 2


def _named(case: Case, tools: list[Json]) -> list[Json]:
    text = last_text(case)
    return [tool for tool in tools if re.search(rf"{_VERB}[^.\n]{{0,80}}\b{re.escape(tool['name'])}\b", text)]


def _asked(case: Case, tools: list[Json], seed: bytes) -> bool:
    if _USE_A_TOOL.search(last_text(case)):
        return True
    if not _is_agents(tools):
        return False
    rounds, question = 0, b""
    for message in reversed(case.messages):
        if message["role"] != "user":
            continue
        if not any(block["type"] == "tool_result" for block in blocks_of(message)):
            question = to_json(message["content"])
            break
        rounds += 1
    return rounds < 1 + hashlib.sha256(question).digest()[0] % 3


def _input(tool: Json, seed: bytes) -> Json:
    kind = str(tool.get("type", "custom"))
    if "toolset" in tool:
        return {}
    for prefix, given in TYPED_TOOL_INPUTS.items():
        if kind.startswith(prefix):
            return given
    value: Any = sample(tool["input_schema"], seed)
    return value if isinstance(value, dict) else {}
