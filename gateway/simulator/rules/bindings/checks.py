"""What becomes of thinking blocks that come back: the checks of §6.1, in their order.

1. A signature that nobody sealed is a 400.
2. **Account, end user** - a block that is bound to another one is removed.
3. **Model** - a block of a model that the requested one does not read is removed.
4. A block whose text was edited is a 400.
5. **Prefix** - where both models keep a record of the conversation: the conversation before the block must be
   the one in which it was made, and the thinking block before it the same. Removing the first or the last
   thinking blocks, or all, is no edit; removing one from the middle is. Enforced (`readers.enforces`) it is
   a 400, or under `drop_block`, and in batches that do not say otherwise, the block is removed along with the
   rest of its turn's thinking. Not enforced, the block stays.

A block is reported with the first check that it fails. Removals are no errors and are not billed;
`transformations` lists them, and the blocks that stayed although they failed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.simulator.rules.bindings.prefix import PrefixReader, as_blocks, first_difference
from gateway.simulator.rules.bindings.readers import CHECKING, READS, enforces, reads
from gateway.simulator.rules.bindings.stamps import (
    Stamp,
    digest,
    is_thinking,
    name_of,
    read,
    sealed_in,
    was_thought_before,
)
from gateway.simulator.rules.case import Case, Json

CONTROLS_BETA = "thinking-binding-controls-2026-08-01"

BOUND_ELSEWHERE = (
    "The block is bound to a different conversation. Remove the block, or set "
    '`thinking.block_binding.prefix_mismatch_behavior` to "drop_block".'
)
HEADER_NEEDED = f" That setting requires the `{CONTROLS_BETA}` value in the `anthropic-beta` header."
MISSING = (
    " Content that preceded this block when it was created is missing from this request, starting at "
    "`messages.{index}`."
)
MODIFIED = (
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
    "These blocks must remain as they were in the original response."
)


@dataclass(slots=True)
class Inspection:
    """What the thinking blocks of one request came to."""

    errors: list[str] = field(default_factory=list)
    transformations: list[Json] = field(default_factory=list)
    removed: set[tuple[int, int]] = field(default_factory=set)
    """Message and place of the blocks that the model does not see."""


def inspect(case: Case) -> Inspection:
    """Judge every thinking block of a request, once."""
    return case.once("bindings", lambda: _inspect(case))


def broken_signatures(case: Case) -> Iterator[str]:
    """The 400 of each thinking block in the history that was made up, edited or moved."""
    yield from inspect(case).errors


def open_rounds_keep_their_thinking(case: Case) -> Iterator[str]:
    """By one of two published readings, thinking may not be filtered out of the round that goes on."""
    if not case.switches.open_round_needs_thinking or len(case.messages) < 2:
        return
    index = len(case.messages) - 2
    turn, results = (as_blocks(message["content"]) for message in case.messages[-2:])
    answered = {block["tool_use_id"] for block in results if block["type"] == "tool_result"}
    calls = [block["id"] for block in turn if block["type"] == "tool_use" and block["id"] in answered]
    readable = READS.get(case.model.id, frozenset({case.model.id}))
    if any(was_thought_before(call, readable) for call in calls) and not any(map(is_thinking, turn)):
        yield f"messages.{index}.content.0: {MODIFIED}"


def has_thinking(case: Case) -> bool:
    """Whether any thinking comes back at all."""
    return any(
        is_thinking(block)
        for message in case.messages
        if message["role"] == "assistant" and isinstance(message["content"], list)
        for block in message["content"]
    )


def _inspect(case: Case) -> Inspection:
    return _Inspector(case).inspected() if has_thinking(case) else Inspection()


class _Inspector:
    """Reads one conversation and judges its thinking blocks on the way."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._found = Inspection()
        self._reader = PrefixReader(case.body) if case.model.id in CHECKING else None
        self._before = ""
        """The name of the thinking block that was met last."""
        self._dropping = False
        thought = [i for i, message in enumerate(case.messages) if message["role"] == "assistant"]
        self._latest = thought[-1] if thought else -1
        binding = (case.body.get("thinking") or {}).get("block_binding") or {}
        self._behavior: str | None = binding.get("prefix_mismatch_behavior")
        self._enforced = enforces(case.model.id, case.switches, asked=self._behavior is not None)

    def inspected(self) -> Inspection:
        for index, message in enumerate(self._case.messages):
            if self._reader:
                self._reader.begin(message)
            for position, block in enumerate(as_blocks(message["content"])):
                if is_thinking(block):
                    self._judge(index, position, block)
                    self._before = name_of(block)
                else:
                    self._pass(message["role"], block)
            if self._reader:
                self._reader.end()
            if self._case.switches.drop_reaches == "turn":
                self._dropping = False
        return self._found

    def _pass(self, role: str, block: Json) -> None:
        if block.get("type") == "compaction" and block.get("content") is not None:
            self._before, self._dropping = "", False
        if self._reader:
            self._reader.take(role, block)

    def _judge(self, index: int, position: int, block: Json) -> None:
        path, stamp = f"messages.{index}.content.{position}", read(sealed_in(block))
        field_name = "signature" if block["type"] == "thinking" else "data"
        invalid = f"{path}: Invalid `{field_name}` in `{block['type']}` block"
        if stamp is None:
            self._found.errors.append(invalid)
        elif (reason := self._unwelcome(stamp)) is not None:
            self._remove(index, position, reason)
        elif block["type"] == "thinking" and stamp.text != digest(str(block["thinking"]).encode()):
            self._found.errors.append(f"{path}: {MODIFIED}" if index == self._latest else invalid)
        elif self._dropping:
            self._remove(index, position, "prefix_binding_mismatch")
        elif self._reader and self._moved(stamp, self._reader):
            self._mismatch(index, position, f"{invalid}. {BOUND_ELSEWHERE}", stamp)

    def _unwelcome(self, stamp: Stamp) -> str | None:
        """Why a block is not for this account or this model."""
        case = self._case
        if stamp.account and stamp.account != case.account and not case.switches.linked_organisations:
            return "organization_binding_mismatch"
        if stamp.end_user and stamp.end_user != case.end_user:
            return "end_user_binding_mismatch"
        return None if reads(case.model.id, stamp.producer, case.switches) else "model_binding_mismatch"

    def _moved(self, stamp: Stamp, reader: PrefixReader) -> bool:
        """Whether the conversation before a block is another one; a block without a record passes."""
        if not stamp.prefix:
            return False
        return stamp.prefix != reader.digest() or (self._before not in ("", stamp.previous))

    def _mismatch(self, index: int, position: int, message: str, stamp: Stamp) -> None:
        if not self._enforced:
            self._note(index, position, "thinking_mismatch_allowed", "prefix_binding_mismatch")
        elif self._behavior == "drop_block" or (self._behavior is None and self._case.batched):
            self._dropping = True
            self._remove(index, position, "prefix_binding_mismatch")
        else:
            header = "" if CONTROLS_BETA in self._case.betas else HEADER_NEEDED
            self._found.errors.append(message + header + self._where(stamp))

    def _where(self, stamp: Stamp) -> str:
        if not self._case.switches.names_the_edit or self._reader is None:
            return ""
        index = first_difference(stamp.trail, self._reader.trail)
        return "" if index is None else MISSING.format(index=index)

    def _remove(self, index: int, position: int, reason: str) -> None:
        self._found.removed.add((index, position))
        self._note(index, position, "thinking_dropped", reason)

    def _note(self, index: int, position: int, kind: str, reason: str) -> None:
        path = f"messages.{index}.content.{position}"
        self._found.transformations.append({"type": kind, "path": path, "reason": reason})
