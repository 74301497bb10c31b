"""A thread is judged and answered as the whole conversation, and belongs to what it was created with."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from anthropic import Anthropic, beta_tool

from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.case import ApiError, Head
from gateway.simulator.rules.switches import Switches
from gateway.simulator.threads import IDLE_S, LIFE_S, MAX_THREADS, Threads
from tests.support.judged import HELLO, case_of
from tests.support.upstream import Upstream, running_simulator

BETAS = frozenset({"message-threads-2026-08-12"})
HEAD = Head("2023-06-01", BETAS)
OLD, NEW = "claude-opus-4-5", "claude-opus-5-5"
TEXT: Any = {"type": "text", "text": "Hi."}
CALL: Any = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
SAID = Reply([TEXT], "end_turn", 3)
MORE: Any = {"role": "user", "content": "More."}


def created(threads: Threads, message_id: str = "msg_1", reply: Reply = SAID, **fields: Any) -> None:
    case = case_of({"model": OLD, "thread": {"type": "create"}, **fields}, betas=BETAS)
    threads.keep(case, reply, message_id, 0.0)


def continued(previous: Any = "msg_1", **fields: Any) -> dict[str, Any]:
    thread = {"type": "continue", "previous_message_id": previous}
    return {"model": OLD, "messages": [MORE], "thread": thread, **fields}


def refusal_of(threads: Threads, body: dict[str, Any], now: float = 0.0) -> tuple[int, str | None]:
    with pytest.raises(ApiError) as caught:
        threads.whole(body, HEAD, now)
    return caught.value.status, caught.value.error_code


def test_a_continued_request_is_the_whole_conversation() -> None:
    threads = Threads()
    created(threads, system="Be brief.", tools=[])
    whole = threads.whole(continued(max_tokens=7), HEAD, IDLE_S)
    assert whole["messages"] == [HELLO, {"role": "assistant", "content": [TEXT]}, MORE]
    assert (whole["system"], whole["tools"], whole["max_tokens"]) == ("Be brief.", [], 7)


@pytest.mark.parametrize(
    "body",
    [{"model": OLD}, {"thread": None}, {"thread": {"type": "create"}, "messages": [HELLO]}, {"thread": 5}],
)
def test_what_continues_nothing_stays_as_it_is(body: dict[str, Any]) -> None:
    assert Threads().whole(body, HEAD, 0.0) is body


def test_without_the_beta_the_field_is_left_to_the_rules() -> None:
    body = continued()
    assert Threads().whole(body, Head("2023-06-01", frozenset()), 0.0) is body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (continued("msg_2"), 404, "thread_not_found"),
        (continued(None), 404, "thread_not_found"),
        (continued(model=NEW), 400, "thread_fingerprint_mismatch"),
        (continued(thinking={"type": "disabled"}), 400, "thread_fingerprint_mismatch"),
        (continued(system="Be kind."), 400, None),
        (continued(thread={"type": "go"}), 400, None),
    ],
)
def test_what_a_thread_cannot_go_on_with_is_said(body: dict[str, Any], status: int, code: str | None) -> None:
    threads = Threads()
    created(threads)
    assert refusal_of(threads, body) == (status, code)


def test_an_idle_thread_is_forgotten() -> None:
    threads = Threads()
    created(threads)
    assert refusal_of(threads, continued(), IDLE_S + 1) == (404, "thread_not_found")


def test_an_answer_is_continued_once() -> None:
    threads = Threads()
    created(threads)
    created(threads, "msg_2", **continued())
    assert refusal_of(threads, continued()) == (400, "thread_already_continued")
    assert threads.whole(continued("msg_2"), HEAD, 0.0)["messages"][-1] == MORE


@pytest.mark.parametrize(
    "reply",
    [
        Reply([], "refusal", 1),
        Reply([TEXT, CALL], "max_tokens", 9),
        Reply([TEXT, CALL], "model_context_window_exceeded", 9),
        Reply([TEXT], "end_turn", 9, usage={"iterations": [{"type": "fallback_message"}]}),
    ],
)
def test_a_declined_answer_and_a_cut_call_are_not_kept(reply: Reply) -> None:
    threads = Threads()
    created(threads, reply=reply)
    assert refusal_of(threads, continued()) == (404, "thread_not_found")


def test_there_is_room_for_so_many() -> None:
    threads = Threads()
    for number in range(MAX_THREADS + 1):
        created(threads, f"msg_{number}")
    assert refusal_of(threads, continued("msg_0")) == (404, "thread_not_found")
    assert threads.whole(continued("msg_1"), HEAD, 0.0)["messages"]


def test_a_thread_has_an_hour_in_all() -> None:
    threads = Threads()
    created(threads, "msg_0")
    for number, now in enumerate(range(250, 3500, 250)):
        head_at = threads.whole(continued(f"msg_{number}"), HEAD, now)
        case = case_of({**head_at, "model": OLD}, betas=BETAS)
        threads.keep(case, SAID, f"msg_{number + 1}", now)
    assert threads.whole(continued("msg_13"), HEAD, 3500)
    assert refusal_of(threads, continued("msg_13"), LIFE_S + 1) == (404, "thread_not_found")


@pytest.mark.parametrize("other", [{"account": "b"}, {"workspace": "w"}])
def test_another_account_or_workspace_has_no_such_thread(other: Any) -> None:
    threads = Threads()
    created(threads)
    with pytest.raises(ApiError) as caught:
        threads.whole(continued(), replace(HEAD, **other), 0.0)
    assert caught.value.error_code == "thread_not_found"


@pytest.mark.parametrize(
    "field",
    [
        {"tool_choice": {"type": "any"}},
        {"mcp_servers": []},
        {"context_management": {"edits": []}},
        {"output_config": {"effort": "low"}},
        {"container": {"skills": [{"id": "s"}]}},
        {"cache_control": {"type": "ephemeral"}},
    ],
)
def test_a_thread_is_bound_to_its_options(field: dict[str, Any]) -> None:
    threads = Threads()
    created(threads)
    assert refusal_of(threads, continued(**field)) == (400, "thread_fingerprint_mismatch")


@pytest.mark.parametrize(
    "field", [{"max_tokens": 7}, {"metadata": {}}, {"container": "c1"}, {"stream": True}]
)
def test_and_to_nothing_else(field: dict[str, Any]) -> None:
    threads = Threads()
    created(threads)
    assert threads.whole(continued(**field), HEAD, 0.0)["messages"][-1] == MORE


def test_a_thread_belongs_to_its_betas() -> None:
    threads = Threads()
    created(threads)
    more = replace(HEAD, betas=BETAS | {"files-api-2025-04-14"})
    with pytest.raises(ApiError) as caught:
        threads.whole(continued(), more, 0.0)
    assert caught.value.error_code == "thread_fingerprint_mismatch"


def test_only_one_request_at_a_time_continues_an_answer() -> None:
    threads = Threads()
    created(threads)
    with threads.held(continued(), HEAD, 0.0) as whole:
        assert whole["messages"][-1] == MORE
        assert refusal_of(threads, continued()) == (400, "thread_continue_in_flight")
    assert threads.whole(continued(), HEAD, 0.0)
    with pytest.raises(ApiError), threads.held(continued("msg_2"), HEAD, 0.0):
        pass


@pytest.mark.parametrize(
    ("fields", "switches", "unsupported"),
    [
        (
            {"context_management": {"edits": [{"type": "compact_20260112"}]}},
            Switches(),
            ["context_management"],
        ),
        ({"compaction": {"type": "summarize"}}, Switches(), None),
        ({"fallbacks": "default"}, Switches(threads_take_fallbacks=False), ["fallbacks"]),
    ],
)
def test_what_no_thread_takes_is_listed(fields: Any, switches: Switches, unsupported: Any) -> None:
    for body in (continued(**fields), {"thread": {"type": "create"}, **fields}):
        with pytest.raises(ApiError) as caught:
            Threads().whole(body, replace(HEAD, switches=switches), 0.0)
        details = {"error_code": "thread_unsupported_request"}
        assert caught.value.details == details | ({"unsupported": unsupported} if unsupported else {})


def test_context_editing_and_fallbacks_go_with_threads() -> None:
    fields: Any = {
        "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
        "fallbacks": "default",
    }
    body = {"thread": {"type": "create"}, **fields}
    assert Threads().whole(body, HEAD, 0.0) is body


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_simulator() as running:
        yield running


def test_the_official_tool_runner_holds_its_conversation_here(upstream: Upstream) -> None:
    places: list[str] = []

    @beta_tool
    def weather(place: str) -> str:
        """The weather of a place."""
        places.append(place)
        return "-3 degrees"

    with Anthropic(base_url=upstream.url, api_key="test-key", max_retries=0) as client:
        question: Any = [{"role": "user", "content": "Use the weather tool."}]
        answers = list(
            client.beta.messages.tool_runner(model=OLD, max_tokens=900, messages=question, tools=[weather])
        )
    assert places
    assert answers[-1].stop_reason == "end_turn"
    kinds = [request.json["thread"]["type"] for request in upstream.requests()]
    assert kinds == ["create", "continue"]
    assert len(upstream.requests()[1].json["messages"]) == 1
