"""Noticing that the client has left.

While an answer is made nobody else reads from the client, so a small task does: a hang-up cancels the
request's own task, wherever it waits, and with it the upstream call. The request then accounts itself in its
`finally` and ends quietly. A disconnect that the server reports after the last byte of an answer is not a
hang-up. A request that is cancelled from outside (the process ends) has lost its client as well, but its
cancellation goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any

from gateway.proxy.transport.body import Receive

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class HangupGuard:
    """Async context around the making of one answer: use its `send` inside, and `listen` early."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self.gone = False
        """The client left, or had to be left, before the answer was through."""
        self.begun = False
        """The head of an answer has gone to the client."""
        self._receive = receive
        self._send = send
        self._through = False
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Future[None] | None = None

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send to the client; remembers how far the answer has come."""
        self.begun = True
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._through = True
        await self._send(message)

    def listen(self) -> None:
        """Start to watch; call it once the request's body has been read."""
        if self._watcher is None:
            self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="hangup")

    async def __aenter__(self) -> "HangupGuard":
        self._task = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self._watcher is not None:
            self._watcher.cancel()
        if kind is None or not issubclass(kind, asyncio.CancelledError):
            return False
        hung_up, self.gone = self.gone, True
        if hung_up and self._task is not None:
            self._task.uncancel()
        return hung_up

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._through and self._task is not None:
            self.gone = True
            self._task.cancel()
