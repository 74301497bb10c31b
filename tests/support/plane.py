"""The data path of one process, without a server: a `Plane` on a store in memory, driven as ASGI.

    async with in_front_of(by_model({O46: overloaded, O45: fine})) as process:
        heard = await process.post(body(O45))
        ... heard.status, heard.headers, heard.body, process.metrics(), process.asked ...

A `Caller` is a request that is still on its way: what has been heard so far, and a way to hang up.
`over_sockets` puts the same process behind uvicorn, for what only a server shows.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import uvicorn

from gateway.core.counts import Counts
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import LINE, MigrationState, Phase
from gateway.metrics import Metrics
from gateway.proxy.call import Limits, Plane
from gateway.proxy.routes import DataPath
from gateway.proxy.table import Table, build
from gateway.proxy.transport.wire import Origin, Wire
from gateway.store.ledger import Ledger
from gateway.store.notebook import Notebook
from tests.support.clock import ManualClock
from tests.support.memory_store import MemoryServer, MemoryStore
from tests.support.samples import labelled, read_page
from tests.support.scripted import Request, Script, Scripted, scripted_upstream
from tests.support.upstream import shipped_catalogue

O45, O46 = "claude-opus-4-5-20251101", "claude-opus-4-6"
SPEC = MigrationSpec(
    name="m", control=O45, candidate=O46, models=(O45, "claude-opus-4-5"), stages=(Stage("full", 100),)
)
ON_CANDIDATE = MigrationState("m", phase=Phase.running, run=1, version=1, epoch=1, weight=LINE, spec=SPEC)
ON_CONTROL = replace(ON_CANDIDATE, weight=0)
TODAY = date(2026, 6, 1)
DEADLINE_S = 5.0
LIMITS = Limits()
CATALOGUE = shipped_catalogue()

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass
class Heard:
    """What a client has of an answer."""

    status: int = 0
    raw_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.raw_headers}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ours(heard: Heard) -> dict[str, str]:
    """Return the headers that the gateway added, without their prefix."""
    return {
        name.removeprefix("x-gateway-"): value for name, value in heard.headers.items() if "gateway" in name
    }


class Caller:
    """One request on its way through an ASGI application."""

    def __init__(
        self,
        app: Callable[..., Coroutine[Any, Any, None]],
        scope: dict[str, Any],
        chunks: Sequence[bytes],
        *,
        finished: bool = True,
    ) -> None:
        self.heard = Heard()
        self._pending = list(chunks) or [b""]
        self._finished = finished
        self._gone = asyncio.Event()
        self._news = asyncio.Condition()
        self.task = asyncio.get_running_loop().create_task(app(scope, self._receive, self._send))

    async def answer(self) -> Heard:
        """Wait for the end of the answer, or of the connection."""
        async with asyncio.timeout(DEADLINE_S):
            await self.task
        return self.heard

    async def until(self, condition: Callable[[Heard], object]) -> Heard:
        """Wait until what was heard meets a condition."""
        async with asyncio.timeout(DEADLINE_S), self._news:
            await self._news.wait_for(lambda: condition(self.heard))
        return self.heard

    def hang_up(self) -> None:
        """Leave."""
        self._gone.set()

    async def _receive(self) -> dict[str, Any]:
        if self._pending:
            body = self._pending.pop(0)
            return {
                "type": "http.request",
                "body": body,
                "more_body": bool(self._pending or not self._finished),
            }
        if not self.heard.complete:
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        async with self._news:
            if message["type"] == "http.response.start":
                assert not self.heard.status, "two heads for one answer"
                self.heard.status, self.heard.raw_headers = message["status"], message["headers"]
            else:
                assert self.heard.status, "a body before its head"
                assert not self.heard.complete, "more after the end"
                self.heard.body += message["body"]
                self.heard.complete = not message.get("more_body", False)
                if self.heard.complete:
                    self._gone.set()
            self._news.notify_all()


class Process:
    """One serving process's data path, and what a test may look at and change."""

    def __init__(self, plane: Plane, clock: ManualClock, store: MemoryStore, spec: MigrationSpec) -> None:
        self.plane, self.clock, self.store, self.spec = plane, clock, store, spec
        self.app = DataPath(plane)
        self.upstream = Scripted()

    @property
    def asked(self) -> list[str]:
        """The models that the upstream was asked for, in order."""
        return [model_of(request) for request in self.upstream.requests]

    def obey(self, state: MigrationState, *, today: date = TODAY, spec: MigrationSpec | None = None) -> None:
        """Serve this state from here on."""
        self.spec = spec or self.spec
        self.plane.table = _table(self.spec, state, today)

    def call(
        self,
        content: bytes | Sequence[bytes] = b"",
        *,
        method: str = "POST",
        path: str = "/v1/messages",
        headers: Headers = (),
        finished: bool = True,
    ) -> Caller:
        """Begin a request; with `finished=False` its body stays open."""
        chunks = [content] if isinstance(content, bytes) else content
        target, _, query = path.partition("?")
        given = headers.items() if isinstance(headers, Mapping) else headers
        raw = [(name.lower().encode(), value.encode()) for name, value in given]
        if any(chunks) and not {b"content-length", b"transfer-encoding"} & {name for name, _ in raw}:
            raw.append((b"transfer-encoding", b"chunked"))
        scope = {
            "type": "http",
            "method": method,
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "headers": raw,
        }
        return Caller(self.app, scope, chunks, finished=finished)

    async def post(self, content: bytes, path: str = "/v1/messages", **headers: str) -> Heard:
        """Send a request and wait for its answer; `x_gateway_unit="u"` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call(content, path=path, headers=named).answer()

    def metrics(self) -> dict[str, float]:
        """Return every sample by its name and labels, those at zero left out."""
        samples = read_page(self.plane.metrics.render()[0].decode())
        return {name: value for name, value in samples.items() if value}

    def outcomes(self) -> dict[str, float]:
        """Return what `requests_total` has: `arm served outcome` → count."""
        return self.labelled("requests_total", "arm", "served", "outcome")

    def labelled(self, metric: str, *labels: str) -> dict[str, float]:
        """Return the samples of one metric by the values of these labels."""
        return dict(labelled(self.metrics(), metric, *labels))


def _wire(url: str, first_byte_s: float) -> Wire:
    """Return a wire with deadlines for tests."""
    return Wire(Origin.parse(url), connect_timeout_s=2, first_byte_timeout_s=first_byte_s)


def _table(spec: MigrationSpec, state: MigrationState, today: date) -> Table:
    return build((spec,), {state.name: replace(state, spec=spec)}, CATALOGUE, today)


@asynccontextmanager
async def data_path(
    url: str,
    state: MigrationState = ON_CANDIDATE,
    *,
    spec: MigrationSpec = SPEC,
    first_byte_s: float = 5.0,
    limits: Limits = LIMITS,
    wire: Callable[[str], Wire] | None = None,
    **options: Any,
) -> AsyncIterator[Process]:
    """Assemble a process that sends to `url` and obeys `state`; `options` are fields of `Plane`."""
    clock = ManualClock()
    store = MemoryStore(MemoryServer(clock))
    ledger = Ledger(store, secret=b"fleet", clock=clock, on_error=lambda operation: None)
    notebook = Notebook(store, secret=b"fleet", on_error=lambda operation: None)
    plane = Plane(
        **{
            "wire": wire(url) if wire else _wire(url, first_byte_s),
            "table": _table(spec, state, TODAY),
            "ledger": ledger,
            "notebook": notebook,
            "metrics": Metrics([spec.name]),
            "clock": clock,
            "counts": {spec.name: Counts()},
            "limits": limits,
            **options,
        }
    )
    ledger.start()
    notebook.start()
    try:
        yield Process(plane, clock, store, spec)
    finally:
        await ledger.aclose()
        await notebook.aclose()
        plane.wire.close()


@asynccontextmanager
async def in_front_of(
    script: Script, state: MigrationState = ON_CANDIDATE, **options: Any
) -> AsyncIterator[Process]:
    """Assemble a process in front of an upstream that follows a script."""
    async with scripted_upstream(script) as upstream, data_path(upstream.url, state, **options) as process:
        process.upstream = upstream
        yield process


@asynccontextmanager
async def over_sockets(process: Process) -> AsyncIterator[int]:
    """Serve a process with uvicorn on this loop; gives the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        process.app, http="httptools", lifespan="off", log_config=None, access_log=False, ws="none"
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield listener.getsockname()[1]
    finally:
        for each in server.servers:
            each.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        async with asyncio.timeout(DEADLINE_S):
            while tasks := set(server.server_state.tasks):
                await asyncio.wait(tasks)
        listener.close()


