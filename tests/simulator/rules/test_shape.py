from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.rules.shape import BETA_FIELDS
from tests.support.judged import verdict

MODEL = "claude-opus-5-5"
EXTRA = "Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"favourite": 1}, f"favourite: {EXTRA}"),
        ({"max_tokens": "1"}, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": True}, "max_tokens: Input should be a valid integer"),
        ({"temperature": "0"}, "temperature: Input should be a valid number"),
        ({"stream": "yes"}, "stream: Input should be a valid boolean"),
        ({"system": 1}, "system: Input should be a valid string"),
        ({"system": [{"type": "text", "text": 1}]}, "system.0.text.text: Input should be a valid string"),
        ({"system": [{"type": "text", "text": ""}]}, "system: text content blocks must be non-empty"),
        ({"tools": {}}, "tools: Input should be a valid list"),
        ({"tools": ["weather"]}, "tools.0: Input should be a valid dictionary"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.custom.name: Field required"),
        ({"tools": [{"name": "a"}]}, "tools.0.custom.input_schema: Field required"),
        ({"tools": [{"name": "a", "input_schema": {}, "when": 1}]}, f"tools.0.custom.when: {EXTRA}"),
        ({"thinking": "on"}, "thinking: Input should be a valid dictionary"),
        ({"metadata": {"user_id": "u", "team": "t"}}, f"metadata.team: {EXTRA}"),
        ({"output_config": {"verbosity": "low"}}, f"output_config.verbosity: {EXTRA}"),
        ({"output_config": {"task_budget": {}}}, f"output_config.task_budget: {EXTRA}"),
        ({"stop_sequences": [1]}, "stop_sequences.0: Input should be a valid string"),
        ({"stop_sequences": ["\n"]}, "stop_sequences.0: each stop sequence must contain non-whitespace"),
        ({"system": None, "tools": None, "metadata": None, "stop_sequences": None}, ""),
    ],
)
def test_a_field_that_does_not_fit_is_named_by_its_path(fields: dict[str, Any], message: str) -> None:
    assert verdict({"model": MODEL, **fields}) == message


def test_every_documented_field_is_known() -> None:
    body = {
        "system": "Be brief.",
        "metadata": {"user_id": "u"},
        "stop_sequences": ["END"],
        "stream": False,
        "service_tier": "auto",
        "container": "c",
        "inference_geo": "us",
        "cache_control": {"type": "ephemeral"},
        "diagnostics": {},
    }
    assert verdict({"model": MODEL, **body}) == ""


@pytest.mark.parametrize("field", BETA_FIELDS)
def test_a_beta_field_needs_its_beta_of_whatever_date(field: str) -> None:
    body = {"model": MODEL, field: None}
    assert verdict(body) == f"{field}: {EXTRA}"
    assert verdict(body, betas=[f"{BETA_FIELDS[field][0]}2030-01-01"]) == ""


def test_max_tokens_is_required_except_for_counting() -> None:
    assert verdict({"model": MODEL}, without="max_tokens") == "max_tokens: Field required"
    assert verdict({"model": MODEL}, without="max_tokens", counting=True) == ""


LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "text", "tool_use"])
KEYS = st.sampled_from([
    "type", "text", "role", "content", "id", "name", "input", "tool_use_id", "thinking", "signature",
    "cache_control", "ttl", "format", "schema", "effort", "budget_tokens", "input_schema", "source",
])  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
ROLES = st.sampled_from(["user", "assistant", "system"])
MESSAGE = st.fixed_dictionaries({"role": ROLES | JSON, "content": JSON}) | JSON
FIELDS = (
    "system", "tools", "tool_choice", "thinking", "output_config", "metadata", "stop_sequences",
    "temperature", "top_p", "top_k", "max_tokens", "stream", "speed", "cache_control",
)  # fmt: skip
MODELS = st.sampled_from(["claude-opus-4-5", "claude-opus-4-6", "claude-opus-5-5", "claude-sonnet-5-5"])
BODY = st.fixed_dictionaries(
    {"model": MODELS},
    optional={"messages": st.lists(MESSAGE, max_size=4) | JSON, **dict.fromkeys(FIELDS, JSON)},
)


@given(BODY)
def test_whatever_is_sent_gets_a_verdict(body: dict[str, Any]) -> None:
    assert isinstance(verdict(body), str)
