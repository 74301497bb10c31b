"""Clients that leave: the upstream call stops with them, and the request is booked once, nobody's failure."""

import asyncio

import pytest

from gateway.core.types import Arm
from gateway.proxy.transport.hangup import HangupGuard
from tests.support.eventually import eventually
from tests.support.plane import (
    END,
    O45,
    O46,
    PING,
    START,
    STREAM_HEAD,
    TEXT,
    Caller,
    Process,
    body,
    by_model,
    chunk,
    in_front_of,
    message,
)
from tests.support.scripted import Request, Script, answer, replying, silent
from tests.support.wires import others_run

FINE = replying(answer(message()))


def beginning_with(*events: bytes) -> Script:
    """Return a script that streams these events and then nothing more."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + b"".join(chunk(each) for each in events))
        await writer.drain()

    return script


async def leave(process: Process, caller: Caller) -> None:
    """Let the client hang up, and wait until the gateway has noticed and the upstream has too."""
    caller.hang_up()
    await caller.answer()
    await asyncio.wait_for(process.upstream.hung_up.wait(), 5)
    assert "gateway_in_flight" not in process.metrics()


def booked(process: Process) -> tuple[int, int]:
    tally = process.plane.counts["m"].window.totals(process.clock.now(), 60)[Arm.candidate]
    return tally.requests, tally.errors


async def test_leaving_before_the_answer_begins_stops_the_upstream_call() -> None:
    async with in_front_of(silent) as process:
        caller = process.call(body())
        await eventually(lambda: process.asked)
        assert process.metrics()["gateway_in_flight"] == 1
        await leave(process, caller)
        assert caller.heard.status == 0
        assert process.outcomes() == {"candidate candidate disconnected": 1}
        assert booked(process) == (0, 0)


async def test_leaving_in_the_middle_of_a_stream_books_it_once_with_the_tokens_so_far() -> None:
    async with in_front_of(beginning_with(START, TEXT)) as process:
        caller = process.call(body(stream=True))
        await caller.until(lambda heard: heard.body == START + TEXT)
        await leave(process, caller)
        assert caller.heard.body == START + TEXT
        assert process.outcomes() == {"candidate candidate disconnected": 1}
        assert process.labelled("tokens_total", "kind") == {"input": 10}
        assert booked(process) == (0, 0)


async def test_leaving_once_the_end_was_said_is_a_whole_answer() -> None:
    """Some clients close at `message_stop` without waiting for the end of the body."""
    async with in_front_of(beginning_with(START, TEXT, END)) as process:
        caller = process.call(body(stream=True))
        await caller.until(lambda heard: heard.body.endswith(END))
        await leave(process, caller)
        assert process.outcomes() == {"candidate candidate ok": 1}
        assert process.labelled("tokens_total", "kind") == {"input": 10, "output": 5}


async def test_leaving_after_the_last_byte_is_no_hang_up() -> None:
    async with in_front_of(FINE) as process:
        caller = process.call(body())
        await caller.answer()
        caller.hang_up()
        assert process.outcomes() == {"candidate candidate ok": 1}
        await process.post(body())
        assert process.upstream.connections == 1


async def test_leaving_during_silence_stops_the_pings() -> None:
    async with in_front_of(beginning_with(START)) as process:
        process.plane.limits = type(process.plane.limits)(ping_after_s=0.01)
        caller = process.call(body(stream=True))
        await caller.until(lambda heard: PING in heard.body)
        await leave(process, caller)
        assert process.outcomes() == {"candidate candidate disconnected": 1}


async def test_leaving_while_control_is_asked_books_no_fallback() -> None:
    failing = replying(answer(b"{}", status="529 X"))
    async with in_front_of(by_model({O46: failing, O45: silent})) as process:
        caller = process.call(body())
        await eventually(lambda: process.asked == [O46, O45])
        await leave(process, caller)
        assert process.outcomes() == {"candidate candidate disconnected": 1}
        assert process.labelled("fallbacks_total", "cause") == {}


async def test_leaving_before_the_body_is_through_sends_nothing_anywhere() -> None:
    async with in_front_of(FINE) as process:
        caller = process.call([body()[:10]], finished=False)
        caller.hang_up()
        await caller.answer()
        assert (process.upstream.connections, caller.heard.status) == (0, 0)
        assert process.outcomes() == {}


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_leaving_a_request_that_passes_through_stops_it_too(content: bytes) -> None:
    async with in_front_of(silent) as process:
        caller = process.call(content, path="/v1/files")
        await eventually(lambda: process.upstream.requests)
        await leave(process, caller)
        assert process.labelled("passthrough_total", "outcome") == {"disconnected": 1}


async def test_leaving_in_the_middle_of_an_upload_stops_it() -> None:
    async with in_front_of(FINE) as process:
        caller = process.call([b"x" * 10], path="/v1/files", finished=False)
        await eventually(lambda: process.upstream.connections)
        await leave(process, caller)
        assert process.upstream.requests == []
        assert process.labelled("passthrough_total", "outcome") == {"disconnected": 1}


async def test_a_process_that_ends_books_what_it_had_to_leave_and_lets_itself_be_cancelled() -> None:
    async with in_front_of(silent) as process:
        caller = process.call(body())
        await eventually(lambda: process.asked)
        caller.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller.task
        assert process.outcomes() == {"candidate candidate disconnected": 1}
        await asyncio.wait_for(process.upstream.hung_up.wait(), 5)


async def test_an_error_goes_through_the_guard_as_it_is() -> None:
    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        pass

    guard = HangupGuard(receive, send)

    async def fail() -> None:
        async with guard:
            guard.listen()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert not guard.gone


async def test_leaving_between_the_head_of_a_stream_and_its_first_event_stops_the_upstream_call() -> None:
    async with in_front_of(beginning_with()) as process:
        caller = process.call(body(stream=True))
        await eventually(lambda: process.asked)
        await others_run()
        await leave(process, caller)
        assert process.outcomes() == {"candidate candidate disconnected": 1}


class Client:
    """Both ends of one request, without a server."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: object) -> None:
        pass


async def test_what_comes_after_a_hang_up_is_not_cancelled_any_more() -> None:
    client = Client()
    guard = HangupGuard(client.receive, client.send)
    async with guard:
        guard.listen()
        client.left.set()
        await asyncio.get_running_loop().create_future()
    task = asyncio.current_task()
    assert (guard.gone, task and task.cancelling()) == (True, 0)


async def test_a_disconnect_behind_the_last_byte_cancels_nothing() -> None:
    client = Client()
    guard = HangupGuard(client.receive, client.send)
    async with guard:
        guard.listen()
        await guard.send({"type": "http.response.body", "body": b"", "more_body": False})
        client.left.set()
        await others_run()
    assert not guard.gone
