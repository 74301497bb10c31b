"""What the parts come to together: switches, accounts, caches and batches, over real connections."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.simulator.rules.switches import Switches
from tests.support.answers import folded
from tests.support.posting import Posted, get, post
from tests.support.upstream import Upstream, running_simulator

OLD, NEW, NEWEST = "claude-opus-4-8", "claude-opus-5-5", "claude-fable-5-2"
BINDING = "thinking-binding-controls-2026-08-01"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {"name": "weather", "input_schema": SCHEMA}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_simulator() as running:
        yield running


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def asking(text: str = "Tell me more.", model: str = NEW, **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 4096, "messages": [user(text)], **fields}


def continued(body: dict[str, Any], answer: Posted, text: str = "Go on.") -> dict[str, Any]:
    """The conversation with an answer and the next question."""
    turn = {"role": "assistant", "content": answer.json["content"]}
    return {**body, "messages": [*body["messages"], turn, user(text)]}


def edited(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "messages": [user("Something else."), *body["messages"][1:]]}


# --- bindings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_comes_back_and_is_checked(upstream: Upstream, stream: bool) -> None:
    body = asking(model=NEWEST)
    body = continued(body, post(upstream, body))
    body = continued(body, post(upstream, body))
    told = post(upstream, {**body, "stream": stream}, betas=[BINDING])
    message = folded(told.text) if stream else told.json
    assert message["input_transformations"] == []
    refused = post(upstream, edited(body))
    assert (refused.status, refused.json["error"]["type"]) == (400, "invalid_request_error")
    assert "The block is bound to a different conversation." in refused.json["error"]["message"]
    assert post(upstream, edited(body), "/v1/messages/count_tokens").status == 400
    dropping = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    kept = post(upstream, {**edited(body), "thinking": dropping, "stream": stream}, betas=[BINDING])
    message = folded(kept.text) if stream else kept.json
    assert [entry["reason"] for entry in message["input_transformations"]] == ["prefix_binding_mismatch"] * 2


def test_two_keys_are_two_organisations(upstream: Upstream) -> None:
    body = asking(model=NEWEST)
    first = post(upstream, body)
    body = continued(body, first)
    own, other = (post(upstream, body, key=key, betas=[BINDING]) for key in ("k", "l"))
    assert own.json["input_transformations"] == []
    dropped = {"type": "thinking_dropped", "path": "messages.1.content.0"}
    assert other.json["input_transformations"] == [{**dropped, "reason": "organization_binding_mismatch"}]
    assert other.json["usage"]["input_tokens"] < own.json["usage"]["input_tokens"]
    named = [answer.headers["anthropic-organization-id"] for answer in (first, own, other)]
    assert named[0] == named[1] != named[2]


def test_two_end_users_of_one_organisation_do_not_share_thinking(upstream: Upstream) -> None:
    body = asking(model=NEWEST)
    body = continued(body, post(upstream, body, anthropic_user_profile_id="ada"))
    for profile, reasons in (("ada", []), ("bob", ["end_user_binding_mismatch"])):
        answer = post(upstream, body, betas=[BINDING], anthropic_user_profile_id=profile)
        assert [entry["reason"] for entry in answer.json["input_transformations"]] == reasons


def test_what_another_model_does_not_read_is_not_billed(upstream: Upstream) -> None:
    body = asking(model=NEW)
    body = continued(body, post(upstream, body))
    counts = {
        model: post(upstream, {**body, "model": model}, "/v1/messages/count_tokens").json["input_tokens"]
        for model in (NEW, OLD)
    }
    used = post(upstream, {**body, "model": OLD}, betas=[BINDING])
    assert used.json["usage"]["input_tokens"] == counts[OLD] < counts[NEW]
    assert used.json["input_transformations"][0]["reason"] == "model_binding_mismatch"


# --- switches -----------------------------------------------------------------------------------------------


def test_a_request_brings_its_own_switches(upstream: Upstream) -> None:
    body = asking(model=NEW)
    body = edited(continued(body, post(upstream, body)))
    assert post(upstream, body).status == 200
    assert post(upstream, body, x_simulator_switches="recent_account=true").status == 400
    wrong = post(upstream, body, x_simulator_switches="recent_account=maybe")
    assert (wrong.status, "not one of true, false" in wrong.json["error"]["message"]) == (400, True)


@pytest.mark.parametrize(
    ("obeys", "reasons"),
    [
        ("always", ["tool_use", "tool_use"]),
        ("never", ["end_turn", "end_turn"]),
        ("second", ["end_turn", "tool_use", "end_turn", "tool_use"]),
    ],
)
def test_a_tool_line_is_heeded_as_the_switch_says(obeys: Any, reasons: list[str]) -> None:
    line = {"role": "system", "content": "You must call the weather tool in this turn."}
    firmer = {"role": "system", "content": "Call the weather tool now. Nothing else is allowed."}
    with running_simulator(switches=Switches(obeys_tool_line=obeys)) as running:
        body = asking("Is it cold in Oslo?", tools=[WEATHER])
        got = []
        for number in range(len(reasons)):
            told = {**body, "messages": [*body["messages"], firmer if number % 2 else line]}
            got.append(post(running, told).json["stop_reason"])
        assert got == reasons
        assert post(running, body).json["stop_reason"] == "end_turn"


def test_the_second_time_is_counted_by_conversation(upstream: Upstream) -> None:
    def told(text: str, key: str = "k") -> str:
        line = {"type": "text", "text": "You must call the weather tool."}
        body = asking(tools=[WEATHER], messages=[user([{"type": "text", "text": text}, line])])
        answer = post(upstream, body, key=key, x_simulator_switches="obeys_tool_line=second")
        return str(answer.json["stop_reason"])

    assert [told("Oslo?"), told("Bergen?"), told("Oslo?", "other"), told("Oslo?"), told("Bergen?")] == [
        "end_turn",
        "end_turn",
        "end_turn",
        "tool_use",
        "tool_use",
    ]


def test_a_second_attempt_may_say_more(upstream: Upstream) -> None:
    line = {"role": "system", "content": "You must call the weather tool."}
    first = asking("Cold?", tools=[WEATHER])
    first["messages"].append(line)
    answer = post(upstream, first, x_simulator_switches="obeys_tool_line=second")
    assert answer.json["stop_reason"] == "end_turn"
    turn = {"role": "assistant", "content": answer.json["content"]}
    second = {**first, "messages": [*first["messages"], turn, user("That was no call."), line]}
    again = post(upstream, second, x_simulator_switches="obeys_tool_line=second")
    assert again.json["stop_reason"] == "tool_use"


def test_errors_say_that_they_have_no_details_if_they_shall() -> None:
    with running_simulator(switches=Switches(null_details=True)) as running:
        error = post(running, asking(model="claude-opus-9")).json["error"]
        assert error == {"details": None, "type": "not_found_error", "message": "model: claude-opus-9"}


# --- cache, schema, threads ---------------------------------------------------------------------------------


def usage(answer: Posted) -> tuple[int, int, int]:
    counts = answer.json["usage"]
    return (
        counts["input_tokens"],
        counts["cache_creation_input_tokens"],
        counts["cache_read_input_tokens"],
    )


def test_the_cache_belongs_to_account_model_and_settings(upstream: Upstream) -> None:
    system = [{"type": "text", "text": "rules " * 6000, "cache_control": {"type": "ephemeral"}}]
    body = asking(system=system, cache_control={"type": "ephemeral"})
    plain, written, read = usage(post(upstream, body, key="cache"))
    assert (plain, read) == (0, 0)
    assert usage(post(upstream, body, key="cache")) == (0, 0, written)
    assert usage(post(upstream, body, key="other"))[2] == 0
    assert usage(post(upstream, {**body, "model": "claude-opus-5"}, key="cache"))[2] == 0
    low = usage(post(upstream, {**body, "output_config": {"effort": "low"}}, key="cache"))
    assert 0 < low[2] < written
    assert sum(low) == written
    medium = {**body, "output_config": {"effort": "medium"}}
    assert usage(post(upstream, medium, key="cache")) == (0, 0, written)


def matches(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is what a schema of the accepted kind asks for."""
    if "anyOf" in schema:
        return any(matches(value, option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    if schema["type"] == "object":
        inner = schema["properties"]
        known = isinstance(value, dict) and set(schema["required"]) <= set(value) <= set(inner)
        return known and all(matches(value[key], inner[key]) for key in value)
    if schema["type"] == "array":
        return isinstance(value, list) and all(matches(item, schema["items"]) for item in value)
    kinds: dict[str, Any] = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    return isinstance(value, kinds[schema["type"]])


@pytest.mark.parametrize("model", [OLD, NEW, "claude-haiku-4-5"])
def test_a_structured_answer_is_what_the_schema_asks_for(upstream: Upstream, model: str) -> None:
    properties: dict[str, Any] = {
        "where": SCHEMA,
        "kinds": {"type": "array", "items": {"enum": ["rain", "snow"]}},
        "sure": {"type": "boolean"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "always": {"const": 7},
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    config = {"format": {"type": "json_schema", "schema": schema}}
    for question in ("How is it?", "And tomorrow?"):
        answer = post(upstream, asking(question, model, output_config=config)).json
        assert matches(json.loads(answer["content"][-1]["text"]), schema)
    tool = {"name": "save", "strict": True, "input_schema": schema}
    call = post(upstream, asking("Use the tool.", model, tools=[tool])).json["content"][-1]
    assert matches(call["input"], schema)


def test_an_answer_ends_with_the_window(upstream: Upstream) -> None:
    body = asking("word " * 159_980, "claude-haiku-4-5")
    answer = post(upstream, body).json
    assert answer["stop_reason"] == "model_context_window_exceeded"
    assert answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"] == 200_000


def test_a_thread_of_a_fallback_is_not_held(upstream: Upstream) -> None:
    betas = ["message-threads-2026-08-12", "server-side-fallback-2026-07-01"]
    body = asking("decline as bio", fallbacks="default", thread={"type": "create"})
    answer = post(upstream, body, betas=betas).json
    assert answer["model"] == "claude-opus-5"
    thread = {"type": "continue", "previous_message_id": answer["id"]}
    refused = post(upstream, asking(thread=thread, fallbacks="default"), betas=betas)
    assert (refused.status, refused.json["error"]["details"]) == (404, {"error_code": "thread_not_found"})


# --- batches ------------------------------------------------------------------------------------------------


def results(upstream: Upstream, *params: dict[str, Any], **given: Any) -> list[dict[str, Any]]:
    """What becomes of a batch, item by item."""
    requests = [{"custom_id": f"r{number}", "params": item} for number, item in enumerate(params)]
    batch = post(upstream, {"requests": requests}, "/v1/messages/batches", **given).json
    shown = get(upstream, f"/v1/messages/batches/{batch['id']}").json
    assert shown["results_url"].startswith(upstream.url)
    answer = get(upstream, shown["results_url"].removeprefix(upstream.url))
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["custom_id"] for line in lines] == [request["custom_id"] for request in requests]
    return [line["result"] for line in lines]


def test_a_batch_drops_thinking_that_was_moved_instead_of_failing(upstream: Upstream) -> None:
    body = asking(model=NEWEST)
    body = edited(continued(body, post(upstream, body)))
    [dropped] = results(upstream, body, betas=[BINDING])
    assert dropped["message"]["input_transformations"][0]["reason"] == "prefix_binding_mismatch"
    strict = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "error"}}
    [refused] = results(upstream, {**body, "thinking": strict}, betas=[BINDING])
    assert refused["error"]["error"]["type"] == "invalid_request_error"


def test_items_of_a_batch_go_by_the_version_and_the_betas_of_the_batch(upstream: Upstream) -> None:
    long = asking(max_tokens=300_000)
    warm = asking(model="claude-opus-4-6", temperature=0.5)
    kinds = [item["type"] for item in results(upstream, long, warm, betas=["output-300k-2026-03-24"])]
    assert kinds == ["succeeded", "succeeded"]
    assert [item["type"] for item in results(upstream, long, warm, version="2026-10-21")] == [
        "errored",
        "errored",
    ]


def test_models_tell_whom_they_hand_over_to_when_asked(upstream: Upstream) -> None:
    path, beta = "/v1/models/claude-opus-5-5", "server-side-fallback-2026-07-01"
    assert get(upstream, path, betas=[beta]).json["allowed_fallback_models"] == ["claude-opus-5", OLD]
    assert "allowed_fallback_models" not in get(upstream, path).json
