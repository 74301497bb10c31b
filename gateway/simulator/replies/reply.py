"""One answer before it is written for the wire, and the draft in which it comes about.

Everything that is said counts toward `max_tokens` and the context window, in the order in which it is said,
and is cut where they end. Stop sequences cut text. Thinking is signed for the conversation before it.
"""

from dataclasses import dataclass, field

from gateway.core.types import to_json
from gateway.simulator.replies.tokens import count_text, cut_text
from gateway.simulator.rules.bindings.prefix import PrefixReader, as_blocks, read_whole
from gateway.simulator.rules.bindings.readers import BINDING_ACCOUNT, CHECKING
from gateway.simulator.rules.bindings.stamps import Stamp, call_id, digest, is_thinking, name_of
from gateway.simulator.rules.case import Case, Json

CALL_TOKENS = 12
"""What a tool call costs beside its name and input."""
SERVER_BLOCK_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    content: list[Json]
    stop_reason: str
    output_tokens: int
    thinking_tokens: int = 0
    stop_sequence: str | None = None
    stop_details: Json | None = None
    usage: Json = field(default_factory=dict)
    """What `usage` says beside the counts."""
    beside: Json = field(default_factory=dict)
    """What the message says beside all this."""


EMPTY = Reply([], "end_turn", 1)
"""A model that has nothing to say."""


class Draft:
    """An answer while it is written: its blocks, and how many tokens are left for it."""

    def __init__(self, case: Case, prompt_tokens: int) -> None:
        self._case = case
        asked: int = case.body.get("max_tokens", 0)
        window = max(0, case.model.context_tokens - prompt_tokens)
        self._room = min(asked, window)
        self._limit = "max_tokens" if asked <= window else "model_context_window_exceeded"
        self._content: list[Json] = []
        self._spent = self._thought = 0
        self._full = self._room == 0
        self._stop_sequence: str | None = None
        self._reader: PrefixReader | None = None
        self._read = 0
        """How many blocks of the answer the reader has read."""
        self._before: str | None = None
        """The name of the thinking block before; None until somebody asks."""
        self.usage: Json = {}
        self.beside: Json = {}

    @property
    def full(self) -> bool:
        """Whether there is no room for another word."""
        return self._full

    def think(self, tokens: int, text: str, *, redacted: bool = False) -> None:
        """Think; the text is a summary, or empty when it is not to be shown."""
        if self._full:
            return
        spent = self._spend(tokens)
        self._thought += spent
        text = cut_text(text, spent, self._case.model)
        sealed = self._stamp(text, spent).sealed()
        if redacted:
            self._content.append({"type": "redacted_thinking", "data": sealed})
        else:
            self._content.append({"type": "thinking", "thinking": text, "signature": sealed})

    def note(self, text: str) -> None:
        """A progress note between two tool calls; it comes as thinking, with its text."""
        if not self._full:
            tokens = self._spend(count_text(text, self._case.model))
            self._content.append(
                {"type": "thinking", "thinking": text, "signature": self._stamp(text, tokens).sealed()}
            )

    def call(
        self, name: str, arguments: Json, seed: str, *, toolset: str | None = None, caller: Json | None = None
    ) -> None:
        """Call a tool, as a member of a toolset or out of a program; without room for the whole input there
        is none in it.
        """
        if self._full:
            return
        tokens = CALL_TOKENS + count_text(name + to_json(arguments).decode(), self._case.model)
        whole = self._spend(tokens) == tokens
        thought = any(map(is_thinking, self._content))
        block: Json = {
            "type": "tool_use",
            "id": call_id(self._case.model.id, seed, thought=thought),
            "name": name,
        }
        block |= {"toolset_name": toolset} if toolset else {}
        block |= {"caller": caller} if caller else {}
        self._content.append({**block, "input": arguments if whole else {}})

    def add(self, block: Json) -> None:
        """Add what the server itself did, or a summary."""
        if not self._full:
            self._spend(SERVER_BLOCK_TOKENS + count_text(to_json(block).decode(), self._case.model))
            self._content.append(block)

    def say(self, text: str) -> None:
        """Say something, as far as stop sequences and room allow."""
        if self._full:
            return
        stops: list[str] = self._case.body.get("stop_sequences") or []
        found = min(((text.index(stop), stop) for stop in stops if stop in text), default=None)
        model = self._case.model
        if found and count_text(text[: found[0]], model) <= self._room - self._spent:
            text, self._stop_sequence = text[: found[0]], found[1]
        spent = self._spend(count_text(text, model))
        if shown := cut_text(text, spent, model):
            self._content.append({"type": "text", "text": shown})

    def finished(self, stop: str) -> Reply:
        """The answer; it ended with `stop`, unless something cut it."""
        if self._full:
            stop, self._stop_sequence = self._limit, None
        elif self._stop_sequence is not None:
            stop = "stop_sequence"
        return Reply(
            self._content,
            stop,
            self._spent,
            self._thought,
            self._stop_sequence,
            usage=self.usage,
            beside=self.beside,
        )

    def _spend(self, tokens: int) -> int:
        """Take tokens out of the room; what was left when it ran out."""
        spent = min(tokens, self._room - self._spent)
        self._spent += spent
        self._full = spent < tokens
        return spent

    def _stamp(self, text: str, tokens: int) -> Stamp:
        """What is sealed into the next thinking block; models that check nothing keep no record."""
        case = self._case
        stamp = Stamp(case.model.id, digest(text.encode()), tokens)
        if case.model.id not in CHECKING:
            return stamp
        if self._reader is None:
            self._reader = read_whole(case.body)
        for block in self._content[self._read :]:
            self._reader.take("assistant", block)
        self._read = len(self._content)
        bound = case.model.id in BINDING_ACCOUNT
        return Stamp(
            stamp.producer,
            stamp.text,
            tokens,
            account=case.account if bound else "",
            end_user=case.end_user if bound else "",
            prefix=self._reader.digest(),
            previous=self._last_thought(),
            trail=self._reader.trail,
        )

    def _last_thought(self) -> str:
        """The name of the thinking block that came last, in the answer or before it."""
        for block in reversed(self._content):
            if is_thinking(block):
                return name_of(block)
        if self._before is None:
            self._before = _last_in(self._case.messages)
        return self._before


def _last_in(messages: list[Json]) -> str:
    for message in reversed(messages):
        for block in reversed(as_blocks(message["content"])):
            if is_thinking(block):
                return name_of(block)
            if block.get("type") == "compaction" and block.get("content") is not None:
                return ""
    return ""
