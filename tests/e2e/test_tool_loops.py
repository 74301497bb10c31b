"""A tool loop goes on when its conversation changes the model between two requests."""

import base64
import json
from itertools import pairwise

import httpx2
import pytest

from tests.support.answers import Json, text_of
from tests.support.features import ADAPTIVE, PLAIN, TOOLS, assistant, thinks, user
from tests.support.moves import BY_CONTROL, PAIRS, Line, Pair, name_of

EVERY_PAIR = [pair for pairs in PAIRS.values() for pair in pairs]


def by_candidate(pair: Pair, answer: httpx2.Response) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-gateway-served-model"] == pair[1]
    assert answer.headers["x-gateway-arm"] == "candidate"
    assert answer.headers["x-gateway-reason"] in ("bucket", "recorded", "pinned")
    assert "x-gateway-fallback" not in answer.headers


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
