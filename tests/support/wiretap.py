"""What a client and a gateway say to each other, for clients that do not tell: a relay that takes notes.

It is offered to the client as its proxy, too, so that whatever is meant for anybody else ends here, noted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx2

from gateway.core.types import parse_json

_HOP = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


@dataclass
class Heard:
    """One request, and how its answer began."""

    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    status: int = 0
    """0: the gateway did not answer."""
    answered: dict[str, str] = field(default_factory=dict)
    """The answer's headers, names in lower case."""

    def json(self) -> dict[str, Any]:
        """Return the request's JSON object; an empty one where there is none."""
        return dict(parse_json(self.body)) if self.body else {}


@dataclass
class Wiretap:
    """Where to connect instead, and what was heard, in the order of the requests."""

    url: str = ""
    heard: list[Heard] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)
    """Where else the client wanted to go."""


@contextmanager
def wiretap(target: str) -> Iterator[Wiretap]:
    """Pass requests to `target` and stream the answers back until the block ends."""
    tap = Wiretap()
    with httpx2.Client(base_url=target, timeout=120, trust_env=False) as client:
        server = _Server(tap, client)
        serving = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield tap
        finally:
            server.shutdown()
            serving.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, tap: Wiretap, client: httpx2.Client) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tap, self.client = tap, client
        tap.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Pass a request on."""
        if not self.path.startswith("/"):
            self.do_CONNECT()
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        heard = Heard(self.command, self.path, headers, body)
        self.server.tap.heard.append(heard)
        sent = {name: value for name, value in headers.items() if name not in _HOP}
        # What is not asked for need not be decoded here.
        sent.setdefault("accept-encoding", "identity")
        with self.server.client.stream(self.command, self.path, headers=sent, content=body) as answer:
            heard.status, heard.answered = answer.status_code, dict(answer.headers)
            self._relay(answer)

    do_POST = do_HEAD = do_DELETE = do_GET

    def do_CONNECT(self) -> None:
        """Refuse a request for anybody else."""
        self.server.tap.strayed.append(f"{self.command} {self.path}")
        self.close_connection = True
        self.send_response_only(502)
        self.send_header("content-length", "0")
        self.end_headers()

    def _relay(self, answer: httpx2.Response) -> None:
        self.send_response_only(answer.status_code)
        for name, value in answer.headers.items():
            if name not in _HOP:
                self.send_header(name, value)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in answer.iter_raw():
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""
