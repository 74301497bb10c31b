"""What every verb of the pipeline is given: the call that came in, and the plane it runs on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.compat.envelope import Envelope
from gateway.core.counts import Counts
from gateway.core.tap import NoTap, Tap
from gateway.core.types import Arm
from gateway.core.units import Identity
from gateway.metrics import Metrics
from gateway.proxy.table import Table
from gateway.proxy.transport.headers import RawHeaders
from gateway.proxy.transport.wire import Wire
from gateway.store.ledger import Ledger
from gateway.store.notebook import Notebook
from gateway.store.receipts import Receipts
from gateway.tasks import Clock, Tasks


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the data path, in bytes and seconds."""

    body_bytes: int = 32 * 1024 * 1024
    batch_bytes: int = 256 * 1024 * 1024
    answer_bytes: int = 256 * 1024 * 1024
    ping_after_s: float = 15.0


@dataclass(slots=True)
class Plane:
    """Everything the data path works with. `table` is swapped as a whole; the rest stays for the process's
    life.
    """

    wire: Wire
    table: Table
    ledger: Ledger
    notebook: Notebook
    metrics: Metrics
    clock: Clock
    counts: dict[str, Counts] = field(default_factory=dict)
    """Migration → what this process has counted of it."""
    candidate_sent_at: dict[str, float] = field(default_factory=dict)
    """Migration → when a request was last sent to its candidate, in epoch seconds."""
    limits: Limits = Limits()
    pin_ttl_s: int = 3600
    upstream_api_key: str | None = None
    public_url: str = ""
    """Where clients reach the gateway; empty: where they say themselves that they do."""
    client_keys: dict[str, str] = field(default_factory=dict)
    """Key → name; empty: every caller brings a credential of the upstream's."""
    is_operator: Callable[[str], bool] = lambda token: False
    tasks: Tasks = field(default_factory=Tasks)
    """What goes on where its client has left."""
    receipts: Receipts = field(default_factory=Receipts)
    """Seals the ids that callers are told."""
    tap: Tap = field(default_factory=NoTap)
    """Who is given copies of answers, once their callers have them."""
    in_flight: int = 0

    def entered(self) -> None:
        """A request is being answered."""
        self.in_flight += 1
        self.metrics.entered()

    def left(self) -> None:
        """A request is over."""
        self.in_flight -= 1
        self.metrics.left()


@dataclass(frozen=True, slots=True)
class Call:
    """One request on a governed endpoint, read and parsed."""

    request_id: str
    method: bytes
    target: bytes
    """Path and query, as they came."""
    headers: RawHeaders
    """For the upstream, as the caller sent them."""
    body: bytes
    """As the caller sent it, still compressed where it was; `envelope.body` is what it says."""
    envelope: Envelope
    identity: Identity
    task: str
    forced: Arm | None
    counting: bool
    """count_tokens: the same assignment and rewriting, but nothing is noted or counted."""
    started: float
    """Monotonic time at which the head arrived."""
    batched: bool = False
    """An item of a batch: assigned and rewritten like a message, and pinned, but compared with nothing."""
