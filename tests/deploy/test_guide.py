"""What docs/deploy.md tells people to type works, as far as it can be typed without Docker."""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from tests.support.compose import Compose
from tests.support.deploy import REPOSITORY, deployed, write_config
from tests.support.redis_server import binaries
from tests.support.stack import SECRETS, Stack

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(120)]

GUIDE = (REPOSITORY / "docs/deploy.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
BALANCER = (REPOSITORY / "deploy/loadbalancer/haproxy.cfg").read_text("utf-8")


def block(beginning: str) -> str:
    """The one block of commands that holds this."""
    (found,) = (text for text in BLOCKS if beginning in text)
    return str(found)


def test_every_service_and_command_of_compose_that_is_named_exists() -> None:
    named = set(re.findall(r"docker compose (?:exec|run|stop|start|kill)\s+(.*)", "\n".join(BLOCKS)))
    services = set(Compose.read(REPOSITORY, SECRETS).services)
    assert named
    for rest in named:
        words = [word for word in rest.split() if not word.startswith("-")]
        assert services & set(words[:2]), rest
    for script in BLOCKS:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_the_upgrade_replaces_every_gateway_and_waits_until_all_are_used() -> None:
    (names, port, count) = re.findall(
        r"for gateway in ([\w -]+); do.*:(\d+)/ready\)\" = (\d+) \]", block("for gateway in"), re.DOTALL
    )[0]
    assert names.split() == re.findall(r"^    server (\S+)", BALANCER, re.MULTILINE)
    assert int(count) == len(names.split())
    assert f"bind :{port}\n" in BALANCER


def test_a_backup_of_redis_can_be_put_back(tree: Path, tmp_path: Path) -> None:
    stack = Stack(tree, tmp_path)
    port, data = stack.ports["redis:6379"], tmp_path / "redis" / "data"
    env = {
        **os.environ,
        **stack.compose.environment("redis"),
        "PATH": f"{next(iter(binaries().values())).parent}:{os.environ['PATH']}",
    }

    def in_container(script: str, **more: object) -> bytes:
        here = script.replace("/data", str(data)).replace("6379", str(port))
        here = here.replace("redis-cli ", f"redis-cli -p {port} ")
        said = subprocess.run(
            ["sh", "-ec", here], env=env, check=True, stdout=subprocess.PIPE, timeout=60, **more
        )  # type: ignore[call-overload]
        return bytes(said.stdout)

    def client() -> Redis:
        return Redis(port=port, password=SECRETS["REDIS_PASSWORD"])

    def ready() -> bool:
        return (
            b"PONG"
            in subprocess.run(
                ["redis-cli", "-p", str(port), "ping"], env=env, capture_output=True, check=False
            ).stdout
        )

    try:
        stack.start("redis")
        stack.until(ready)
        with client() as redis:
            redis.set("kept", "yes")
        (command,) = re.findall(r"exec -T redis (.*) > backup\.rdb", block("> backup.rdb"))
        backup = in_container(command)
        with client() as redis:
            redis.flushall()
        assert stack.stop("redis") == 0

        (script,) = re.findall(
            r"run --rm -T redis sh -ec '(.*)' < backup\.rdb", block("< backup.rdb"), re.DOTALL
        )
        in_container(script, input=backup)
        stack.start("redis")
        stack.until(ready)
        with client() as redis:
            assert redis.get("kept") == b"yes"
    finally:
        stack.end()


def test_a_backup_of_a_single_node_can_be_taken_while_it_serves(tmp_path: Path) -> None:
    config = write_config(tmp_path, "http://127.0.0.1:9")
    (command,) = re.findall(r'python -c "(.*)"$', block("VACUUM INTO"), re.MULTILINE)
    data = tmp_path / "node" / "data"
    with deployed(config, tmp_path / "node"):
        script = command.replace('\\"', '"').replace("/data", str(data))
        subprocess.run([sys.executable, "-c", script], check=True)
    with sqlite3.connect(data / "backup.db") as backup:
        assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in backup.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    backup.close()
    with sqlite3.connect(data / "gateway.db") as original:
        assert tables == {
            name for (name,) in original.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    original.close()
    assert tables
