"""Turn after turn a conversation is said to a model in the same words.

A simulated application talks to a simulated model through the rules, the answer's way back and the notes, for
random pairs of models, policies and conversations. What the model is sent for one turn must begin, byte for
byte, with all that it was sent for the turn before, and go on with what it said itself.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gateway.compat.address import addresses
from gateway.compat.answer.kept import note_of
from gateway.compat.answer.response import restore
from gateway.compat.catalog import Model
from gateway.compat.envelope import Fields, parse, read
from gateway.compat.replay import Replay, pack, recollect, unpack
from gateway.compat.request import Context, Rewrite, obstacle, rewrite
from gateway.core.spec import CompatPolicy
from tests.support.rows import EVERY_PAIR, O45, O55, S45, S55, row

Json = dict[str, Any]

THINKING = ("thinking", "redacted_thinking")
SCHEMA: Json = {"type": "object", "properties": {"q": {"type": "string"}}, "additionalProperties": False}
TOOLS = [
    {"name": "look_up", "description": "x", "input_schema": {"type": "object"}},
    {"name": "strictly", "description": "y", "input_schema": {**SCHEMA, "required": ["q"]}},
]
PREFILLS = ("{", '{"a":', "Answer:", "I think that ", "", "[", "Let me\nsay: ")
CHOICES = (None, None, {"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "look_up"})
PAIRS = [(O45.id, O55.id), (S45.id, S55.id), *((source.id, target.id) for source, target in EVERY_PAIR)]
POLICIES = st.builds(
    CompatPolicy,
    prefill=st.sampled_from(["emulate", "control"]),
    forced_tool=st.sampled_from(["emulate", "emulate", "control"]),
    unasked_thinking=st.sampled_from(["hide", "hide", "show"]),
    progress_notes=st.sampled_from(["pass", "pass", "text"]),
    thinking=st.sampled_from(["preserve", "adopt"]),
)


@dataclass
class Turn:
    """What the application wants of one turn."""

    text: str
    choice: Json | None
    prefill: str | None
    thinks: bool
    system: bool
    says: str
    """What the model says."""
    thoughts: int
    """How many blocks it thinks, where it thinks."""
    calls: bool
    """Whether it calls a tool, where nobody asks for it."""


TURNS = st.builds(
    Turn,
    text=st.sampled_from(["x", "and y?", " spaced ", "käse\u2028"]),
    choice=st.sampled_from(CHOICES),
    prefill=st.sampled_from([None, None, None, *PREFILLS]),
    thinks=st.booleans(),
    system=st.booleans(),
    says=st.sampled_from(["yes", "  yes\n", '1, "b": 2}', "```json\n{}\n```", "{}"]),
    thoughts=st.integers(0, 2),
    calls=st.booleans(),
)


@dataclass
class Sent:
    """One request as the model got it."""

    rewritten: Rewrite
    past: Replay
    messages: list[bytes] = field(default_factory=list)
    rest: tuple[object, object] = (None, None)
    """System and tools."""
    said: list[Json] = field(default_factory=list)
    """The model's answer."""


