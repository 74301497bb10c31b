"""Answers that arrive whole and are no use: what the faults of quality make of one.

`bad_json` breaks what reads as JSON, by the conversation's digest: its last bracket is missing, or a sentence
stands before it. A continuation of a prefill can only lose its end. `bad_tool_input` leaves out a field that
the tool requires, or gives one the wrong type. Where there is nothing to break, the answer stays as it is.
`verbose` says everything at greater length: prose goes on, and of JSON and calls only the bill grows, as if
more had been thought.
"""

from dataclasses import replace

from gateway.core.types import parse_json
from gateway.simulator.replies import intent
from gateway.simulator.replies.documents import words
from gateway.simulator.replies.reply import Reply
from gateway.simulator.replies.tokens import count_text, cut_text
from gateway.simulator.rules.case import Case, Json
from gateway.simulator.rules.conversation import prefill_text

PREAMBLE = "Sure! Here is the JSON that you asked for:\n\n"


def broken_json(case: Case, reply: Reply) -> Reply:
    """The reply with its JSON broken."""
    begun = prefill_text(case)
    told = None if begun else intent.given_beginning(case)
    beginnings = dict.fromkeys(("", begun, told.text if told else ""))
    for index, block in enumerate(reply.content):
        if block["type"] == "text" and any(_is_json(start + block["text"]) for start in beginnings):
            cut = begun or told or intent.conversation_seed(case)[0] % 2
            text = _without_end(block["text"]) if cut else PREAMBLE + block["text"]
            return _with_block(reply, index, {**block, "text": text})
    return reply


def _is_json(text: str) -> bool:
    stripped = text.strip().removeprefix("```json").removesuffix("```")
    try:
        return isinstance(parse_json(stripped), dict | list)
    except ValueError:
        return False


def _without_end(text: str) -> str:
    return text[: max(text.rfind("}"), text.rfind("]"))]


def bad_tool_input(case: Case, reply: Reply) -> Reply:
    """The reply with a call whose input misses its tool's schema."""
    tools = {tool.get("name"): tool for tool in intent.offered(case)}
    for index, block in enumerate(reply.content):
        if block["type"] == "tool_use" and (schema := tools.get(block["name"], {}).get("input_schema")):
            return _with_block(reply, index, {**block, "input": _missing(schema, block["input"])})
    return reply


def _missing(schema: Json, given: Json) -> Json:
    if required := schema.get("required"):
        return {key: value for key, value in given.items() if key != required[0]}
    for key, one in (schema.get("properties") or {}).items():
        if one.get("type"):
            return {**given, key: 7 if "string" in one["type"] else "seven"}
    return given


def verbose(case: Case, reply: Reply, factor: float) -> Reply:
    """The reply at `factor` times its length, as far as there is room."""
    wanted = round(reply.output_tokens * factor)
    total = max(reply.output_tokens, min(wanted, case.body.get("max_tokens", wanted)))
    longer = replace(reply, output_tokens=total)
    texts = [index for index, block in enumerate(reply.content) if block["type"] == "text"]
    text: str = reply.content[texts[-1]]["text"] if texts else ""
    if reply.stop_reason != "end_turn" or not text or _is_json(prefill_text(case) + text):
        return longer
    room = total - reply.output_tokens + count_text(text, case.model)
    more = " ".join(words(intent.conversation_seed(case) + b"verbose", room)).capitalize()
    shown = cut_text(f"{text} {more}", room, case.model)
    if total < wanted:
        longer = replace(longer, stop_reason="max_tokens")
    return _with_block(longer, texts[-1], {**reply.content[texts[-1]], "text": shown})


def _with_block(reply: Reply, index: int, block: Json) -> Reply:
    return replace(reply, content=[*reply.content[:index], block, *reply.content[index + 1 :]])
