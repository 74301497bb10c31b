"""What is measured: all that compat does to one request, as the data path asks for it.

Every case does the same work in the same order: read the request, tell whose conversation it is, judge
whether the candidate can serve it, say it to the model that will. They differ in what that comes to.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bench.bodies import body_of
from gateway.compat.address import addresses
from gateway.compat.catalog import Model
from gateway.compat.envelope import Envelope, encode, parse
from gateway.compat.prompts import PromptVariant
from gateway.compat.replay import NOTHING, Append, Insert, Note, Replay, recollect
from gateway.compat.request import PLAINLY, Context, obstacle, rewrite
from gateway.config import load_catalogue
from gateway.core.spec import CompatPolicy

SIZES = {"2 KB": 2_000, "200 KB": 200_000, "5 MB": 5_000_000}

_CATALOGUE = load_catalogue(Path(__file__).parents[1] / "config" / "models.yaml")
_POLICY = CompatPolicy()
_SCANNER = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request, and the model that it is said to."""

    name: str
    body: bytes
    source: Model
    candidate: Model
    target: Model
    """Which of the two serves."""
    context: Context = PLAINLY
    notes: Mapping[str, Note] | None = None
    """What is kept of earlier answers; None: nobody asks."""

    def run(self) -> bytes:
        """Do the work and return what would be sent."""
        envelope = parse(self.body)
        _ = envelope.continues, envelope.fingerprint
        obstacle(envelope, self.source, self.candidate, _POLICY, self.context)
        context = self.context
        if self.notes is not None:
            context = replace(context, past=recollect(addresses(envelope), self.notes))
        return rewrite(envelope, self.source, self.target, _POLICY, context).body

    def scan(self) -> object:
        """Read the same bytes once, which is what the work is measured by."""
        return _SCANNER.decode(self.body)


def cases(size: int) -> list[Case]:
    """Return every case with a body of about `size` bytes."""
    old, new = _row("claude-opus-4-5-20251101"), _row("claude-opus-5-5")
    variant = PromptVariant("bench", 1, frozenset({new.id}), frozenset(), None, "append", "Be brief.")
    plain = body_of(size)
    options = {"temperature": 0.2, "thinking": {"type": "disabled"}}
    begun = _begun(plain)
    return [
        Case("own model", plain, old, new, old),
        Case("fields", body_of(size, **options), old, new, new),
        Case("prompt variant", plain, old, new, new, Context(variant=variant)),
        Case("begun answer", begun, old, new, new),
        Case("repeated notes", plain, old, new, new, notes=_notes(parse(plain))),
    ]


def _begun(body: bytes) -> bytes:
    request = json.loads(body)
    request["messages"].append({"role": "assistant", "content": "{"})
    return json.dumps(request).encode()


def _notes(envelope: Envelope) -> dict[str, Note]:
    """Return a note for every fourth answer: a line that was written, and thinking that was hidden."""
    line = encode({"type": "text", "text": "Call one of the tools before you answer."})
    hidden = encode({"type": "thinking", "thinking": "", "signature": "s" * 600})
    notes: dict[str, Note] = {}
    past = NOTHING
    for answer in addresses(envelope)[1::4]:
        edits = (Append(answer.place - 1, line), Insert(answer.place, 0, hidden))
        notes[answer.digest] = past.note(edits)
        past = Replay(notes=len(notes), mark=notes[answer.digest].mark)
    return notes


def _row(model_id: str) -> Model:
    return next(row for row in _CATALOGUE.models if row.id == model_id)
