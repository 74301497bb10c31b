"""The demo's command ends with what really happened, in words and as exit code."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import view
from gateway.cli.demo import summarise
from gateway.demo.story import Check

ROOT = Path(__file__).parents[2]


def summary(*checks: Check) -> tuple[int, list[str]]:
    out = io.StringIO()
    code = summarise(view.console(out, 120), checks, 31.4)
    return code, [line for line in out.getvalue().splitlines() if line]


def test_what_held_is_ticked() -> None:
    assert summary(Check(True, "It went to 100 %.", "It did not.")) == (
        0,
        ["✓ It went to 100 %.", "All of it on this machine, in 31 s. Next: make run, and README.md."],
    )


def test_what_did_not_hold_is_said_and_fails() -> None:
    assert summary(Check(True, "a", "b"), Check(False, "It went to 100 %.", "It did not.")) == (
        1,
        ["✓ a", "✗ It did not.", "The demo failed: 1 of 2 claims do not hold (31 s)."],
    )


def test_a_demo_that_checked_nothing_fails() -> None:
    assert summary()[0] == 1


def children(pid: int) -> list[int]:
    """Return the processes that a process has begun."""
    begun = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(child) for child in begun.split()]


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    # What is started in the background of a script is born deaf to SIGINT, and so is what it starts.
    heeding = ("env", "--default-signal=INT")
    return subprocess.Popen(
        [*heeding, sys.executable, "-m", "gateway.cli.main", "demo", *arguments],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)],
    ids=lambda each: each.name,
)
def test_ending_it_early_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    with process.stdout as said:
        while "s  opus-4-5-to-5-5: running" not in said.readline():
            assert process.poll() is None
        servers = children(process.pid)
        assert len(servers) == 2
        os.killpg(process.pid, number)
        assert "nothing is left running" in said.read()
    assert process.wait(20) == 130
    assert list(tmp_path.iterdir()) == []
    assert [server for server in servers if Path(f"/proc/{server}").exists()] == []


def test_traffic_alone_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start(tmp_path, "--traffic", f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.settimeout(20)
        listener.accept()[0].close()
    process.terminate()
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "requests, 0 of them to the candidate" in said


@pytest.mark.full
@pytest.mark.timeout(120)
def test_all_of_it_happens(tmp_path: Path) -> None:
    process = start(tmp_path)
    said, _ = process.communicate(timeout=110)
    assert process.returncode == 0, said
    assert "✓ opus-4-5-to-5-5 climbed to 100 %: 0 → 5 → 25 → 50 → 100 %" in said
    assert "✓ haiku-4-5-to-5-5 was rolled back automatically" in said
    assert len(re.findall(r"✓ 0 of [\d,]+ callers' requests failed", said)) == 2
