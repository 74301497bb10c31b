"""A Messages API to rehearse on: raw ASGI, every model's rules, answers that repeat, faults on demand.

One request, in order: the log notes its arrival; credential, version and betas are checked; the body is
read and its model found; a fault may strike; the rules judge it; the answer is composed and sent at the
model's pace, spoilt on the way if a fault says so.

`x-simulator-fault: kind=cut` strikes the one request that carries it (name a `model` in it, and a rescue by
another model is spared); `x-simulator-prefill: repeat | spaced | fenced | continue` settles for one request
what `Switches.prefill_reply` settles for all, `x-simulator-switches: name=value, name=value` any switch.

`speed` divides the models' own latencies; 0 means no waiting at all.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from gateway.compat.catalog import Catalogue
from gateway.errors import ConfigError
from gateway.simulator.admin import PREFIX, Admin
from gateway.simulator.batches import Batch, Batches
from gateway.simulator.exchange import Disconnected, Exchange, Receive, Scope, Send
from gateway.simulator.faults import Fault, FaultPlan
from gateway.simulator.journal import Entry, Journal
from gateway.simulator.messages import Messages, suffer
from gateway.simulator.resources import MAX_FILE_BYTES, Files, model_object, page, rfc3339
from gateway.simulator.rules.case import ApiError, Head, Json, account_of, check_head, is_offered, read_body
from gateway.simulator.rules.switches import Switches
from gateway.tasks import Clock

MAX_BATCH_BYTES = 256 * 1024 * 1024
FILE_CHUNK_BYTES = 64 * 1024

RATE_LIMITS = {"requests": 4000, "input-tokens": 2_000_000, "output-tokens": 400_000, "tokens": 2_400_000}

Handler = Callable[[Exchange, Head], Awaitable[None]]


def build_simulator(
    catalogue: Catalogue,
    *,
    clock: Clock,
    faults: Iterable[Fault] = (),
    speed: float = 1.0,
    seed: int = 0,
    switches: Switches | None = None,
    refusals: float = 1.0,
) -> "Simulator":
    """Put a simulator together; raises ConfigError for a fault of a model that `catalogue` does not know.

    `refusals` scales how often models decline by themselves; 0 leaves refusals to faults.
    """
    return Simulator(
        catalogue,
        clock=clock,
        faults=tuple(faults),
        speed=speed,
        seed=seed,
        switches=switches or Switches(),
        refusals=refusals,
    )


class Simulator:
    """The ASGI app, and what a rehearsal in the same process may look at and change."""

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        clock: Clock,
        faults: tuple[Fault, ...],
        speed: float,
        seed: int,
        switches: Switches,
        refusals: float,
    ) -> None:
        for fault in faults:
            self._check_fault(catalogue, fault)
        self.plan = FaultPlan(faults, seed=seed)
        self.journal = Journal()
        self._catalogue = catalogue
        self._clock = clock
        self._switches = switches
        self._messages = Messages(catalogue, self.plan, clock, speed=speed, refusals=refusals)
        self._batches = Batches()
        self._files = Files()
        self._admin = Admin(self.plan, self.journal, partial(self._check_fault, catalogue))
        self._id_salt = f"{seed} {clock.now()}"
        self._requests = 0
        self._limits_until = 0
        self._limits: list[tuple[bytes, bytes]] = []

    @property
    def app(self) -> "Simulator":
        """The ASGI app: the simulator itself."""
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        at = self._clock.now()
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        logged = not path.startswith(PREFIX)
        entry = (
            self.journal.open(at, scope["method"], path, query) if logged else Entry(0, at, "", path, query)
        )
        entry.headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        exchange = Exchange(scope, receive, send, entry)
        exchange.null_details = self._switches.null_details
        self._name(exchange, at)
        try:
            await self._route(exchange)
        except ApiError as error:
            await exchange.fail(error)
        except RecursionError:
            await exchange.fail(ApiError(400, "The request body is nested too deeply"))
        except Disconnected:
            return
        finally:
            if logged:
                self.journal.close(entry, self._clock.now())

    def _name(self, exchange: Exchange, at: float) -> None:
        """Give the answer its id and the headers of every answer."""
        self._requests += 1
        digest = hashlib.sha256(f"{self._id_salt} {self._requests}".encode()).hexdigest()
        exchange.request_id = f"req_01{digest[:22]}"
        if int(at) >= self._limits_until:
            self._limits_until = int(at) + 1
            self._limits = list(_limit_headers(int(at) + 60))
        organisation = (b"anthropic-organization-id", account_of(exchange.header).encode())
        exchange.standard = [(b"request-id", exchange.request_id.encode()), organisation, *self._limits]

    async def _route(self, exchange: Exchange) -> None:
        if exchange.path.startswith(PREFIX):
            await self._admin.handle(exchange)
            return
        handler = self._handler(exchange.method, exchange.path.split("/")[1:])
        if handler is None:
            raise ApiError(404, f"no such endpoint: {exchange.method} {exchange.path}")
        head = check_head(exchange.header, self._switches)
        if handler not in (self._messages.create, self._messages.count):
            await suffer(exchange, self.plan.draw(exchange.path, frozenset()), "")
        await handler(exchange, head)

    def _handler(self, method: str, parts: list[str]) -> Handler | None:
        match method, parts:
            case "POST", ["v1", "messages"]:
                return self._messages.create
            case "POST", ["v1", "messages", "count_tokens"]:
                return self._messages.count
            case "POST", ["v1", "messages", "batches"]:
                return self._create_batch
            case "GET", ["v1", "messages", "batches"]:
                return self._list_batches
            case (("GET" | "DELETE"), ["v1", "messages", "batches", batch_id]):
                return partial(self._one_batch, batch_id)
            case "POST", ["v1", "messages", "batches", batch_id, "cancel"]:
                return partial(self._cancel_batch, batch_id)
            case "GET", ["v1", "messages", "batches", batch_id, "results"]:
                return partial(self._batch_results, batch_id)
            case "GET", ["v1", "models"]:
                return self._list_models
            case "GET", ["v1", "models", model_id]:
                return partial(self._one_model, model_id)
            case (("GET" | "POST"), ["v1", "files"]):
                return self._all_files
            case (("GET" | "DELETE"), ["v1", "files", file_id]):
                return partial(self._one_file, file_id)
            case "GET", ["v1", "files", file_id, "content"]:
                return partial(self._file_content, file_id)
        return None

    # --- models and files -----------------------------------------------------------------------------------

    async def _list_models(self, exchange: Exchange, head: Head) -> None:
        models = [row for row in self._catalogue.models if is_offered(row, self._switches)]
        await exchange.answer_json(page([model_object(row, head.betas) for row in models], exchange.query))

    async def _one_model(self, model_id: str, exchange: Exchange, head: Head) -> None:
        model = self._catalogue.find(model_id)
        if model is None or not is_offered(model, self._switches):
            raise ApiError(404, f"model: {model_id}")
        await exchange.answer_json(model_object(model, head.betas))

    async def _all_files(self, exchange: Exchange, head: Head) -> None:
        if exchange.method == "GET":
            await exchange.answer_json(page(self._files.all(), exchange.query))
            return
        body = await exchange.body(MAX_FILE_BYTES)
        kind = exchange.header.get("content-type", "")
        await exchange.answer_json(self._files.add(body, kind, self._clock.now()))

    async def _one_file(self, file_id: str, exchange: Exchange, head: Head) -> None:
        delete = exchange.method == "DELETE"
        await exchange.answer_json(
            self._files.delete(file_id) if delete else self._files.find(file_id).metadata
        )

    async def _file_content(self, file_id: str, exchange: Exchange, head: Head) -> None:
        stored = self._files.find(file_id)
        await exchange.start(200, stored.metadata["mime_type"], length=len(stored.content))
        for start in range(0, len(stored.content), FILE_CHUNK_BYTES):
            await exchange.write(stored.content[start : start + FILE_CHUNK_BYTES])
        await exchange.write(b"", last=True)

    # --- batches --------------------------------------------------------------------------------------------

    async def _create_batch(self, exchange: Exchange, head: Head) -> None:
        encoding = exchange.header.get("content-encoding", "")
        body = read_body(await exchange.body(MAX_BATCH_BYTES), encoding, limit=MAX_BATCH_BYTES)
        judge = partial(self._messages.batched, head=head)
        await self._show(exchange, self._batches.create(body, judge, self._clock.now()))

    async def _list_batches(self, exchange: Exchange, head: Head) -> None:
        host = _host(exchange)
        batches: list[Json] = [batch.as_json(host) for batch in self._batches.all(self._clock.now())]
        await exchange.answer_json(page(batches, exchange.query))

    async def _one_batch(self, batch_id: str, exchange: Exchange, head: Head) -> None:
        if exchange.method == "DELETE":
            await exchange.answer_json(self._batches.delete(batch_id, self._clock.now()))
        else:
            await self._show(exchange, self._batches.look(batch_id, self._clock.now()))

    async def _cancel_batch(self, batch_id: str, exchange: Exchange, head: Head) -> None:
        await self._show(exchange, self._batches.cancel(batch_id, self._clock.now()))

    async def _batch_results(self, batch_id: str, exchange: Exchange, head: Head) -> None:
        batch = self._batches.look(batch_id, self._clock.now())
        await exchange.start(200, "application/x-jsonl")
        for line in batch.lines():
            await exchange.write(line)
        await exchange.write(b"", last=True)

    async def _show(self, exchange: Exchange, batch: Batch) -> None:
        await exchange.answer_json(batch.as_json(_host(exchange)))

    @staticmethod
    def _check_fault(catalogue: Catalogue, fault: Fault) -> None:
        if fault.model is not None and catalogue.find(fault.model) is None:
            raise ConfigError(f"fault {fault.spec!r}: model {fault.model!r} is not in the catalogue")


def _host(exchange: Exchange) -> str:
    return f"{exchange.scheme}://{exchange.header.get('host', 'localhost')}"


def _limit_headers(reset_at: int) -> Iterable[tuple[bytes, bytes]]:
    for name, limit in RATE_LIMITS.items():
        prefix = f"anthropic-ratelimit-{name}-".encode()
        yield prefix + b"limit", str(limit).encode()
        yield prefix + b"remaining", str(limit - 1).encode()
        yield prefix + b"reset", rfc3339(reset_at).encode()


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to open or close, but servers that ask want an answer."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
