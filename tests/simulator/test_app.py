"""The simulator as the official SDK sees it, over real sockets."""

import hashlib
import http.client
import io
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from gateway.errors import ConfigError
from gateway.simulator.app import build_simulator
from gateway.simulator.faults import Fault
from gateway.simulator.rules.switches import Switches
from tests.support.clock import ManualClock
from tests.support.judged import catalogue
from tests.support.upstream import Upstream, running_simulator

OLD, NEW = "claude-opus-4-5", "claude-opus-5-5"
HELLO: Any = [{"role": "user", "content": "Hello"}]
WEATHER: Any = {
    "name": "weather",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with running_simulator() as upstream:
        yield upstream


@pytest.fixture
def upstream(running: Upstream) -> Upstream:
    running.forget_requests()
    return running


@pytest.fixture
def client(upstream: Upstream) -> Iterator[Anthropic]:
    with Anthropic(base_url=upstream.url, api_key="test-key", max_retries=0) as client:
        yield client


# --- messages -----------------------------------------------------------------------------------------------


def test_a_message(client: Anthropic) -> None:
    message = client.messages.create(model=OLD, max_tokens=500, messages=HELLO)
    assert (message.type, message.role, message.model) == ("message", "assistant", "claude-opus-4-5-20251101")
    assert [block.type for block in message.content] == ["text"]
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 10
    assert message.usage.cache_creation is not None
    assert message.id.startswith("msg_")


def test_a_message_with_thinking(client: Anthropic) -> None:
    thinking: Any = {"type": "adaptive", "display": "summarized"}
    message = client.messages.create(model=NEW, max_tokens=4000, messages=HELLO, thinking=thinking)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking
    assert message.usage.output_tokens_details is not None
    assert message.usage.output_tokens_details.thinking_tokens > 0


def shown(block: Any) -> dict[str, Any]:
    """What a block says, without what the SDK adds to it."""
    content: dict[str, Any] = block.to_dict()
    return {key: value for key, value in content.items() if value is not None}


@pytest.mark.parametrize("model", [OLD, NEW])
def test_a_stream_says_the_same_as_a_message(client: Anthropic, model: str) -> None:
    whole = client.messages.create(model=model, max_tokens=4000, messages=HELLO)
    with client.messages.stream(model=model, max_tokens=4000, messages=HELLO) as stream:
        names = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert [shown(block) for block in streamed.content] == [shown(block) for block in whole.content]
    assert (streamed.model, streamed.stop_reason) == (whole.model, whole.stop_reason)
    assert streamed.usage == whole.usage
    assert names[-1] == "message_stop"


async def test_an_async_stream(upstream: Upstream) -> None:
    async with AsyncAnthropic(base_url=upstream.url, api_key="k", max_retries=0) as client:
        stream = client.messages.stream(model=NEW, max_tokens=4000, messages=HELLO)
        async with stream as events:
            text = "".join([piece async for piece in events.text_stream])
    assert text


def test_tools_in_a_loop(client: Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "Use the tool: how is the weather?"}]
    first = client.messages.create(model=NEW, max_tokens=4000, tools=[WEATHER], messages=messages)
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert call.type == "tool_use"
    assert call.name == "weather"
    assert isinstance(call.input["city"], str)
    assert isinstance(call.input["days"], int)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    turns: Any = [
        *messages,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = client.messages.create(model=NEW, max_tokens=4000, tools=[WEATHER], messages=turns)
    assert second.stop_reason == "end_turn"


def test_a_streamed_tool_call_has_the_same_input(client: Anthropic) -> None:
    forced: Any = {"model": OLD, "max_tokens": 500, "tools": [WEATHER], "tool_choice": {"type": "any"}}
    whole = client.messages.create(messages=HELLO, **forced)
    with client.messages.stream(messages=HELLO, **forced) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].to_dict() == whole.content[0].to_dict()