# --- what is asked and answered ---------------------------------------------------------------------------


def body(model: str = O45, text: str = "hello", **fields: Any) -> bytes:
    """Return a message request."""
    turns = [{"role": "user", "content": text}]
    return json.dumps({"model": model, "max_tokens": 64, "messages": turns, **fields}).encode()


def model_of(request: Request) -> str:
    """Return the model that a request names."""
    model: str = json.loads(request.body)["model"]
    return model


def by_model(scripts: Mapping[str, Script]) -> Script:
    """Return a script that behaves as the model that is asked."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        await scripts[model_of(request)](request, writer)

    return script


def message(text: str = "hi", **fields: Any) -> bytes:
    """Return a whole answer."""
    doc = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
        **fields,
    }
    return json.dumps(doc).encode()


def error(kind: str, text: str = "no") -> bytes:
    """Return an error of the upstream's."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": text}}).encode()


def event(name: str, **fields: Any) -> bytes:
    """Return one event of a stream."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps({"type": name, **fields}).encode())


PING = b'event: ping\ndata: {"type": "ping"}\n\n'
START = event("message_start", message={"id": "msg_1", "model": "m", "usage": {"input_tokens": 10}})
TEXT = event("content_block_start", index=0, content_block={"type": "text", "text": ""}) + event(
    "content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"}
)
END = (
    event("content_block_stop", index=0)
    + event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
    + event("message_stop")
)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return bytes as one chunk of an answer; none at all are its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def streaming(*events: bytes, cut: bool = False) -> Script:
    """Return a script that streams events; `cut` closes the connection where the end should be."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        await send_chunks(writer, events, cut=cut)

    return script


async def send_chunks(writer: asyncio.StreamWriter, pieces: Iterable[bytes], *, cut: bool) -> None:
    """Write the pieces as chunks, and their end; `cut` closes the connection in its place."""
    for piece in pieces:
        writer.write(chunk(piece))
        await writer.drain()
    if cut:
        writer.close()
    else:
        writer.write(chunk(b""))
