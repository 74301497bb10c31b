"""The order in which a request is judged; the first broken rule is the answer.

The vendor's order is not published, so this one is fixed:

    shape      unknown or missing fields, types, then the blocks of the messages
    tools      definitions, types the model knows, tool_choice and what it names, schemas
    options    fallbacks, priority, place, task budget, summaries, context editing
    thinking   type, siblings, budget, display, effort, effort while thinking is off
    sampling   by API version, by model, together, with thinking, ranges
    forced     tool_choice any or tool
    last turn  prefill, manual thinking in a tool loop
    messages   roles, effort per message, tool changes, empty content, tool results, the API version's
               limits, signatures
    limits     max_tokens and its zero, cache breakpoints, speed, data retention; then what a fallback would
               be sent; last the prompt's length

Where a wording is published the text is that text; the others say the same in the same manner.
"""

from collections.abc import Callable, Iterator
from itertools import chain

from gateway.simulator.rules import conversation, limits, options, sampling, shape, thinking
from gateway.simulator.rules.case import ApiError, Case, Rule
from gateway.simulator.rules.tools import choice, kinds, schemas

SHAPE: tuple[Rule, ...] = (*shape.RULES, *conversation.SHAPE)
FEATURES: tuple[Rule, ...] = (
    *kinds.RULES,
    *choice.RULES,
    *schemas.RULES,
    *options.RULES,
    *thinking.RULES,
    *sampling.RULES,
    choice.forced_tools_are_supported,
    *conversation.LAST_TURN,
    *conversation.FEATURES,
    *limits.RULES,
)


def check(case: Case, count_prompt: Callable[[], int]) -> int:
    """Return the tokens of an accepted prompt, or raise the 400 of the first broken rule.

    With `Switches.list_all` its message holds a line for every broken rule. A request without a proper shape
    is judged no further, and its prompt is not counted.
    """
    broken = _broken_shape(case)
    if broken is None:
        tokens = count_prompt()
        messages = chain(broken_rules(case), _broken_fallbacks(case), limits.prompt_fits(case, tokens))
        if (broken := next(messages, None)) is None:
            return tokens
        if case.switches.list_all:
            broken = "\n".join(dict.fromkeys([broken, *messages]))
    raise ApiError(400, broken, error_code=getattr(broken, "error_code", None))


def broken_rules(case: Case) -> Iterator[str]:
    """The messages of all rules that a request with a proper shape breaks."""
    return chain.from_iterable(rule(case) for rule in FEATURES)


def _broken_fallbacks(case: Case) -> Iterator[str]:
    """Each model that is listed must take the request as its entry has it; the default skips the others."""
    fallbacks = case.body.get("fallbacks")
    for index, entry in enumerate(fallbacks if isinstance(fallbacks, list) else []):
        attempt = options.attempt(case, entry)
        if attempt is not None:
            yield from (f"fallbacks.{index}: {message}" for message in broken_rules(attempt))


def _broken_shape(case: Case) -> str | None:
    for rule in SHAPE:
        if (message := next(rule(case), None)) is not None:
            return message
    return None
