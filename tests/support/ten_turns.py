"""A conversation of ten turns as an agent has it, through the gateway and without.

The application was written for the source: it caches its tools, its system prompt and the newest turn, uses
tools, forces calls and begins answers where its model takes that, and sends back what it was shown. The other
one was written for the target and asks the target itself: the same words with the parameters that the rules
make of them, its own history. Both meet an upstream that holds every conversation to what it was.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.compat.catalog import Model
from gateway.compat.envelope import parse
from gateway.compat.request import Context, rewrite
from gateway.core.spec import CompatPolicy
from gateway.core.types import parse_json, to_json
from tests.support.answers import Json
from tests.support.every_way import Answer, Asking, Way, application

Thinks = Literal["asked", "unasked"]
TURNS = 10
FORCED_ANY, FORCED_NAMED, BEGUN = 2, 5, 7
"""Turns on which the application forces a call, forces a certain one, begins the answer."""
STRICT = "recent_account=true"
MARK: Json = {"cache_control": {"type": "ephemeral"}}
SYSTEM: list[Json] = [{"type": "text", "text": "You look after the accounts of a harbour. " * 700, **MARK}]
TOOLS: list[Json] = [
    {
        "name": tool,
        "description": about,
        "input_schema": {"type": "object", "properties": {"name": {"type": "string"}}},
    }
    for tool, about in (("look_up", "Look somebody up."), ("note", "Write something down."))
]
TOOLS[-1] |= MARK


@dataclass
class Met:
    """What one of the two met."""

    read: int = 0
    """Prompt tokens from the cache."""
    total: int = 0
    """All prompt tokens."""
    calls: int = 0
    thoughts: int = 0
    """Blocks that were shown."""
    wrong: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return self.read / self.total if self.total else 0.0

    def saw(self, message: Json) -> None:
        """Count an answer."""
        usage = message["usage"]
        cached = usage["cache_read_input_tokens"]
        self.read += cached
        self.total += cached + usage["input_tokens"] + usage["cache_creation_input_tokens"]
        kinds = [block["type"] for block in message["content"]]
        self.calls += kinds.count("tool_use")
        self.thoughts += kinds.count("thinking")


def options(source: Model, number: int, thinks: Thinks) -> Json:
    """Return what the application asks for on a turn, besides what it says."""
    fields: Json = {"max_tokens": 8000}
    if thinks == "asked":
        on = {"type": "adaptive"} if "adaptive" in source.thinking.types else {"type": "enabled"}
        fields["thinking"] = on if on["type"] == "adaptive" else {**on, "budget_tokens": 2000}
    may_force = source.forced_tool == "always" or (
        source.forced_tool == "thinking_off" and thinks == "unasked" and source.thinking.omitted == "off"
    )
    if beginning(source, number, thinks):
        fields["tool_choice"] = {"type": "none"}
    if may_force and number == FORCED_ANY:
        fields["tool_choice"] = {"type": "any"}
    if may_force and number == FORCED_NAMED:
        fields["tool_choice"] = {"type": "tool", "name": "note"}
    return fields


def beginning(source: Model, number: int, thinks: Thinks) -> str:
    """Return how the application begins the answer of a turn; empty: it does not."""
    return "In short:" if source.prefill and thinks == "unasked" and number == BEGUN else ""


def next_turn(turns: list[Json], number: int) -> list[Json]:
    """Return the conversation with the user's next turn; the cache marker moves there."""
    last = turns[-1]["content"] if turns else []
    found = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "Wilhelmina owes 42."}
        for block in last
        if block["type"] == "tool_use"
    ]
    said = {"type": "text", "text": f"Tell me about ship {number}; use the look_up tool.", **MARK}
    return [*map(_unmarked, turns), {"role": "user", "content": [*found, said]}]


def _unmarked(turn: Json) -> Json:
    if isinstance(turn["content"], str):
        return turn
    blocks = [
        {key: value for key, value in each.items() if key != "cache_control"} for each in turn["content"]
    ]
    return {**turn, "content": blocks}


async def through(gateway: Asking, way: Way, thinks: Thinks, key: str) -> Met:
    """Have the conversation through the gateway, as a user with a key and so a cache of its own, and say what
    the application would stumble over.
    """
    (source, target), met = way, Met()
    turns: list[Json] = []
    for number in range(TURNS):
        asked, begun = next_turn(turns, number), beginning(source, number, thinks)
        fields = options(source, number, thinks)
        body = {"model": application(way), "system": SYSTEM, "tools": TOOLS, **fields}
        sent = {**body, "messages": _begun(asked, begun)}
        answer = await _say(gateway, sent, number, x_api_key=key, x_gateway_unit=key)
        if answer.status != 200:
            met.wrong.append(f"turn {number}: {answer.status} {answer.body.decode()}")
            return met
        met.wrong += [f"turn {number}: {complaint}" for complaint in _noticed(answer, target, fields, thinks)]
        message = answer.message
        met.saw(message)
        turns = [*asked, {"role": "assistant", "content": _echo(message["content"], begun)}]
    return met


def _noticed(answer: Answer, target: Model, fields: Json, thinks: Thinks) -> list[str]:
    told, complaints = answer.headers, []
    if told["x-gateway-served-model"] != target.id or "x-gateway-fallback" in told:
        complaints.append(f"served by {told['x-gateway-served-model']}, {told.get('x-gateway-fallback')}")
    if "replay=" in told["x-gateway-rewrites"]:
        complaints.append("something of earlier turns is lost")
    kinds = [block["type"] for block in answer.message["content"]]
    if _forces(fields) and {*kinds} - {"thinking"} != {"tool_use"}:
        complaints.append(f"a forced call came as {kinds}")
    return complaints


def _forces(fields: Json) -> bool:
    return fields.get("tool_choice", {}).get("type") in ("any", "tool")


async def directly(target: Asking, way: Way, thinks: Thinks, key: str) -> Met:
    """Have the same conversation with the target itself, as an application that was written for it."""
    (source, model), met = way, Met()
    turns: list[Json] = []
    for number in range(TURNS):
        begun = beginning(source, number, thinks)
        messages = _begun(next_turn(turns, number), begun)
        body = {
            "model": source.id,
            "system": SYSTEM,
            "tools": TOOLS,
            **options(source, number, thinks),
            "messages": messages,
        }
        done = rewrite(parse(to_json(body)), source, model, CompatPolicy(), Context())
        sent: Any = parse_json(done.body)
        answer = await _say(target, sent, number, x_api_key=key, anthropic_beta=",".join(done.betas or ()))
        assert answer.status == 200, answer.body
        message = answer.message
        met.saw(message)
        turns = [*sent["messages"], {"role": "assistant", "content": message["content"]}]
    return met


async def _say(server: Asking, body: Json, number: int, **headers: str) -> Answer:
    """Ask; every other turn is streamed."""
    streamed = {**body, "stream": True} if number % 2 else body
    return await server.ask(streamed, x_simulator_switches=STRICT, **headers)


def _begun(turns: list[Json], begun: str) -> list[Json]:
    return [*turns, {"role": "assistant", "content": begun}] if begun else turns


def _echo(content: list[Json], begun: str) -> list[Json]:
    """Return an answer as the application sends it back: with its own beginning, if there was one."""
    if not begun:
        return content
    first = next(at for at, block in enumerate(content) if block["type"] == "text")
    whole = {"type": "text", "text": begun + content[first]["text"]}
    return [*content[:first], whole, *content[first + 1 :]]
