"""A server says where it listens, stops when asked, and when it cannot start it says why in one line."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from gateway.cli.serve import bound, url_of
from gateway.errors import ConfigError
from tests.support.command import run

CONFIG = Path(__file__).parents[2] / "config"
DEADLINE_S = 30


def environment(tmp_path: Path, **changes: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GATEWAY_")}
    return clean | {
        "GATEWAY_CONFIG": str(CONFIG / "gateway.yaml"),
        "GATEWAY_DATA_DIR": str(tmp_path / "data"),
        "GATEWAY_STORE_URL": f"sqlite:///{tmp_path / 'gateway.db'}",
        **changes,
    }


@contextmanager
def server(*command: str, env: Mapping[str, str], cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and what it said up to its address."""
    arguments = [sys.executable, "-m", "gateway.cli.main", *command]
    process = subprocess.Popen(
        arguments, env=env, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def address(said: str) -> str:
    match = re.search(r"http://127\.0\.0\.1:\d+", said)
    assert match is not None, said
    return match[0]


def get(url: str) -> httpx2.Response:
    """The first answer, however long the server takes to come up."""
    with httpx2.Client(transport=httpx2.HTTPTransport(retries=12), trust_env=False, timeout=5) as client:
        return client.get(url, headers={"x-api-key": "k", "anthropic-version": "2023-06-01"})


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(DEADLINE_S)


def test_serve_answers_where_it_says_and_ends_when_asked(tmp_path: Path) -> None:
    with server("serve", "--port", "0", env=environment(tmp_path), cwd=tmp_path) as (process, said):
        assert get(f"{address(said)}/healthz").text == "ok\n"
        assert (tmp_path / "data" / "admin-token").stat().st_mode & 0o777 == 0o600
        assert ended(process) == 0


@pytest.mark.parametrize("who", ["hunter2", ":hunter2", "user:hun%2Fter2"])
def test_what_serve_says_at_its_start_holds_no_password(tmp_path: Path, who: str) -> None:
    env = environment(tmp_path, GATEWAY_STORE_URL=f"redis://{who}@127.0.0.1:1/0")
    with server("serve", "--port", "0", env=env, cwd=tmp_path) as (process, first):
        assert process.stdout is not None
        assert get(f"{address(first)}/healthz").text == "ok\n"
        said = next(line for line in process.stdout if line.startswith("store"))
        assert said.split() == ["store", "redis://127.0.0.1:1/0"]
        assert ended(process) == 0


def test_workers_share_their_metrics_and_leave_nothing_behind(tmp_path: Path) -> None:
    with server("serve", "--port", "0", "--workers", "2", env=environment(tmp_path), cwd=tmp_path) as (
        process,
        said,
    ):
        assert "2 workers" in said
        assert "gateway_build_info" in get(f"{address(said)}/metrics").text
        assert len(list((tmp_path / "data").glob("metrics-*"))) == 1
        assert ended(process) == 0
    assert list((tmp_path / "data").glob("metrics-*")) == []


def test_simulate_answers_as_the_messages_api(tmp_path: Path) -> None:
    with server("simulate", "--port", "0", env=environment(tmp_path), cwd=tmp_path) as (process, said):
        assert "data" in get(f"{address(said)}/v1/models").json()
        assert ended(process) == 0


@pytest.mark.parametrize("command", ["serve", "simulate"])
def test_a_port_in_use_is_one_line(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = run(command, "--port", port, "--config", str(CONFIG / "gateway.yaml"))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"gateway: cannot listen on 127.0.0.1 port {port}: address already in use; "
        "stop what uses it or choose another with --port or --host\n"
    )


def test_a_host_that_is_none_is_one_line() -> None:
    with pytest.raises(ConfigError, match="cannot listen on no-such-host"), bound("no-such-host.invalid", 0):
        pass


def test_addresses_are_written_as_clients_need_them() -> None:
    with bound("127.0.0.1", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"GATEWAY_LOG_LEVEL": "loud"}, "GATEWAY_LOG_LEVEL"),
        ({"GATEWAY_CONFIG": "none.yaml"}, "none.yaml"),
        ({"GATEWAY_UPSTREAM_URL": "http://h:99999"}, "GATEWAY_UPSTREAM_URL: should be http://"),
        ({"GATEWAY_STORE_URL": "redis://:secret-key@h:notaport"}, "GATEWAY_STORE_URL: should be redis://"),
        ({"GATEWAY_STORE_URL": "redis://:a/secret-key@h:1/0"}, "percent-encoded"),
        ({"GATEWAY_DATA_DIR": "/dev/null/data"}, "GATEWAY_DATA_DIR: /dev/null/data cannot be written to"),
        (
            {"GATEWAY_STORE_URL": "sqlite:///:memory:", "GATEWAY_WORKERS": "2"},
            "GATEWAY_STORE_URL",
        ),
        ({"GATEWAY_UPSTREAM_API_KEY": "secret-key", "GATEWAY_HOST": "0.0.0.0"}, "GATEWAY_CLIENT_KEYS"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("serve", env=environment(tmp_path, **env))
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert "secret-key" not in ran.err


def test_a_wrong_fault_is_named() -> None:
    ran = run("simulate", "--config", str(CONFIG / "gateway.yaml"), "--fault", "kind=bored")
    assert (ran.code, "bored" in ran.err) == (2, True)


def test_a_wrong_switch_is_named_and_a_right_one_shown(tmp_path: Path) -> None:
    ran = run("simulate", "--config", str(CONFIG / "gateway.yaml"), "--switch", "colour=blue")
    assert (ran.code, "colour" in ran.err) == (2, True)
    given = ("--switch", "preview_retired=true", "--switch", "strict_roles=true")
    with server("simulate", "--port", "0", *given, env=environment(tmp_path), cwd=tmp_path) as (
        process,
        said,
    ):
        models = get(f"{address(said)}/v1/models?limit=100").json()["data"]
        assert "claude-mythos-preview" not in {model["id"] for model in models}
        assert ended(process) == 0
