from typing import Any

import pytest

from gateway.simulator.replies.server_tools import INPUTS, resumes, round_of, tool_asked_for, usage_of
from tests.support.judged import HELLO, case_of

MODEL = "claude-opus-5-5"
SEARCH = {"type": "web_search_20250305", "name": "web_search"}


@pytest.mark.parametrize(
    ("text", "tools", "name"),
    [
        ("Use web_search for it.", [SEARCH], "web_search"),
        ("call the web_search tool", [SEARCH], "web_search"),
        ("Use web_search.", [], None),
        ("Use web_fetch.", [SEARCH], None),
        ("Tell me of web_search.", [SEARCH], None),
        (
            "use code_execution",
            [{"type": "code_execution_20260120", "name": "code_execution"}],
            "code_execution",
        ),
    ],
)
def test_a_tool_of_the_server_is_used_by_name(text: str, tools: list[Any], name: str | None) -> None:
    assert tool_asked_for(case_of({"model": MODEL, "tools": tools}), text) == name


@pytest.mark.parametrize("name", INPUTS)
def test_a_round_is_a_call_and_its_result(name: str) -> None:
    call, result = round_of(name, b"seed")
    assert (call["type"], call["name"], call["input"]) == ("server_tool_use", name, INPUTS[name])
    assert (result["type"], result["tool_use_id"]) == (f"{name}_tool_result", call["id"])
    assert call["id"].startswith("srvtoolu_")
    assert round_of(name, b"other")[0]["id"] != call["id"]


def test_searches_are_counted() -> None:
    counts = usage_of("web_search")["server_tool_use"]
    assert counts == {"web_search_requests": 1, "web_fetch_requests": 0}
    assert usage_of("code_execution")["server_tool_use"]["web_search_requests"] == 0


@pytest.mark.parametrize(
    ("last", "paused"),
    [
        (HELLO, False),
        ({"role": "assistant", "content": "Well"}, False),
        ({"role": "assistant", "content": round_of("web_search", b"s")}, True),
        ({"role": "assistant", "content": round_of("web_search", b"s")[:1]}, True),
        ({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}, False),
    ],
)
def test_a_paused_turn_that_is_sent_back_goes_on(last: Any, paused: bool) -> None:
    assert resumes(case_of({"model": MODEL, "messages": [HELLO, last]})) is paused
