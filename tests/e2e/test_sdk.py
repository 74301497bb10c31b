"""The official SDK, with nothing changed but `base_url`, on both arms of a migration.

The weight alone decides the arm: 0 is control, 100 the candidate.
"""

from collections.abc import Iterator

import anthropic
import pytest
from anthropic import (
    Anthropic,
    AsyncAnthropic,
    BadRequestError,
    NotFoundError,
    RequestTooLargeError,
    beta_async_tool,
    beta_tool,
)
from anthropic.types import Message, MessageParam, ToolParam, ToolResultBlockParam
from anthropic.types.beta import BetaMessageParam
from pydantic import BaseModel

from tests.support.deploy import Deployed, Simulated, deployed, migration, write_config
from tests.support.talks import KEY

ALIAS, CONTROL, CANDIDATE = "claude-opus-4-5", "claude-opus-4-5-20251101", "claude-opus-5-5"
SERVED = {"control": CONTROL, "candidate": CANDIDATE}


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory = tmp_path_factory.mktemp("sdk")
    document = migration("m", CONTROL, CANDIDATE, match={"models": [ALIAS, CONTROL]})
    with deployed(write_config(directory, _upstream.url, document), directory) as running:
        running.act("m", "start", reason="test")
        yield running


@pytest.fixture(scope="module", params=SERVED)
def served(request: pytest.FixtureRequest, gateway: Deployed) -> str:
    """The model that has to answer."""
    gateway.set_weight("m", {"control": 0, "candidate": 100}[request.param])
    return SERVED[request.param]


def asked(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


HELLO = asked("Say something about rivers.")
LOOK_UP = asked("Use the weather tool for Oslo.")
BETA_LOOK_UP: list[BetaMessageParam] = [{"role": "user", "content": "Use the weather tool for Oslo."}]
TOOLS: list[ToolParam] = [
    {"name": name, "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}}}
    for name in ("weather", "tides")
]


RIVERS: BetaMessageParam = {"role": "user", "content": "Say something about rivers."}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


# --- messages -----------------------------------------------------------------------------------------------


def test_a_message_is_answered(client: Anthropic, served: str) -> None:
    raw = client.messages.with_raw_response.create(model=ALIAS, max_tokens=2000, messages=HELLO)
    message = raw.parse()
    assert (message.model, message.role, message.stop_reason) == (served, "assistant", "end_turn")
    assert text_of(message)
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0
    assert raw.headers["x-gateway-served-model"] == served
    assert message._request_id == raw.headers["request-id"]


async def test_a_message_is_answered_asynchronously(patient: AsyncAnthropic, served: str) -> None:
    message = await patient.messages.create(model=CONTROL, max_tokens=2000, messages=HELLO)
    assert (message.model, message.stop_reason) == (served, "end_turn")
    assert text_of(message)


def test_a_stream_of_events_arrives(client: Anthropic, served: str) -> None:
    with client.messages.create(model=ALIAS, max_tokens=2000, messages=HELLO, stream=True) as stream:
        events = list(stream)
    assert events[-1].type == "message_stop"
    assert events[0].type == "message_start"
    assert events[0].message.model == served
    assert any(event.type == "content_block_delta" for event in events)


def test_the_stream_s_text_and_its_final_message_agree(client: Anthropic, served: str) -> None:
    with client.messages.stream(model=ALIAS, max_tokens=2000, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert (final.model, final.stop_reason) == (served, "end_turn")
    assert text == text_of(final) != ""
    assert final.usage.output_tokens > 1


async def test_a_stream_arrives_asynchronously(patient: AsyncAnthropic, served: str) -> None:
    async with patient.messages.stream(model=ALIAS, max_tokens=2000, messages=HELLO) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert final.model == served
    assert text == text_of(final) != ""


def test_thinking_that_was_asked_for_is_shown(client: Anthropic, served: str) -> None:
    with client.messages.stream(
        model=ALIAS, max_tokens=8000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 2000}
    ) as stream:
        final = stream.get_final_message()
    assert final.model == served
    thought = final.content[0]
    assert thought.type == "thinking"
    assert thought.thinking
    assert thought.signature


class Bill(BaseModel):
    """What is read from a bill."""

    name: str
    total: float


def test_a_structured_answer_is_parsed(client: Anthropic, served: str) -> None:
    message = client.messages.parse(model=ALIAS, max_tokens=2000, messages=HELLO, output_format=Bill)
    assert message.model == served
    assert isinstance(message.parsed_output, Bill)


def test_a_prefill_is_continued(client: Anthropic, served: str) -> None:
    begun: MessageParam = {"role": "assistant", "content": "{"}
    message = client.messages.create(
        model=ALIAS, max_tokens=2000, messages=[*HELLO, begun], system="Only JSON."
    )
    assert message.model == served
    assert [block.type for block in message.content] == ["text"]
    assert text_of(message).lstrip()[0] != "{"


def test_tokens_are_counted(client: Anthropic, served: str) -> None:
    raw = client.messages.with_raw_response.count_tokens(model=ALIAS, messages=HELLO, tools=TOOLS)
    assert raw.headers["x-gateway-served-model"] == served
    assert raw.parse().input_tokens > 0


async def test_tokens_are_counted_asynchronously(patient: AsyncAnthropic, served: str) -> None:
    raw = await patient.messages.with_raw_response.count_tokens(model=ALIAS, messages=HELLO)
    assert raw.headers["x-gateway-served-model"] == served
    assert (await raw.parse()).input_tokens > 0


# --- tools --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thinks", [False, True])
def test_a_tool_loop_by_hand_comes_to_its_end(client: Anthropic, served: str, thinks: bool) -> None:
    messages = list(LOOK_UP)
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}} if thinks else {}
    for _ in range(6):
        with client.messages.stream(
            model=ALIAS, max_tokens=8000, messages=messages, tools=TOOLS, extra_body=thinking
        ) as stream:
            message = stream.get_final_message()
        assert message.model == served
        results = results_for(message)
        if not results:
            break
        messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    assert len(messages) > 1
    assert (message.stop_reason, text_of(message) != "") == ("end_turn", True)


