"""A receiver of notifications on a real socket, which remembers what it was sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gateway.core.types import parse_json


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message."""

    id: str
    """`X-Gateway-Delivery`: the same for every attempt."""
    signature: str
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        result: dict[str, Any] = parse_json(self.body)
        return result


@dataclass
class Receiver:
    """What has come so far."""

    url: str
    deliveries: list[Delivery] = field(default_factory=list)

    def changes(self) -> list[str]:
        """Return the kinds of what was told, in order."""
        return [delivery.told["type"] for delivery in list(self.deliveries)]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen on a free loopback port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            id, signature = (self.headers.get(f"x-gateway-{name}", "") for name in ("delivery", "signature"))
            running.deliveries.append(Delivery(id, signature, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
    thread = threading.Thread(target=server.serve_forever, name="webhook", daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
