"""What a model can take and give: the answer's cap (R8) and the window (R17).

A cap above the model's maximum is lowered to it, and a thinking budget with it. Where a model thinks
although nobody asked for it, the cap is raised by the policy's `max_tokens_headroom`, so that thinking does
not eat the answer; both are disclosed. Nothing else raises a cap: not the newer tokenizers, which need up to
1.35 times as many tokens for the same text, because the factor depends on the text and a cap is money; and
not an effort that likes more room.

The window is guarded by an estimate, because counting would cost a request: bytes of text per token, fewer
for the newer tokenizers, with base64 data of images and documents taken out and every such block counted as
the largest image. It is meant to err on the side of too many tokens for ordinary prose and code: such a
prompt stays on control. Pages of a PDF and text in scripts that cost more tokens per byte can be
underestimated; then the upstream says so, and control answers.
"""

from collections.abc import Iterator

from gateway.compat.catalog import Model
from gateway.compat.draft import Draft
from gateway.compat.envelope import Envelope, encode
from gateway.compat.rules.thinking import MIN_BUDGET, unasked, wish
from gateway.core.types import Change, RewriteClass

BYTES_PER_TOKEN = {"old": 3.5, "new": 2.7, "newer": 2.7}
"""Of request text, by tokenizer generation: the newer ones need about 1.3 times as many tokens."""
IMAGE_TOKENS = {"old": 1600, "new": 4784, "newer": 4784}
_FEWEST_BYTES_PER_TOKEN = min(BYTES_PER_TOKEN.values())


def apply(draft: Draft) -> Draft:
    """Fit `max_tokens`, and a budget inside it, to the target."""
    asked, most = draft.envelope.max_tokens, draft.target.max_output_tokens
    if draft.counting or asked is None or asked < 1:  # 0 warms the cache; below, every model rejects it
        return draft
    now = wish(draft.fields, draft.target)
    anew = now is not None and now.explicit and unasked(draft)
    cap = min(asked + draft.policy.max_tokens_headroom if anew else asked, most)
    if cap == asked:
        return draft
    draft = draft.put("max_tokens", cap)
    if cap > asked:
        sentence = f"max_tokens {asked} became {cap}: room for thinking that cannot be turned off."
    else:
        sentence = f"max_tokens {asked} became {cap}, the most that {draft.target.id} writes."
    draft = draft.note("max_tokens", RewriteClass.emulated, sentence)
    draft = _fit_budget(draft, asked, cap)
    return draft


def _fit_budget(draft: Draft, asked: int, cap: int) -> Draft:
    """Keep a budget below the lowered cap, with the room for the answer that there was, up to half of it."""
    now = wish(draft.fields, draft.target)
    if now is None or now.mode != "enabled" or not cap <= now.budget < asked:
        return draft
    budget = max(MIN_BUDGET, cap - min(asked - now.budget, cap // 2))
    draft = draft.put("thinking", now.options | {"budget_tokens": encode(budget)})
    sentence = f"The thinking budget of {now.budget} tokens became {budget}, below max_tokens."
    draft = draft.note("thinking", RewriteClass.emulated, sentence)
    return draft


def too_long(envelope: Envelope, model: Model) -> bool:
    """Tell whether the prompt is, by estimate, over the model's window."""
    if len(envelope.body) <= model.context_tokens * _FEWEST_BYTES_PER_TOKEN:
        return False
    return estimated_tokens(envelope, model) > model.context_tokens


def estimated_tokens(envelope: Envelope, model: Model) -> int:
    """Estimate what a request's prompt costs on `model`; see the module's story for what that is worth."""
    pictures, data_bytes = envelope.pictures
    text_bytes = len(envelope.body) - data_bytes
    return int(text_bytes / BYTES_PER_TOKEN[model.tokenizer]) + pictures * IMAGE_TOKENS[model.tokenizer]


def over_window(draft: Draft) -> str:
    """Say that the prompt does not fit the target's window, by estimate, though it fits the source's."""
    if not too_long(draft.envelope, draft.target) or too_long(draft.envelope, draft.source):
        return ""
    target = draft.target
    return f"the prompt is longer than the {target.context_tokens} tokens of {target.id}, by estimate"


def violations(envelope: Envelope, model: Model) -> Iterator[Change]:
    """Name what `model` would reject."""
    if envelope.max_tokens is not None and envelope.max_tokens > model.max_output_tokens:
        yield Change("max_tokens", RewriteClass.unservable, f"{model.id} does not write that much")
    if too_long(envelope, model):
        yield Change("context_window", RewriteClass.unservable, f"the prompt is too long for {model.id}")
