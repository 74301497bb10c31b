"""Prompt variants: what a model is told besides the application's system prompt, or in its place.

A newer model may need other words for the same behaviour, and the application is not to be touched for it. A
variant names the models that it is for, whichever arm they serve, and the requests: by the task that they
name, by the system prompt that they bring, by both, or all of them. `append` says its text after the
application's system prompt, `replace` says it instead.

Variants have versions. A new conversation gets the highest one; a conversation that has begun keeps its own
to its end, because models bind their thinking to the system prompt. So the ruleset that is pinned with a
conversation names the variant, its version and a digest of what it says: `2;terse@3:9f86d081`. Where that
very text is gone from the configuration the conversation goes on without a variant, and earlier thinking is
left out of it (`rules.prompt`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from gateway.compat.envelope import Block, Envelope, blocks_of, present, read


@dataclass(frozen=True, slots=True)
class PromptVariant:
    """One version of one variant."""

    name: str
    version: int
    models: frozenset[str]
    """Every id and alias of the models that it is for."""
    tasks: frozenset[str]
    """Values of `x-gateway-task`; empty: any, and none."""
    system_sha256: str | None
    """`system_hash` of the system prompt that the application sends; None: any, and none."""
    mode: Literal["append", "replace"]
    text: str

    @property
    def label(self) -> str:
        """Return what a pin knows it by: name, version, and a digest of what it does."""
        return f"{self.name}@{self.version}:{_digest(self.mode, self.text)}"


def variant_in_force(
    variants: Iterable[PromptVariant], envelope: Envelope, task: str, target: str
) -> PromptVariant | None:
    """Return the variant that a new conversation with the model `target` gets.

    Of each name the highest version counts. Of several that match, a system prompt's is closer than a task's,
    and a task's is closer than one for all; then the first in order of names.
    """
    highest: dict[str, PromptVariant] = {}
    for variant in variants:
        known = highest.get(variant.name)
        if known is None or known.version < variant.version:
            highest[variant.name] = variant
    matching = [each for each in highest.values() if _matches(each, envelope, task, target)]
    return min(matching, key=lambda each: (_distance(each), each.name), default=None)


def pinned_variant(variants: Iterable[PromptVariant], ruleset: str) -> PromptVariant | None:
    """Return the variant that a ruleset names; None where it names none, or one that is gone."""
    label = _label(ruleset)
    return next((variant for variant in variants if variant.label == label), None) if label else None


def ruleset_of(rules: str, variant: PromptVariant | None) -> str:
    """Return the ruleset to pin with a conversation: the version of the rules, and its variant if any."""
    return f"{rules};{variant.label}" if variant else rules


def is_gone(ruleset: str, variant: PromptVariant | None) -> bool:
    """Tell whether a ruleset names a variant that could not be found."""
    return variant is None and bool(_label(ruleset))


def system_hash(envelope: Envelope) -> str | None:
    """Return the SHA-256 of a request's system prompt, as `match.system_sha256` is compared with.

    It is taken of the text in UTF-8 without whitespace at its ends, of several blocks joined by a line break;
    cache markers do not count. None where there is no text.
    """
    system = envelope.fields.get("system")
    if system is None or not present(system):
        return None
    texts = [read(block.text, str) for block in blocks_of(system) or () if _is_text(block)]
    return text_hash("\n".join(text for text in texts if text is not None))


def text_hash(text: str) -> str | None:
    """Return the hash of a system prompt that is one text; None where it says nothing."""
    said = text.strip()
    return sha256(said.encode("utf-8", "surrogatepass")).hexdigest() if said else None


def _matches(variant: PromptVariant, envelope: Envelope, task: str, target: str) -> bool:
    if target not in variant.models or (variant.tasks and task not in variant.tasks):
        return False
    return variant.system_sha256 is None or variant.system_sha256 == system_hash(envelope)


def _distance(variant: PromptVariant) -> tuple[bool, bool]:
    return variant.system_sha256 is None, not variant.tasks


@lru_cache(maxsize=256)
def _digest(mode: str, text: str) -> str:
    return sha256(f"{mode}:{text}".encode()).hexdigest()[:8]


def _label(ruleset: str) -> str:
    return ruleset.partition(";")[2]


def _is_text(block: Block) -> bool:
    return block.type == "text"


def number_of(ruleset: str) -> int:
    """Return the number of a ruleset, without the variant behind it; 0 where it is none."""
    number = ruleset.partition(";")[0]
    return int(number) if number.isascii() and number.isdigit() else 0