def test_structured_output(client: Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    config: Any = {"format": {"type": "json_schema", "schema": schema}}
    message = client.messages.create(model=NEW, max_tokens=4000, messages=HELLO, output_config=config)
    assert message.content[-1].type == "text"
    assert set(json.loads(message.content[-1].text)) == {"name"}


def test_a_prefill(client: Anthropic) -> None:
    turns: Any = [*HELLO, {"role": "assistant", "content": "{"}]
    message = client.messages.create(model="claude-haiku-4-5", max_tokens=500, messages=turns)
    assert message.content[0].type == "text"
    assert json.loads("{" + message.content[0].text)


def test_counting(client: Anthropic) -> None:
    old = client.messages.count_tokens(model=OLD, messages=HELLO, system="x" * 4000)
    new = client.messages.count_tokens(model=NEW, messages=HELLO, system="x" * 4000)
    assert 1.2 < new.input_tokens / old.input_tokens < 1.35
    choice: Any = {"type": "any"}
    with pytest.raises(anthropic.BadRequestError, match="are not supported for this model"):
        client.messages.count_tokens(model=NEW, messages=HELLO, tools=[WEATHER], tool_choice=choice)


def test_an_error_is_the_sdks_own(client: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="model: claude-opus-9"):
        client.messages.create(model="claude-opus-9", max_tokens=1, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="does not support assistant message prefill"):
        client.messages.create(
            model=NEW, max_tokens=1, messages=[*HELLO, {"role": "assistant", "content": "{"}]
        )


def test_an_error_in_a_stream_reaches_the_sdk(client: Anthropic, upstream: Upstream) -> None:
    headers = {"x-simulator-fault": "kind=stream_error"}
    stream = client.messages.stream(model=NEW, max_tokens=4000, messages=HELLO, extra_headers=headers)
    with stream as events, pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        events.until_done()


# --- models, batches, files ---------------------------------------------------------------------------------


def test_models_are_listed_page_by_page(client: Anthropic) -> None:
    page = client.models.list(limit=3)
    assert (len(page.data), page.has_more, page.first_id) == (3, True, page.data[0].id)
    assert [model.id for model in client.models.list(limit=3)] == [row.id for row in catalogue().models]


def test_one_model(client: Anthropic) -> None:
    model = client.models.retrieve(OLD)
    assert model.id == "claude-opus-4-5-20251101"
    assert model.capabilities is not None
    assert model.capabilities.thinking.types.enabled.supported
    assert not model.capabilities.thinking.types.adaptive.supported
    with pytest.raises(anthropic.NotFoundError, match="model: claude-opus-9"):
        client.models.retrieve("claude-opus-9")


def item(name: str, **params: Any) -> Any:
    return {"custom_id": name, "params": {"model": NEW, "max_tokens": 4000, "messages": HELLO, **params}}


def test_a_batch_from_beginning_to_end(client: Anthropic, upstream: Upstream) -> None:
    requests = [
        item("good"),
        item("bad", temperature=0),
        item("gone", model="claude-opus-9"),
        item("s", stream=True),
    ]
    batch = client.messages.batches.create(requests=requests)
    assert batch.processing_status == "in_progress"
    batch = client.messages.batches.retrieve(batch.id)
    assert batch.processing_status == "ended"
    assert batch.results_url is not None
    assert batch.results_url.startswith(upstream.url)
    results = {result.custom_id: result.result for result in client.messages.batches.results(batch.id)}
    assert results["good"].type == "succeeded"
    assert results["good"].message.usage.service_tier == "batch"
    errors = {name: result.error.error for name, result in results.items() if result.type == "errored"}
    assert errors["bad"].type == "invalid_request_error"
    assert errors["gone"].type == "not_found_error"
    assert errors["s"].message == "stream: streaming is not supported in batches"


def test_batches_are_listed_cancelled_and_deleted(client: Anthropic) -> None:
    batches = client.messages.batches
    first, second = (batches.create(requests=[item("a")]) for _ in range(2))
    assert batches.cancel(second.id).processing_status == "canceling"
    assert [batch.id for batch in batches.list(limit=1)][:2] == [second.id, first.id]
    assert batches.retrieve(second.id).request_counts.canceled == 1
    assert batches.delete(first.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        batches.retrieve(first.id)


def test_a_file_comes_back_byte_for_byte(client: Anthropic) -> None:
    content = hashlib.shake_256(b"file").digest(300_000) + b"\r\n--"
    known = client.files.upload(file=("a.bin", io.BytesIO(content), "application/x-a"))
    assert (known.filename, known.size_bytes, known.mime_type) == ("a.bin", len(content), "application/x-a")
    assert known.to_dict()["sha256"] == hashlib.sha256(content).hexdigest()
    assert client.files.download(known.id).read() == content
    assert client.files.retrieve_metadata(known.id).id == known.id
    assert known.id in [found.id for found in client.files.list()]
    assert client.files.delete(known.id).id == known.id
    with pytest.raises(anthropic.NotFoundError):
        client.files.download(known.id)


# --- the wire -----------------------------------------------------------------------------------------------


def call(
    upstream: Upstream, method: str, path: str, headers: dict[str, str] | None = None, data: bytes = b""
) -> tuple[http.client.HTTPResponse, bytes]:
    host, _, port = upstream.url.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=10)) as connection:
        connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()


HEAD = {"x-api-key": "k", "anthropic-version": "2023-06-01"}


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({}, 401, "x-api-key header is required"),
        ({"x-api-key": "k"}, 400, "anthropic-version: header is required"),
        ({**HEAD, "anthropic-beta": "x"}, 400, "Unexpected value(s) `x` for the `anthropic-beta` header."),
        (HEAD, 400, "max_tokens: Field required"),
    ],
)
def test_the_front_door(upstream: Upstream, headers: dict[str, str], status: int, message: str) -> None:
    data = json.dumps({"model": NEW, "messages": HELLO}).encode()
    answer, body = call(upstream, "POST", "/v1/messages?beta=true", headers, data)
    assert (answer.status, json.loads(body)["error"]["message"]) == (status, message)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("POST", "/v1/models"), ("GET", "/"), ("GET", "/v2/messages")],
)
def test_any_other_path_is_not_found(upstream: Upstream, method: str, path: str) -> None:
    answer, body = call(upstream, method, path)
    error = json.loads(body)
    assert (answer.status, error["error"]["type"]) == (404, "not_found_error")
    assert error["request_id"] == answer.headers["request-id"]


