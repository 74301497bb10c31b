"""What control accepts is answered after the migration, and after the migration back.

The upstream is asked first, without a gateway: whether control takes a request, and whether the candidate
would take the same words. Then the same request goes through a gateway that sends all it can to the
candidate.
"""

import base64
import json
from itertools import pairwise

import httpx2
import pytest

from gateway.compat.explain.features import EFFORT, PREFILL, SAMPLING, THINKING, TOOL_USE
from tests.support.answers import Json, folded, text_of
from tests.support.features import (
    ADAPTIVE,
    FEATURES,
    O55,
    PLAIN,
    TOOLS,
    Feature,
    assistant,
    body_for,
    counting,
    thinks,
    user,
)
from tests.support.moves import BY_CONTROL, COUNT, PAIRS, Line, Lines, Pair, name_of

GROUPS = (THINKING, EFFORT, SAMPLING, PREFILL, TOOL_USE)
EVERY_PAIR = [pair for pairs in PAIRS.values() for pair in pairs]
ASKED = [feature for group in GROUPS for feature in FEATURES if feature.asked in group and not feature.betas]
"""What the rules of thinking, effort, sampling, prefill and tool choice are about."""
EVERY_FEATURE = [
    pytest.param(pair, feature, id=f"{name_of(pair)}: {feature.name}")
    for pair in EVERY_PAIR
    for feature in ASKED
    if pair[0] in feature.accepted_on
]


@pytest.fixture
def line(lines: Lines, pair: Pair) -> Line:
    return lines.of(pair)


def same_words_to(model: str, body: Json) -> Json:
    return {**body, "model": model}


def by_candidate(pair: Pair, answer: httpx2.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-served-model"] == pair[1]
    assert answer.headers["x-gateway-arm"] == "candidate"
    assert answer.headers["x-gateway-reason"] in ("bucket", "recorded", "pinned")
    assert "x-gateway-fallback" not in answer.headers


def by_control(pair: Pair, answer: httpx2.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-served-model"] == pair[0]
    assert answer.headers["x-gateway-arm"] == "control"
    assert answer.headers["x-gateway-reason"] == "unservable"
    assert "x-gateway-fallback" not in answer.headers


def looks_alike(taken: Json, message: Json, *, thinks_anyway: bool) -> None:
    """Both have the same kinds of blocks, and show as much of their thinking."""
    if said := kinds(taken) - {"thinking"}:
        assert kinds(message) - {"thinking"} == said
    if "thinking" not in kinds(taken):
        assert "thinking" not in kinds(message) or thinks_anyway
        assert not shows_thinking(message)
    elif "thinking" in kinds(message):
        assert shows_thinking(message) == shows_thinking(taken)


def done_to(answer: httpx2.Response) -> list[str]:
    """What was done to the request; once its conversation is pinned, few shots look like answers whose notes
    are lost.
    """
    rules = answer.headers["x-gateway-rewrites"].split(",")
    return [rule for rule in rules if rule and not rule.startswith("replay=")]


def without_ids(message: Json) -> list[Json]:
    """Return the blocks; the id of a call that the gateway made up is another each time."""
    return [{**block, "id": ""} if block["type"] == "tool_use" else block for block in message["content"]]


def kinds(message: Json) -> set[str]:
    return {block["type"] for block in message["content"]}


def shows_thinking(message: Json) -> bool:
    return any(block["type"] == "thinking" and block["thinking"] for block in message["content"])


@pytest.mark.parametrize(("pair", "feature"), EVERY_FEATURE)
def test_what_control_accepts_is_answered(line: Line, pair: Pair, feature: Feature) -> None:
    control, candidate = pair
    body = body_for(control, feature)
    taken = line.directly(body)
    assert taken.status_code == 200, f"the table is wrong: {taken.text}"
    foreign = line.directly(same_words_to(candidate, body)).status_code == 400
    serves = by_control if candidate in feature.unservable_on else by_candidate

    answers = [line.through(body), line.through(counting(body), COUNT)]
    if feature.streams:
        answers.append(line.through({**body, "stream": True}))
    for answer in answers:
        serves(pair, answer)
    whole, counted, *streamed = answers

    if foreign and serves is by_candidate:
        rules = [change.partition("=")[0] for change in whole.headers["x-gateway-rewrites"].split(",")]
        assert not {*feature.rule.split("|")}.isdisjoint(rules)
    assert counted.json()["input_tokens"] > 0
    message = whole.json()
    assert message["model"] == (control if serves is by_control else candidate)
    for stream in streamed:
        told = folded(stream.text)
        assert (without_ids(told), told["stop_reason"]) == (without_ids(message), message["stop_reason"])
        assert done_to(stream) == done_to(whole)
    looks_alike(taken.json(), message, thinks_anyway=candidate == O55)


@pytest.mark.parametrize("pair", EVERY_PAIR, ids=name_of)
def test_what_control_refuses_is_refused_in_its_own_words_or_taken(line: Line, pair: Pair) -> None:
    control, candidate = pair
    before = fallbacks(line)
    for feature in (feature for feature in ASKED if control not in feature.accepted_on):
        body = body_for(control, feature)
        refused, answer = line.directly(body), line.through(body)
        assert refused.status_code == 400, f"the table is wrong about {feature.name!r}"
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]) == (400, refused.json()["error"])
        else:
            assert answer.headers["x-gateway-served-model"] == candidate
    assert fallbacks(line) == before


def fallbacks(line: Line) -> dict[str, float]:
    """What was booked against candidates so far."""
    return {
        name: n for name, n in line.gateway.metrics().items() if name.startswith("gateway_fallbacks_total{")
    }


@pytest.mark.parametrize("pair", EVERY_PAIR, ids=name_of)
@pytest.mark.parametrize("turned_on", [False, True], ids=["default thinking", "thinking"])
def test_a_tool_loop_changes_its_model_between_any_two_requests(
    line: Line, pair: Pair, turned_on: bool
) -> None:
    control, _ = pair
    switch = thinks("adaptive") if control in ADAPTIVE else thinks("enabled", budget_tokens=2048)
    body = {"model": control, **PLAIN, "tools": TOOLS, **(switch if turned_on else {})}
    messages = [user("Use the get_weather tool for Oslo and for Bergen, in parallel.")]
    message = line.directly({**body, "messages": messages}).json()
    since, rounds = line.upstream.last_seq(), 0
    while calls := [block["id"] for block in message["content"] if block["type"] == "tool_use"]:
        rounds += 1
        results = [{"type": "tool_result", "tool_use_id": call, "content": "-3 degrees"} for call in calls]
        messages += [assistant(message["content"]), user(results)]
        answer = line.through({**body, "messages": messages})
        by_candidate(pair, answer)
        message = answer.json()
        taken_back = line.through({**body, "messages": messages}, **BY_CONTROL)
        assert taken_back.status_code == 200, taken_back.text
    assert 2 <= rounds < 5
    assert (message["stop_reason"], text_of(message) != "") == ("end_turn", True)
    never_edited([received(entry) for entry in line.upstream.requests(since) if entry["model"] == pair[1]])


def never_edited(bodies: list[Json]) -> None:
    """What the candidate was told once it is told in the same words for ever."""
    for earlier, later in pairwise(bodies):
        assert later["messages"][: len(earlier["messages"])] == earlier["messages"]
        assert {**later, "messages": []} == {**earlier, "messages": []}


def received(entry: Json) -> Json:
    body: Json = json.loads(base64.b64decode(entry["body"]))
    return body
