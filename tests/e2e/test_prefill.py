"""An application that gives the beginning of the answer gets the rest of it, in whatever manner it is told.


Control continues a prefill natively. A candidate is told in words how to begin, and may say the beginning
again, with a line break or in a fence around it, or go on after it: the application must not notice.
"""

import base64
import json
from typing import Any

import pytest

from tests.support.answers import Json, folded, text_of
from tests.support.features import assistant, ends_with, user
from tests.support.moves import BY_CONTROL, MOVES, Line, Lines, Pair, name_of

HABITS = ["repeat", "spaced", "fenced", "continue"]
FORWARD = [pair for pairs in MOVES.values() for pair in pairs]


@pytest.fixture(params=FORWARD, ids=name_of)
def pair(request: pytest.FixtureRequest) -> Pair:
    found: Pair = request.param
    return found


def natively(line: Line, pair: Pair, body: Json) -> Json:
    """Control's own answer."""
    answer = line.through({"model": pair[0], "max_tokens": 2000, **body}, **BY_CONTROL)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-served-model"] == pair[0]
    assert answer.headers["x-gateway-rewrites"] == ""
    message: Json = answer.json()
    return message


def emulated(line: Line, pair: Pair, habit: str, body: Json) -> list[Json]:
    """The candidate's answer, as JSON and as a stream."""
    messages = []
    for stream in (False, True):
        asked = {"model": pair[0], "max_tokens": 2000, **body, "stream": stream}
        answer = line.through(asked, x_simulator_prefill=habit)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-gateway-served-model"] == pair[1]
        assert "prefill=E" in answer.headers["x-gateway-rewrites"].split(",")
        assert "x-gateway-fallback" not in answer.headers
        messages.append(folded(answer.text) if stream else answer.json())
    return messages


def contract(value: Any) -> Any:
    """What an application relies on in a document: its keys and the types of what they hold."""
    if isinstance(value, dict):
        return {key: contract(item) for key, item in value.items()}
    return [contract(item) for item in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize(
    "prefill", ["{", "[", "[{", '{"name": "', '{"name":', '{\n  "name"', '{"name": "Ada", "total": 1']
)
def test_a_json_answer_that_was_begun_is_the_same_document(
    line: Line, pair: Pair, prefill: str, habit: str
) -> None:
    body = ends_with(prefill)
    agreed = contract(json.loads(prefill + text_of(natively(line, pair, body))))
    for message in emulated(line, pair, habit, body):
        assert [block["type"] for block in message["content"]] == ["text"]
        assert contract(json.loads(prefill + text_of(message))) == agreed


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("prefill", ["```json", "```json\n{", "Here it is:\n```json\n{"])
def test_a_fence_that_was_begun_is_closed_around_one_document(
    line: Line, pair: Pair, prefill: str, habit: str
) -> None:
    body = ends_with(prefill)
    agreed = contract(fenced_in(prefill + text_of(natively(line, pair, body))))
    for message in emulated(line, pair, habit, body):
        assert contract(fenced_in(prefill + text_of(message))) == agreed


def fenced_in(text: str) -> Any:
    """The document in the only fence of a text."""
    _, inner, _ = text.split("```")
    return json.loads(inner.removeprefix("json"))


@pytest.mark.parametrize(
    "prefill",
    ["Here is what I found", "Sentiment:", "The label is (", "<answer>", 'Name: "', "1. First,\n2."],
)
def test_a_text_that_was_begun_goes_on_alike_in_every_manner(line: Line, pair: Pair, prefill: str) -> None:
    body = ends_with(prefill, system="Be brief.")
    answers = [message for habit in HABITS for message in emulated(line, pair, habit, body)]
    assert {tuple(block["type"] for block in message["content"]) for message in answers} == {("text",)}
    (text,) = {text_of(message) for message in answers}
    native = text_of(natively(line, pair, body))
    assert text.strip()
    assert prefill not in text
    assert (text[0] == " ") is (native[0] == " ")
    assert text.endswith("</answer>") is native.endswith("</answer>")


@pytest.mark.parametrize("habit", HABITS)
def test_a_stop_sequence_ends_the_document_and_not_its_beginning(line: Line, pair: Pair, habit: str) -> None:
    body = ends_with("{", stop_sequences=["}"])
    native = natively(line, pair, body)
    assert (native["stop_reason"], native["stop_sequence"]) == ("stop_sequence", "}")
    agreed = contract(json.loads("{" + text_of(native) + "}"))
    for message in emulated(line, pair, habit, body):
        assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "}")
        assert contract(json.loads("{" + text_of(message) + "}")) == agreed


@pytest.mark.parametrize("habit", HABITS)
def test_a_conversation_of_begun_answers_goes_on(line: Line, pair: Pair, habit: str) -> None:
    body = ends_with("{")
    (question, begun), answers = body["messages"], set[str]()
    messages = [question]
    for turn in ("Extract from: Bob paid 7.", "Extract from: Eve paid 3.", ""):
        told = [*messages, begun]
        said = [text_of(message) for message in emulated(line, pair, habit, {**body, "messages": told})]
        assert said[0] == said[1]
        assert json.loads("{" + said[0])
        answers.add(said[0])
        messages += [assistant("{" + said[0]), user(turn)]
    assert len(answers) == 3


def test_the_manners_are_different(lines: Lines) -> None:
    line, pair = lines.of(FORWARD[0]), FORWARD[0]
    since = line.upstream.last_seq()
    emulated(line, pair, HABITS[0], ends_with("{"))
    words = json.loads(base64.b64decode(line.upstream.requests(since)[0]["body"]))
    texts = {text_of(line.directly(words, x_simulator_prefill=habit).json()) for habit in HABITS}
    assert len(texts) == len(HABITS)
