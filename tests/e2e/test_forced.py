"""An application that forces a tool call gets one, also from models that cannot be forced.

They are told in words, or to write the tool's input as JSON. The application sees the answer of a model that
was forced: a call, nothing else, and `tool_use` as the reason to stop.
"""

from typing import Any

import httpx2
import pytest

from tests.support.answers import Json, folded
from tests.support.moves import BY_CONTROL, MOVES, Line, Pair, name_of

UNFORCEABLE = ("claude-opus-5-5", "claude-sonnet-5-5")
FORWARD = [pair for pairs in MOVES.values() for pair in pairs if pair[1] in UNFORCEABLE]
HELLO: Json = {"role": "user", "content": "What is the weather in Paris?"}
WEATHER: Json = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
TIME: Json = {"name": "get_time", "description": "The time of day.", "input_schema": {"type": "object"}}
NAMED: Json = {"type": "tool", "name": "get_weather"}
TALKATIVE = "speaks_before_calls=true"


@pytest.fixture(params=FORWARD, ids=name_of)
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    return found


def asked(
    line: Line, pair: Pair, *, stream: bool = False, switches: str = "", **body: Any
) -> httpx2.Response:
    whole = {"model": pair[0], "max_tokens": 2000, "messages": [HELLO], "stream": stream, **body}
    more = {"x_simulator_switches": switches} if switches else {}
    answer = line.through(whole, **more)
    assert answer.status_code == 200, answer.text
    return answer


def message_of(answer: httpx2.Response) -> Json:
    streamed = answer.headers["content-type"].startswith("text/event-stream")
    message: Json = folded(answer.text) if streamed else answer.json()
    return message


def served(answer: httpx2.Response, pair: Pair) -> Json:
    """The candidate's answer, which must be nothing but one call."""
    assert answer.headers["x-gateway-served-model"] == pair[1]
    assert "forced_tool=E" in answer.headers["x-gateway-rewrites"].split(",")
    message = message_of(answer)
    assert message["stop_reason"] == "tool_use"
    (call,) = message["content"]
    assert call["type"] == "tool_use"
    found: Json = call
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", [NAMED, {"type": "any"}])
@pytest.mark.parametrize("switches", ["", TALKATIVE])
def test_a_call_is_all_that_the_application_sees(
    line: Line, pair: Pair, choice: Json, stream: bool, switches: str
) -> None:
    answer = asked(line, pair, tools=[WEATHER, TIME], tool_choice=choice, stream=stream, switches=switches)
    call = served(answer, pair)
    assert call["name"] in ("get_weather", choice.get("name", "get_time"))


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_for_json_alone_is_written_as_json(line: Line, pair: Pair, stream: bool) -> None:
    call = served(asked(line, pair, tools=[WEATHER], tool_choice=NAMED, stream=stream), pair)
    assert (call["name"], set(call["input"])) == ("get_weather", {"city"})
    assert isinstance(call["input"]["city"], str)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tools", [[WEATHER], [WEATHER, TIME]], ids=["json", "words"])
def test_the_conversation_is_repeated_as_the_model_knows_it(
    line: Line, pair: Pair, tools: list[Json], stream: bool
) -> None:
    # The upstream rejects a conversation in which anything before a thinking block was changed.
    same: Json = {"tools": tools, "stream": stream, "switches": f"{TALKATIVE}, recent_account=true"}
    history: list[Json] = [{"role": "user", "content": f"The weather in {pair[1]}, {stream}, {len(tools)}?"}]
    for number in range(3):
        forced: Json = {} if number else {"tool_choice": NAMED}
        answer = asked(line, pair, messages=history, **same, **forced)
        assert answer.headers["x-gateway-served-model"] == pair[1]
        assert "x-gateway-fallback" not in answer.headers
        content = message_of(answer)["content"]
        calls = [block["id"] for block in content if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": each, "content": "Sunny."} for each in calls]
        said: Any = results or "And tomorrow?"
        history += [{"role": "assistant", "content": content}, {"role": "user", "content": said}]


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_does_not_call_is_asked_once_more(line: Line, pair: Pair, stream: bool) -> None:
    fields: Json = {"tools": [WEATHER, TIME], "tool_choice": NAMED, "stream": stream}
    fields["messages"] = [{"role": "user", "content": f"Once more, {stream}, in {pair[1]}."}]
    call = served(asked(line, pair, switches="obeys_tool_line=second", **fields), pair)
    assert call["name"] == "get_weather"


@pytest.mark.parametrize("stream", [False, True])
def test_where_it_never_calls_control_does(line: Line, pair: Pair, stream: bool) -> None:
    fields: Json = {"tools": [WEATHER, TIME], "tool_choice": NAMED, "stream": stream}
    answer = asked(line, pair, switches="obeys_tool_line=never", **fields)
    assert answer.headers["x-gateway-served-model"] == pair[0]
    assert answer.headers["x-gateway-fallback"] == "no_tool_call"
    assert [block["type"] for block in message_of(answer)["content"]] == ["tool_use"]


def test_both_models_answer_in_the_same_shape(line: Line, pair: Pair) -> None:
    body = {
        "model": pair[0],
        "max_tokens": 2000,
        "messages": [HELLO],
        "tools": [WEATHER],
        "tool_choice": NAMED,
    }
    native = line.through(body, **BY_CONTROL).json()
    emulated = line.through(body).json()
    assert native.keys() == emulated.keys()
    assert [block.keys() for block in native["content"]] == [block.keys() for block in emulated["content"]]
    assert native["stop_reason"] == emulated["stop_reason"] == "tool_use"