def test_every_answer_has_its_id_and_the_limits(upstream: Upstream) -> None:
    answers = [call(upstream, "GET", path, HEAD)[0] for path in ("/v1/models", "/v1/models", "/v1/nothing")]
    ids = {answer.headers["request-id"] for answer in answers}
    assert len(ids) == 3
    assert all(name.startswith("req_") for name in ids)
    for answer in answers:
        assert answer.headers["anthropic-organization-id"]
        for limit in ("requests", "tokens", "input-tokens", "output-tokens"):
            assert int(answer.headers[f"anthropic-ratelimit-{limit}-remaining"]) > 0
            assert answer.headers[f"anthropic-ratelimit-{limit}-reset"].endswith("Z")


def test_the_log_has_every_byte_and_header(upstream: Upstream) -> None:
    data = (
        b'{ "model":"claude-opus-5-5" ,"max_tokens":1.0e2,\t"messages":[{"role":"user","content":"\\u00e9"}]}'
    )
    call(upstream, "POST", "/v1/messages?beta=true&x=%20", {**HEAD, "x-mine": "1"}, data)
    [request] = upstream.requests()
    assert request.body == data
    assert (request.body_bytes, request.body_sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (request.method, request.path, request.query) == ("POST", "/v1/messages", "beta=true&x=%20")
    assert request.header("X-Mine") == "1"
    assert request.header("x-api-key") == "k"
    assert request.model == NEW
    assert request.status == 200
    assert request.finished_at is not None
    assert request.at <= request.finished_at


def test_a_body_that_is_no_json_is_the_clients_fault(upstream: Upstream) -> None:
    answer, body = call(upstream, "POST", "/v1/messages", HEAD, b"{")
    assert (answer.status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("depth", [400, 5000])
def test_a_body_that_is_nested_too_deeply_is_the_clients_fault_too(upstream: Upstream, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    tools = f'[{{"name": "a", "strict": true, "input_schema": {{"x": {nested}, "allOf": {nested}}}}}]'
    data = f'{{"model": "{NEW}", "max_tokens": 100, "messages": {json.dumps(HELLO)}, "tools": {tools}}}'
    answer, body = call(upstream, "POST", "/v1/messages", HEAD, data.encode())
    assert answer.status in (200, 400)
    assert (answer.status == 200) is (depth == 400) or "nested" in json.loads(body)["error"]["message"]


def test_faults_without_a_model_strike_the_rest_of_the_api(upstream: Upstream) -> None:
    upstream.set_faults("kind=overloaded,path=/v1/models*", "kind=overloaded,model=claude-opus-5-5")
    assert call(upstream, "GET", "/v1/models", HEAD)[0].status == 529
    assert call(upstream, "GET", "/v1/files", HEAD)[0].status == 200
    upstream.set_faults()


def test_an_upstream_goes_away_and_comes_back_on_its_port() -> None:
    with running_simulator() as upstream:
        url = upstream.url
        call(upstream, "GET", "/v1/models", HEAD)
        upstream.stop()
        with pytest.raises(ConnectionRefusedError):
            call(upstream, "GET", "/v1/models", HEAD)
        upstream.start()
        assert upstream.url == url
        assert call(upstream, "GET", "/v1/models", HEAD)[0].status == 200
        assert len(upstream.requests()) == 2


def test_models_for_verified_organisations_are_hidden_from_others() -> None:
    with running_simulator(switches=Switches(verified_organisation=False)) as upstream:
        _, body = call(upstream, "GET", "/v1/models?limit=100", HEAD)
        assert "claude-mythos-5-2" not in {model["id"] for model in json.loads(body)["data"]}
        assert call(upstream, "GET", "/v1/models/claude-mythos-5-2", HEAD)[0].status == 404


def test_a_fault_of_an_unknown_model_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="model 'claude-opus-9' is not in the catalogue"):
        build_simulator(catalogue(), clock=ManualClock(), faults=[Fault("cut", "claude-opus-9")])


async def test_a_server_that_asks_is_told_that_it_may_start_and_stop() -> None:
    asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    told: list[Any] = []

    async def receive() -> Any:
        return next(asked)

    async def send(message: Any) -> None:
        told.append(message)

    await build_simulator(catalogue(), clock=ManualClock()).app({"type": "lifespan"}, receive, send)
    assert told == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]
