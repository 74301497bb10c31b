"""Sampling: temperature, top_p and top_k.

By API version first (the newer one knows none of them), then by model, then together, then with thinking,
then by range. The rejections of models that still take a default value have no published wording.
"""

from collections.abc import Iterator

from gateway.simulator.rules.case import SAMPLING_FREE_VERSION, Case, Rule

USUAL = {"temperature": 1, "top_p": 0.99}
"""The defaults, where a model may take no other value."""
PARAMETERS = ("temperature", "top_p", "top_k")


def sampling_is_supported(case: Case) -> Iterator[str]:
    rule = case.model.sampling
    for name in _sent(case):
        if case.version == SAMPLING_FREE_VERSION:
            yield f"`{name}` is not supported in API version {SAMPLING_FREE_VERSION}."
        elif rule.accepts == "none" and case.switches.default_sampling_passes:
            if case.body[name] != USUAL.get(name):
                yield f"`{name}` is deprecated for this model."
        elif rule.accepts == "none" or (rule.accepts == "defaults" and name not in rule.defaults):
            yield f"`{name}` is deprecated for this model."
        elif rule.accepts == "defaults" and case.body[name] != rule.defaults[name]:
            yield f"`{name}` may only be set to {rule.defaults[name]:g} for this model."


def sampling_goes_together(case: Case) -> Iterator[str]:
    if not case.model.sampling.both and {"temperature", "top_p"} <= set(_sent(case)):
        yield "`temperature` and `top_p` cannot both be specified for this model. Please use only one."


def sampling_goes_with_thinking(case: Case) -> Iterator[str]:
    """Where values are free, thinking still narrows them."""
    if not case.thinks or case.model.sampling.accepts != "any":
        return
    sent, mode = _sent(case), "when thinking is enabled or in adaptive mode"
    if "temperature" in sent and case.body["temperature"] != 1:
        yield f"`temperature` may only be set to 1 {mode}"
    if "top_p" in sent and case.body["top_p"] < 0.95:
        yield f"`top_p` must be greater than or equal to 0.95 or unset {mode}"
    if "top_k" in sent:
        yield f"`top_k` must be unset {mode}"


def sampling_is_in_range(case: Case) -> Iterator[str]:
    sent = _sent(case)
    for name in ("temperature", "top_p"):
        if name in sent and not 0 <= case.body[name] <= 1:
            yield f"{name}: range: 0..1"
    if "top_k" in sent and case.body["top_k"] < 0:
        yield "top_k: Input should be greater than or equal to 0"


def _sent(case: Case) -> list[str]:
    return [name for name in PARAMETERS if case.body.get(name) is not None]


RULES: tuple[Rule, ...] = (
    sampling_is_supported,
    sampling_goes_together,
    sampling_goes_with_thinking,
    sampling_is_in_range,
)