class Conversation:
    """An application, the gateway's pure parts, and a model."""

    def __init__(self, source: Model, target: Model, policy: CompatPolicy, *, tools: bool) -> None:
        self.source, self.target, self.policy = source, target, policy
        self.fields: Json = {"system": "Be brief.", **({"tools": TOOLS} if tools else {})}
        self.history: list[Json] = []
        self.notes: dict[str, bytes] = {}
        self.sent: list[Sent] = []
        self.calls = 0

    def say(self, turn: Turn, *, unknown: frozenset[str] = frozenset()) -> None:
        """Do one turn; what control would have to serve is asked for without what is in the way."""
        for plain in (
            turn,
            replace(turn, prefill=None),
            replace(turn, prefill=None, choice=None, system=False),
        ):
            asked, own = self._asked(plain)
            envelope = parse(json.dumps(asked).encode())
            if obstacle(envelope, self.source, self.target, self.policy) is None:
                break
        notes = {digest: note for digest, data in self.notes.items() if (note := unpack(data))}
        past = recollect(addresses(envelope), notes, unknown)
        done = rewrite(envelope, self.source, self.target, self.policy, Context(past=past))
        if done.plan.hides_thinking or past.broken_at is not None:
            done = replace(done, plan=replace(done.plan, repeats=True))
        sent = Sent(done, past)
        body = read(Raw(done.body), Fields) or {}
        sent.messages = [bytes(raw) for raw in read(body["messages"], list[Raw]) or []]
        sent.rest = tuple(bytes(body[name]) if name in body else None for name in ("system", "tools"))  # type: ignore[assignment]
        sent.said = self._answer(json.loads(done.body), plain, done)
        self.sent.append(sent)
        self._take(envelope, sent, own, plain)

    def _asked(self, turn: Turn) -> tuple[Json, list[Json]]:
        """Return the request, and the turns of it that are new."""
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "42"}
            for block in (self.history[-1]["content"] if self.history else [])
            if block["type"] == "tool_use"
        ]
        user: Json = {"role": "user", "content": [*results, {"type": "text", "text": turn.text}]}
        new = [user if results else {"role": "user", "content": turn.text}]
        if turn.system and self.source.mid_conversation_system:
            new.append({"role": "system", "content": "From now on, in Dutch."})
        asked: Json = {"model": self.source.id, "max_tokens": 20_000, **self.fields}
        if turn.thinks and "enabled" in self.source.thinking.types:
            asked["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        elif turn.thinks and "adaptive" in self.source.thinking.types:
            asked["thinking"] = {"type": "adaptive"}
        elif turn.choice is not None and turn.choice["type"] in ("any", "tool") and "tools" in self.fields:
            asked["tool_choice"] = turn.choice
        messages = [*self.history, *new]
        if turn.prefill is not None and self.source.prefill and "thinking" not in asked:
            messages.append({"role": "assistant", "content": turn.prefill})
        return {**asked, "messages": messages}, new

    def _answer(self, asked: Json, turn: Turn, done: Rewrite) -> list[Json]:
        thinking = (asked.get("thinking") or {}).get("type", self.target.thinking.omitted)
        number = len(self.sent)
        on = thinking not in ("disabled", "off")
        blocks: list[Json] = [
            {"type": "thinking", "thinking": f"thought {number}.{each}", "signature": f"s{number}.{each}=="}
            for each in range(turn.thoughts if on else 0)
        ]
        forced = done.plan.forced
        choice = (asked.get("tool_choice") or {}).get("type")
        if forced is not None and forced.wrapped:
            return [*blocks, {"type": "text", "text": '{"q": "w"}'}]
        if "tools" in asked and (
            forced is not None or choice in ("any", "tool") or (turn.calls and not choice)
        ):
            self.calls += 1
            use = {"type": "tool_use", "id": f"toolu_{self.calls}", "name": "look_up", "input": {"q": "z"}}
            return [*blocks, use]
        repeated = done.plan.prefill if number % 2 else ""
        return [*blocks, {"type": "text", "text": repeated + turn.says}]

    def _take(self, envelope: Any, sent: Sent, own: list[Json], turn: Turn) -> None:
        stop = "tool_use" if sent.said[-1]["type"] == "tool_use" else "end_turn"
        message = {"id": f"msg_{len(self.sent)}", "type": "message", "role": "assistant", "model": "m"}
        answer = json.dumps({**message, "content": sent.said, "stop_reason": stop, "usage": {}}).encode()
        back = restore(answer, sent.rewritten.plan)
        shown: list[Json] = json.loads(back.body)["content"]
        if back.kept is not None:
            digests, note = note_of(envelope, sent.rewritten.edits, back.kept, sent.past)
            self.notes |= dict.fromkeys(digests, pack(note))
        begun = envelope.prefill.text if envelope.prefill is not None else ""
        if begun.strip():
            shown = with_beginning(shown, begun)
        self.history += [*own, {"role": "assistant", "content": shown}]


def plain(blocks: Any) -> list[Json]:
    """Return a content as far as the API compares it: no whitespace around texts, no blank texts."""
    blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
    trimmed = [
        {**block, "text": block["text"].strip()} if block["type"] == "text" else block for block in blocks
    ]
    return [block for block in trimmed if block != {"type": "text", "text": ""}]


def stem(sent: Sent) -> list[bytes]:
    """Return the messages that an answer goes on from, without a beginning of it that the model was given."""
    begun = json.loads(sent.messages[-1])["role"] == "assistant"
    return sent.messages[:-1] if begun else sent.messages


def with_beginning(blocks: list[Json], beginning: str) -> list[Json]:
    """Return an answer with the beginning that the application gave in front of what was said."""
    first = next((at for at, block in enumerate(blocks) if block["type"] not in THINKING), len(blocks))
    if blocks[first:] and blocks[first]["type"] == "text":
        whole = {"type": "text", "text": beginning + blocks[first]["text"]}
        return [*blocks[:first], whole, *blocks[first + 1 :]]
    return [*blocks[:first], {"type": "text", "text": beginning}, *blocks[first:]]


def steps(conversation: Conversation) -> Iterator[tuple[Sent, Sent]]:
    """Give each request together with the one before it."""
    yield from zip(conversation.sent, conversation.sent[1:], strict=False)


@settings(max_examples=300, deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    policy=POLICIES,
    turns=st.lists(TURNS, min_size=2, max_size=6),
    tools=st.booleans(),
)
def test_each_request_goes_on_from_the_one_before_it_byte_for_byte(
    pair: tuple[str, str], policy: CompatPolicy, turns: list[Turn], *, tools: bool
) -> None:
    conversation = Conversation(row(pair[0]), row(pair[1]), policy, tools=tools)
    for turn in turns:
        conversation.say(turn)
    for before, after in steps(conversation):
        event(f"notes {min(after.past.notes, 3)}")
        event(f"edits {bool(before.rewritten.edits)}")
        assert after.past.broken_at is None
        begun = stem(before)
        assert after.messages[: len(begun)] == begun
        own = json.loads(after.messages[len(begun)])
        assert own["role"] == "assistant"
        if begun == before.messages:
            assert plain(own["content"]) in (
                plain(before.said),
                plain(with_beginning(before.said, before.rewritten.plan.prefill)),
            )
        assert after.rest == before.rest or not after.past.notes


@settings(max_examples=200, deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    policy=POLICIES,
    turns=st.lists(TURNS, min_size=3, max_size=6),
    tools=st.booleans(),
    data=st.data(),
)
def test_where_the_store_does_not_answer_thinking_goes_from_there_on_and_never_from_the_middle(
    pair: tuple[str, str], policy: CompatPolicy, turns: list[Turn], *, tools: bool, data: st.DataObject
) -> None:
    """Whatever was answered behind an outage is bound to what was sent during it, and finds it again."""
    conversation = Conversation(row(pair[0]), row(pair[1]), policy, tools=tools)
    lost_at: set[int] = set()
    for number, turn in enumerate(turns):
        lost: frozenset[str] = frozenset()
        if conversation.notes and data.draw(st.integers(0, 2)) == 0:
            lost = frozenset(data.draw(st.sets(st.sampled_from(sorted(conversation.notes)), min_size=1)))
        kept, conversation.notes = (
            conversation.notes,
            {digest: data for digest, data in conversation.notes.items() if digest not in lost},
        )
        conversation.say(turn, unknown=lost)
        conversation.notes = {**kept, **conversation.notes}
        if conversation.sent[-1].past.broken_at is not None:
            lost_at.add(number)
            left = thinking_in(conversation.sent[-1], conversation.sent[-1].past.broken_at or 0)
            assert left == []
    for number, (before, after) in enumerate(steps(conversation)):
        if not {number, number + 1} & lost_at:
            assert after.messages[: len(stem(before))] == stem(before)


def thinking_in(sent: Sent, start: int) -> list[str]:
    """Return the types of thinking blocks behind the first `start` messages."""
    contents = [json.loads(raw)["content"] for raw in sent.messages[start:]]
    return [
        block["type"] for content in contents if not isinstance(content, str) for block in content
        if block["type"] in THINKING
    ]  # fmt: skip
