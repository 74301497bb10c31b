"""An application sees answers as it knows them: notes as text, and the model that it asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.answers import Json, folded
from tests.support.deploy import Deployed, Simulated, deployed, migration, write_config
from tests.support.talks import HEADERS

MOVES = [
    ("claude-sonnet-4-5-20250929", "claude-sonnet-5-5"),
    ("claude-opus-4-5-20251101", "claude-opus-5-5"),
]
KNOWN = {"progress_notes": "text", "stop_reasons": "classic", "model_field": "requested"}
TOOLS: list[Json] = [
    {"name": name, "description": f"To {name}.", "input_schema": {"type": "object"}}
    for name in ("look", "listen")
]


@pytest.fixture(scope="module")
def gateway(_upstream: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    directory: Path = tmp_path_factory.mktemp("shown")
    moves = [migration(candidate, control, candidate, compat=KNOWN) for control, candidate in MOVES]
    with deployed(write_config(directory, _upstream.url, *moves), directory) as made:
        for _, candidate in MOVES:
            made.act(candidate, "start", reason="test")
            made.set_weight(candidate, 100)
        yield made


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("control", "candidate"), MOVES)
def test_notes_are_text_and_the_conversation_goes_on_behind_them(
    gateway: Deployed, control: str, candidate: str, stream: bool
) -> None:
    history: list[Json] = [{"role": "user", "content": f"Look and listen {stream}; use the tool."}]
    noted = 0
    for _ in range(6):
        body = {"model": control, "max_tokens": 2000, "messages": history, "tools": TOOLS, "stream": stream}
        headers = HEADERS | {"x-simulator-switches": "recent_account=true"}
        answer = gateway.http.post(f"{gateway.url}/v1/messages", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-gateway-served-model"] == candidate
        assert "x-gateway-fallback" not in answer.headers
        message = folded(answer.text) if stream else answer.json()
        assert message["model"] == control
        kinds = [block["type"] for block in message["content"]]
        assert not {"thinking", "redacted_thinking"} & set(kinds)
        noted += kinds[:2] == ["text", "tool_use"]
        history.append({"role": "assistant", "content": message["content"]})
        if message["stop_reason"] != "tool_use":
            history.append({"role": "user", "content": "Once more; use the tool."})
            continue
        calls = [block["id"] for block in message["content"] if block["type"] == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": each, "content": "seen"} for each in calls]
        history.append({"role": "user", "content": results})
    assert noted
