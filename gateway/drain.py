"""How a serving process leaves without anybody noticing: from SIGTERM to the moment it stops listening.

A server that stops listening at once fails whoever is still being sent to it. So SIGTERM comes here first,
and `begun` is True from then on: `/readyz` answers 503, for the load balancer to send new requests elsewhere,
while those that still arrive are served as always. Their answers say `connection: close`, so that nobody is
left holding an idle connection for one more request when the end comes. Only `grace_s` later the server gets
its signal: it stops listening, waits for the answers that still run, and ends.

A second SIGTERM ends the grace; Ctrl-C knows none.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)


class Drain:
    """What SIGTERM begins in one serving process."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self.begun = False
        """Whether the process is about to end."""

    def heed(self) -> None:
        """Come between SIGTERM and the server that handles it; call from inside its loop.

        Where nobody handles the signal, or a thread that hears none runs the loop, nothing changes.
        """
        server = signal.getsignal(signal.SIGTERM)
        if not callable(server) or threading.current_thread() is not threading.main_thread():
            return
        loop, leave = asyncio.get_running_loop(), server

        def told(number: int, _frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin, loop, lambda: leave(number, None))

        signal.signal(signal.SIGTERM, told)

    def _begin(self, loop: asyncio.AbstractEventLoop, leave: Callable[[], object]) -> None:
        if self.begun or self._grace_s == 0:
            self.begun = True
            leave()
            return
        self.begun = True
        logger.info("not ready any more", extra={"stops_listening_in_s": self._grace_s})
        loop.call_later(self._grace_s, leave)

    def last(self, send: Send) -> Send:
        """Return `send` for an answer that is the last on its connection."""

        async def send_and_close(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        return send_and_close
