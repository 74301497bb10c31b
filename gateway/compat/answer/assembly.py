"""The blocks of a streamed answer, put together as a client does.

What is kept for the next turn has to be the block that the API would take back: a thinking block with its
text and its signature, a call with the input in the very bytes that came.
"""

import msgspec
from msgspec import Raw

from gateway.compat.answer.events import read_data
from gateway.compat.envelope import Fields, encode, read
from gateway.core.sse import SseEvent


class _Delta(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    citation: Raw = Raw(b"null")


class _Piece(msgspec.Struct, frozen=True):
    delta: _Delta


class Assembly:
    """Takes the events of one answer."""

    __slots__ = ("_citations", "_pieces", "_shell", "_signature", "blocks", "broken", "stop_reason")

    def __init__(self) -> None:
        self.blocks: list[Raw] = []
        self.stop_reason = ""
        """Empty until the answer has come to its end."""
        self.broken = False
        """The stream failed, or held something that cannot be put together."""
        self._shell: Fields | None = None
        self._pieces: list[str] = []
        self._signature = ""
        self._citations: list[Raw] = []

    def take(self, event: SseEvent) -> None:
        """Take the next event."""
        match event.name:
            case "content_block_start":
                self._finish()
                self._shell = read(read_data(event).get("content_block"), Fields)
                self.broken = self.broken or self._shell is None
            case "content_block_delta":
                self._add(event)
            case "content_block_stop":
                self._finish()
            case "message_delta":
                delta = read(read_data(event).get("delta"), Fields) or {}
                self.stop_reason = read(delta.get("stop_reason"), str) or self.stop_reason
            case "error":
                self.broken = True

    def _add(self, event: SseEvent) -> None:
        piece = read(Raw(event.data), _Piece)
        if piece is None or self._shell is None:
            self.broken = True
            return
        delta = piece.delta
        match delta.type:
            case "text_delta":
                self._pieces.append(delta.text)
            case "thinking_delta":
                self._pieces.append(delta.thinking)
            case "input_json_delta":
                self._pieces.append(delta.partial_json)
            case "signature_delta":
                self._signature += delta.signature
            case "citations_delta":
                self._citations.append(delta.citation)
            case _:
                self.broken = True

    def _finish(self) -> None:
        if self._shell is not None:
            self.blocks.append(self._block(self._shell, "".join(self._pieces)))
        self._shell, self._pieces, self._signature, self._citations = None, [], "", []

    def _block(self, shell: Fields, said: str) -> Raw:
        kind = read(shell.get("type"), str)
        more: Fields = {}
        if kind == "text" and said:
            more["text"] = encode((read(shell.get("text"), str) or "") + said)
        elif kind == "thinking":
            if said:
                more["thinking"] = encode((read(shell.get("thinking"), str) or "") + said)
            if self._signature:
                more["signature"] = encode((read(shell.get("signature"), str) or "") + self._signature)
        elif said and read(Raw(said.encode("utf-8", "surrogatepass")), Fields) is not None:
            more["input"] = Raw(said.strip().encode())
        if self._citations:
            more["citations"] = encode(self._citations)
        return encode(shell | more)
