"""A scripted admin API on a real socket: what the command line talks to when there is no gateway."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = "opus-4-5-to-5-5"
TOKEN = "token-of-the-tests"


def status(**changes: Any) -> dict[str, Any]:
    """A status object of the public interface, with `changes` laid over it."""
    return {
        "name": NAME,
        "control": "claude-opus-4-5-20251101",
        "candidate": "claude-opus-5-5",
        "phase": "running",
        "reason": "",
        "stage": {"index": 2, "name": "early", "percent": 25, "entered_at": 1795171260.0, "hold_until": None},
        "weight_percent": 25.0,
        "run": 1,
        "version": 4,
        "epoch": 1,
        "config_drift": False,
        "decision": "hold",
        "next_check_at": None,
        "gates": [],
        "metrics": [],
        "enrolled": {"control": 312, "candidate": 308},
        "replicas": {"expected": 3, "acknowledged": 3, "missing": []},
        "store_available": True,
        **changes,
    }


def error(message: str, kind: str = "conflict_error") -> dict[str, Any]:
    """An error in the envelope."""
    return {"type": "error", "error": {"type": kind, "message": message}}


@dataclass(frozen=True, slots=True)
class Received:
    """One request that came in."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any


@dataclass(slots=True)
class AdminApi:
    """What the server answers, by `METHOD path`, and what it was asked. The last answer of a list repeats."""

    url: str
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    def script(self, route: str, *answers: Any, status: int = 200) -> None:
        """Answer `route` with these documents, one after the other."""
        self.answers[route] = [(status, answer) for answer in answers]

    @property
    def last(self) -> Received:
        return self.received[-1]

    def answer(self, route: str) -> tuple[int, Any]:
        """What comes next on `route`."""
        queue = self.answers.get(route)
        if queue is None:
            return 404, error(f"nothing at {route}", "not_found_error")
        return queue.pop(0) if len(queue) > 1 else queue[0]


@contextmanager
def serve() -> Iterator[AdminApi]:
    """A server with one migration in its list; everything else is scripted by the test."""
    api = AdminApi("")

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, path, query, headers, json.loads(body) if body else None)
            api.received.append(request)
            code, document = api.answer(f"{request.method} {path}")
            if headers.get("authorization") != f"Bearer {TOKEN}":
                code, document = 401, error("who are you?", "authentication_error")
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(code)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = handle_any

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_port}"
    api.script("GET /admin/migrations", {"data": [status()]})
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
