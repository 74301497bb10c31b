"""Papers of a real gateway: what control was like is counted before the first run, and a start is refused."""

from pathlib import Path
from typing import Any

from tests.support.deploy import Deployed, Simulated, deployed, eventually, migration, write_config

O45, O55 = "claude-opus-4-5-20251101", "claude-opus-5-5"


def ask(gateway: Deployed, times: int) -> None:
    """Send so many requests, each of another unit."""
    for n in range(times):
        turns = [{"role": "user", "content": f"hello {n}"}]
        body = {"model": O45, "max_tokens": 20, "messages": turns}
        headers = {"x-gateway-unit": f"person-{n}", "anthropic-version": "2023-06-01", "x-api-key": "sk-test"}
        assert gateway.http.post(f"{gateway.url}/v1/messages", json=body, headers=headers).status_code == 200


def paper(gateway: Deployed, name: str) -> dict[str, Any]:
    answer = gateway.admin("GET", f"/migrations/m/{name}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def open_before(gateway: Deployed) -> set[str]:
    """What the checklist still asks for before a run."""
    items = paper(gateway, "checklist")["items"]
    return {item["id"] for item in items if item["part"] == "pre" and item["state"] == "open"}


def test_a_migration_on_paper_from_before_its_start_to_its_incident(
    upstream: Simulated, tmp_path: Path
) -> None:
    config = write_config(tmp_path, upstream.url, migration("m", O45, O55, checklist="required"))
    with deployed(config, tmp_path) as gateway:
        ask(gateway, 100)
        eventually(lambda: "baseline" not in open_before(gateway), within_s=20)
        refused = gateway.admin("POST", "/migrations/m/actions/start", json={})
        assert refused.status_code == 409
        assert "(rehearsal): no proof" in refused.json()["error"]["message"]
        ticked = gateway.admin("POST", "/migrations/m/checklist", json={"item": "plan", "note": "read it"})
        assert ticked.status_code == 200
        assert "plan" not in open_before(gateway)
        assert "100 requests" in str(paper(gateway, "plan")["plan"]["traffic"]["sources"])
        gateway.act("m", "start", force=True, reason="to see it")
        gateway.act("m", "advance", reason="to see it")
        ask(gateway, 40)
        gateway.act("m", "rollback", reason="it was seen")
        (incident,) = paper(gateway, "incidents")["data"]
        assert "it was seen" in incident["markdown"]
        assert "its last request to the candidate began" in incident["markdown"]
        page = gateway.admin("GET", "/migrations/m/runbook", headers={"accept": "text/markdown"})
        assert page.text.startswith("# Runbook of m\n")