def results_for(message: Message) -> list[ToolResultBlockParam]:
    calls = [block for block in message.content if block.type == "tool_use"]
    assert all(isinstance(call.input["place"], str) for call in calls)
    return [{"type": "tool_result", "tool_use_id": call.id, "content": "-3 degrees"} for call in calls]


@pytest.mark.parametrize("held", [False, True], ids=["whole history", "thread"])
def test_the_tool_runner_comes_to_its_end(
    client: Anthropic, served: str, upstream: Simulated, held: bool
) -> None:
    called: list[str] = []

    @beta_tool
    def weather(place: str) -> str:
        """The weather of a place."""
        called.append(place)
        return "-3 degrees"

    since = upstream.last_seq()
    runner = client.beta.messages.tool_runner(
        model=ALIAS,
        max_tokens=4000,
        messages=BETA_LOOK_UP,
        tools=[weather],
        thread=anthropic.omit if held else False,
    )
    answers = list(runner)
    assert called
    assert answers[-1].stop_reason == "end_turn"
    assert {entry["model"] for entry in upstream.requests(since)} == {served}


async def test_the_asynchronous_tool_runner_comes_to_its_end(patient: AsyncAnthropic, served: str) -> None:
    called: list[str] = []

    @beta_async_tool
    async def weather(place: str) -> str:
        """The weather of a place."""
        called.append(place)
        return "-3 degrees"

    runner = patient.beta.messages.tool_runner(
        model=ALIAS, max_tokens=4000, messages=BETA_LOOK_UP, tools=[weather], stream=True, thread=False
    )
    answers = [await stream.get_final_message() async for stream in runner]
    assert called
    assert {answer.model for answer in answers} == {served}
    assert answers[-1].stop_reason == "end_turn"


# --- models -------------------------------------------------------------------------------------------------


def test_models_are_listed_and_shown(client: Anthropic) -> None:
    ids = [model.id for model in client.models.list(limit=5)]
    assert len(ids) == len({*ids}) > 5, "more than one page"
    assert {CONTROL, CANDIDATE} <= {*ids}
    shown = client.models.retrieve(ALIAS)
    assert (shown.id, shown.type) == (CONTROL, "model")
    assert shown.capabilities is not None
    assert shown.capabilities.thinking.types.enabled.supported
    with pytest.raises(NotFoundError):
        client.models.retrieve("claude-nobody")


async def test_models_are_listed_asynchronously(patient: AsyncAnthropic) -> None:
    ids = [model.id async for model in patient.models.list(limit=5)]
    assert {CONTROL, CANDIDATE} <= {*ids}


# --- credentials and errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["api_key", "auth_token"])
def test_the_credential_arrives_as_the_sdk_sends_it(
    gateway: Deployed, served: str, upstream: Simulated, style: str
) -> None:
    since = upstream.last_seq()
    credential = f"{KEY}-{style}"
    key, token = (credential, None) if style == "api_key" else (None, credential)
    with Anthropic(api_key=key, auth_token=token, base_url=gateway.url) as client:
        assert client.messages.create(model=ALIAS, max_tokens=500, messages=HELLO).model == served
    (entry,) = upstream.requests(since)
    headers = dict(entry["headers"])
    assert headers["authorization"] == f"Bearer {credential}"
    assert "x-api-key" not in headers
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["user-agent"].startswith("Anthropic/Python")


def test_the_older_spelling_of_an_api_key_arrives_too(
    gateway: Deployed, served: str, upstream: Simulated
) -> None:
    since = upstream.last_seq()
    older: dict[str, str | anthropic.Omit] = {"x-api-key": KEY, "authorization": anthropic.Omit()}
    with Anthropic(api_key=KEY, base_url=gateway.url) as client:
        message = client.messages.create(model=ALIAS, max_tokens=500, messages=HELLO, extra_headers=older)
    assert message.model == served
    (entry,) = upstream.requests(since)
    assert dict(entry["headers"])["x-api-key"] == KEY
    assert "authorization" not in dict(entry["headers"])


def test_errors_have_their_class_and_their_request_id(client: Anthropic, served: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.messages.create(model=ALIAS, max_tokens=500, messages=HELLO, extra_body={"from_2031": 1})
    assert refused.value.type == "invalid_request_error"
    assert "from_2031: Extra inputs are not permitted" in refused.value.message
    assert refused.value.request_id == refused.value.response.headers["request-id"]
    with pytest.raises(NotFoundError):
        client.messages.create(model="claude-nobody", max_tokens=500, messages=HELLO)
    with pytest.raises(RequestTooLargeError):
        client.messages.create(model=ALIAS, max_tokens=500, messages=asked("x" * (33 << 20)))
