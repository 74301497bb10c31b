"""Claude Code's command-line client at a gateway, without a head: `make claude-code`.

`main` starts the simulated upstream and a gateway that sends everything to the candidate, lets the client
work with its tools for two turns, and says what went over the wire. Nothing leaves this machine: the client's
home is a new directory, its key is made up, and whatever it wants from anybody else ends at the wiretap.

The simulator answers with words from a small list, and so does it fill in the tools' inputs. That suits tools
that keep what they are told (TaskCreate), start somebody else (Agent) or need no input (TaskList); a file to
read or a command to run is not among its words.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.core.types import parse_json
from gateway.simulator.rules.switches import Switches
from tests.support.clients import installed
from tests.support.deploy import deployed, migration, write_config
from tests.support.features import O45, O55
from tests.support.upstream import running_simulator
from tests.support.wiretap import Heard, Wiretap, wiretap

TOOLS = ("TaskCreate", "TaskList", "Agent")
FIRST, SECOND = "Please use the TaskCreate tool.", "Now use the TaskList tool, and sum up."
COMPAT = {"model_field": "requested"}
"""What its migrations want: told of another model, it leaves that one's thinking out when it resumes."""
STRICT = Switches(recent_account=True)
"""An account so new that models hold their thinking to the exact conversation before it."""
TIMEOUT_S = 50


@dataclass(frozen=True)
class Call:
    """A tool that the model called, and what became of it."""

    tool: str
    failed: bool


@dataclass
class Turn:
    """What the client printed until it ended."""

    exit_code: int
    events: list[dict[str, Any]]
    errors: str

    @property
    def result(self) -> dict[str, Any]:
        """Its last word."""
        results = [event for event in self.events if event["type"] == "result"]
        assert results, self.errors
        return results[-1]

    @property
    def calls(self) -> list[Call]:
        """The tools that were called, those of agents that it started among them."""
        blocks = [block for event in self.events for block in _blocks(event)]
        failed = {
            block["tool_use_id"]: bool(block.get("is_error"))
            for block in blocks
            if block["type"] == "tool_result"
        }
        # A call whose result never came has failed, too.
        return [
            Call(block["name"], failed.get(block["id"], True))
            for block in blocks
            if block["type"] == "tool_use"
        ]


@dataclass
class ClaudeCode:
    """The client, with a home and a place to work of its own."""

    tap: Wiretap
    model: str
    directory: Path
    tools: Sequence[str] = TOOLS
    session: str = ""
    """The id that it gave its session."""
    version: str = ""
    turns: list[Turn] = field(default_factory=list)

    def say(self, prompt: str) -> Turn:
        """Have it work on a prompt, in the session of the one before."""
        home, work = self.directory / "home", self.directory / "work"
        for each in (home, work):
            each.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(installed("@anthropic-ai/claude-code-*/claude")), "-p", prompt),
            *("--model", self.model, "--output-format", "stream-json", "--verbose"),
            *("--tools", ",".join(self.tools), "--allowedTools", ",".join(self.tools)),
            *(("--resume", self.session) if self.session else ()),
        ]
        done = subprocess.run(
            command,
            check=False,
            cwd=work,
            env=self._environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
        )
        events = [dict(parse_json(line)) for line in done.stdout.splitlines() if line.startswith(b"{")]
        turn = Turn(done.returncode, events, done.stderr.decode(errors="replace"))
        self.session = turn.result["session_id"]
        begun = next(event for event in events if event.get("subtype") == "init")
        self.version = begun["claude_code_version"]
        self.turns.append(turn)
        return turn

    def _environment(self, home: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": self.tap.url,
            "ANTHROPIC_API_KEY": "sk-test",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "HTTP_PROXY": self.tap.url,
            "HTTPS_PROXY": self.tap.url,
            "NO_PROXY": "127.0.0.1",
        }


def _blocks(event: dict[str, Any]) -> list[dict[str, Any]]:
    content = event["message"]["content"] if event["type"] in ("assistant", "user") else []
    return [block for block in content if isinstance(block, dict)]


# --- the script ---------------------------------------------------------------------------------------------


def main() -> None:
    """Run two turns and print what happened."""
    parser = argparse.ArgumentParser(description="Run Claude Code at a gateway and say what happened.")
    parser.add_argument("--control", default=O45, help="the model that Claude Code asks for")
    parser.add_argument("--candidate", default=O55, help="the model that is to serve")
    parser.add_argument("--percent", type=float, default=100.0, help="the candidate's share")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        with _at_a_gateway(path, asked.control, asked.candidate, asked.percent) as tap:
            client = ClaudeCode(tap, asked.control, path)
            for prompt in (FIRST, SECOND):
                client.say(prompt)
    sys.stdout.write("\n".join(report(client)) + "\n")


@contextmanager
def _at_a_gateway(directory: Path, control: str, candidate: str, percent: float) -> Iterator[Wiretap]:
    document = migration("claude-code", control, candidate, compat=COMPAT)
    with (
        running_simulator(switches=STRICT) as upstream,
        deployed(write_config(directory, upstream.url, document), directory / "gateway") as gateway,
        wiretap(gateway.url) as tap,
    ):
        gateway.act("claude-code", "start", reason="claude-code")
        gateway.set_weight("claude-code", percent)
        yield tap


def report(client: ClaudeCode) -> Iterator[str]:
    """Say what the client sent, who answered it, and what it made of that."""
    tap = client.tap
    yield f"Claude Code {client.version} asked for {client.model}, session {client.session}"
    yield ""
    yield "  #  status  messages  arm        served by            rewritten; fallback; why"
    for number, heard in enumerate(tap.heard, start=1):
        said = heard.answered
        more = (said.get(f"x-gateway-{name}", "") for name in ("rewrites", "fallback", "reason"))
        yield (
            f"{number:3}  {heard.status:6}  {len(heard.json().get('messages', [])):8}  "
            f"{said.get('x-gateway-arm', '-'):9}  {said.get('x-gateway-served-model', '-'):19}  "
            + "; ".join(each or "-" for each in more)
        )
    for title, values in _asked_for(tap.heard).items():
        yield ""
        yield title
        yield from (f"  {value}" for value in values)
    for number, turn in enumerate(client.turns, start=1):
        calls = ", ".join(f"{call.tool} {'failed' if call.failed else 'ok'}" for call in turn.calls)
        yield ""
        yield f"turn {number}: {turn.result['subtype']}, exit code {turn.exit_code}; tools: {calls}"
    yield f"meant for anybody else: {', '.join(tap.strayed) or 'nothing'}"


def _asked_for(heard: Sequence[Heard]) -> dict[str, list[str]]:
    """Collect what was asked for, each value once, in the order of its first appearance."""
    found: dict[str, dict[str, None]] = {}
    for each in heard:
        body = each.json()
        tools = (tool.get("type") or tool["name"] for tool in body.get("tools", []))
        values = {
            "paths": [f"{each.method} {each.path}"],
            "fields": body.keys(),
            "anthropic-version": [each.headers.get("anthropic-version", "none")],
            "anthropic-beta": each.headers.get("anthropic-beta", "none").split(","),
            "thinking": [str(body.get("thinking", "left out"))],
            "output_config": [str(body.get("output_config", "left out"))],
            "tools": tools,
            "roles": [message["role"] for message in body.get("messages", [])],
        }
        for title, members in values.items():
            found.setdefault(title, {}).update(dict.fromkeys(members))
    return {title: [*members] for title, members in found.items()}


if __name__ == "__main__":
    main()
