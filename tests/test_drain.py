"""Between SIGTERM and the server's own handling of it lies the grace, in which everything is served."""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest

from gateway.drain import Drain
from tests.support.eventually import eventually

SOON_S = 10


class Server:
    """Handles SIGTERM as a server does: it stops listening."""

    def __init__(self, drain: Drain) -> None:
        self.told: list[tuple[int, bool]] = []
        self.stopped = asyncio.Event()
        self._drain = drain

    def handle(self, number: int, _frame: object) -> None:
        self.told.append((number, self._drain.begun))
        self.stopped.set()

    async def stops(self) -> None:
        await asyncio.wait_for(self.stopped.wait(), SOON_S)


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def serving(grace_s: float) -> tuple[Drain, Server]:
    drain = Drain(grace_s)
    server = Server(drain)
    signal.signal(signal.SIGTERM, server.handle)
    drain.heed()
    return drain, server


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("grace_s", [0.0, 0.05])
async def test_the_server_hears_of_it_after_the_grace(grace_s: float) -> None:
    drain, server = serving(grace_s)
    assert not drain.begun
    began = asyncio.get_running_loop().time()
    terminate()
    await server.stops()
    assert asyncio.get_running_loop().time() - began >= grace_s
    assert server.told == [(signal.SIGTERM, True)]


async def test_during_the_grace_the_server_goes_on() -> None:
    drain, server = serving(60)
    terminate()
    await eventually(lambda: drain.begun)
    assert server.told == []


async def test_a_second_signal_ends_the_grace() -> None:
    drain, server = serving(60)
    terminate()
    await eventually(lambda: drain.begun)
    terminate()
    await server.stops()
    assert server.told == [(signal.SIGTERM, True)]


async def test_where_nobody_handles_the_signal_nothing_changes() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    Drain(60).heed()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_thread_that_hears_no_signals_leaves_them_alone() -> None:
    server = Server(Drain(60))
    signal.signal(signal.SIGTERM, server.handle)

    async def heed() -> None:
        Drain(60).heed()

    thread = threading.Thread(target=lambda: asyncio.run(heed()))
    thread.start()
    thread.join(SOON_S)
    assert signal.getsignal(signal.SIGTERM) == server.handle


async def test_an_answer_says_that_it_is_the_last_and_is_otherwise_untouched() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    last = Drain(0).last(send)
    head = {"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]}
    body = {"type": "http.response.body", "body": b"z", "more_body": False}
    for message in (head, body):
        await last(message)
    assert sent == [{**head, "headers": [(b"x", b"y"), (b"connection", b"close")]}, body]
