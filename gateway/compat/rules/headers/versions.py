"""The API version (§7): `anthropic-version` goes on as the client sent it.

Both models speak every version, and answers look the same in all of them, so there is nothing to translate.
What a version rejects it rejects for every model; the caller is to hear that from the upstream, in its
words. `violations` names what `sampling` does not, so that no rule brings it about.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw

from gateway.compat.catalog import Model
from gateway.compat.envelope import Envelope, Headers, present, read
from gateway.core.types import Change, RewriteClass

RULE = "api_version"
STRICTER = "2026-10-21"
"""The version under which only the user gives documents, and only the assistant cites."""


class _Block(msgspec.Struct, frozen=True):
    type: str = ""
    citations: Raw = Raw(b"null")
    content: Raw = Raw(b"null")


def violations(envelope: Envelope, model: Model, headers: Headers) -> Iterator[Change]:
    """Name what `model`, like every other, would reject."""
    if headers.version != STRICTER:
        return
    wrong = []
    if b'"document"' in envelope.body and _documents_of_the_assistant(envelope):
        wrong.append("a document stands in a turn of the assistant")
    if b'"citations"' in envelope.body and _citations_of_the_user(envelope):
        wrong.append("a text of the user has citations")
    for what in wrong:
        sentence = f"{what}, which {model.id} does not take under API version {STRICTER}"
        yield Change(RULE, RewriteClass.unservable, sentence)


def _documents_of_the_assistant(envelope: Envelope) -> bool:
    turns = (turn for turn in envelope.turns if turn.role == "assistant")
    return any(block.type == "document" for turn in turns for block in _blocks(turn.content))


def _citations_of_the_user(envelope: Envelope) -> bool:
    turns = (turn for turn in envelope.turns if turn.role == "user")
    return any(_cites(block) for turn in turns for block in _blocks(turn.content))


def _cites(block: _Block) -> bool:
    """Tell whether a text, or one inside a search result of a tool, has citations."""
    if block.type == "text":
        return bool(read(block.citations, list[Raw]))
    inside = block.type in ("tool_result", "search_result") and present(block.content)
    return inside and any(_cites(each) for each in _blocks(block.content))


def _blocks(content: Raw) -> Sequence[_Block]:
    return read(content, list[_Block]) or ()
