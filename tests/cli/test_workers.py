"""Workers neither outlive their parent nor restart for ever, and what a killed `serve` left behind goes."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from gateway.cli.workers import metrics_directory

DEADLINE_S = 30
SERVE = """
import socket
import sys

import uvicorn

from gateway.cli.workers import Workers

if __name__ == "__main__":
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.set_inheritable(True)
        print(listener.getsockname()[1], flush=True)
        config = uvicorn.Config(sys.argv[1], workers=2, factory=True, lifespan="off", log_config=None)
        supervisor = Workers(config, listener)
        supervisor.run()
        print("failed" if supervisor.failed else "ended")
"""
APPS = """
import os

from gateway.errors import ConfigError


def fine():
    async def app(scope, receive, send):
        await receive()
        body = str(os.getpid() if scope["path"] == "/pid" else os.getppid()).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


def once_broken():
    if os.path.exists("break"):
        os.remove("break")
        print("broke", flush=True)
        raise RuntimeError("a mistake")
    return fine()


def misconfigured():
    raise ConfigError("GATEWAY_THING: is not a thing")


def broken():
    raise RuntimeError("a mistake")


def killed():
    os.kill(os.getpid(), 9)
"""


@contextmanager
def workers(app: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Two workers that serve an application, and their port."""
    (folder / "two_workers.py").write_text(SERVE)
    (folder / "some_apps.py").write_text(APPS)
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    process = subprocess.Popen(
        [sys.executable, folder / "two_workers.py", f"some_apps:{app}"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE_S)


def client() -> httpx2.Client:
    """A caller that waits for a server that has yet to come up, and opens a connection per request."""
    transport = httpx2.HTTPTransport(retries=12, limits=httpx2.Limits(max_keepalive_connections=0))
    return httpx2.Client(transport=transport, trust_env=False, timeout=DEADLINE_S)


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with workers("fine", tmp_path) as (process, port):
        with client() as caller:
            assert caller.get(f"http://127.0.0.1:{port}/").text == str(process.pid)
        process.kill()
        _, said = process.communicate(timeout=DEADLINE_S)  # to the end of what any of them could say
        assert "the parent of this worker is gone" in said
        with pytest.raises(ConnectionError):
            socket.create_connection(("127.0.0.1", port), DEADLINE_S)


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("misconfigured", "a worker could not start: GATEWAY_THING: is not a thing\n"),
        ("broken", "RuntimeError: a mistake\n"),
        ("killed", ""),
    ],
)
def test_workers_that_cannot_start_end_it_all(tmp_path: Path, app: str, reason: str) -> None:
    with workers(app, tmp_path) as (process, _):
        ended, said = process.communicate(timeout=DEADLINE_S)
    assert ended == "failed\n"
    assert reason in said
    assert ("Traceback" in said) == (app == "broken")


def test_a_worker_that_dies_later_is_replaced_even_by_one_that_has_to_be_tried_again(tmp_path: Path) -> None:
    with workers("once_broken", tmp_path) as (process, port), client() as caller:
        first = int(caller.get(f"http://127.0.0.1:{port}/pid").text)
        (tmp_path / "break").touch()
        os.kill(first, signal.SIGKILL)
        assert process.stdout is not None
        assert process.stdout.readline() == "broke\n"
        assert caller.get(f"http://127.0.0.1:{port}/").text == str(process.pid)
        process.terminate()
        assert process.communicate(timeout=DEADLINE_S)[0] == "ended\n"


def test_directories_that_nobody_holds_go_and_others_stay(tmp_path: Path) -> None:
    left, other = tmp_path / "metrics-left", tmp_path / "pins"
    for each in (left, other):
        each.mkdir()
        (each / "counter_1.db").touch()
    with metrics_directory(tmp_path) as first, metrics_directory(tmp_path) as second:
        assert sorted(each for each in tmp_path.iterdir()) == sorted([first, second, other])
    assert list(tmp_path.iterdir()) == [other]
