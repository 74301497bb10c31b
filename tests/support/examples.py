"""The papers of a migration that really ran, in minutes instead of weeks: `make examples`.

Two gateways on one Redis, a simulated Messages API, and the demo's five applications. The runbook is that of
the migration that is shipped, asked for before its start; then the same migration climbs with shorter holds.
Its first candidate is overloaded at 25 % and rolled back, which is the incident; the second run climbs into
soaking, and the weekly report is asked for there. What comes of it is written to docs/examples.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gateway.config import load_catalogue
from tests.support.autopilot import OPERATOR, Fleet, fleet
from tests.support.crowd import Trade, crowd
from tests.support.deploy import REPOSITORY, eventually, simulated
from tests.support.watched import CANDIDATE, NAME, REQUESTED, Talk, pause

Json = dict[str, Any]

PLACE = REPOSITORY / "docs" / "examples"
SHIPPED = REPOSITORY / "config" / "migrations" / f"{NAME}.yaml"
BACKGROUND = ("kind=refusal,rate=0.01", "kind=stream_error,rate=0.004")
"""What always goes wrong a little, with either model."""
HOLDS = {"internal": "10s", "canary": "40s", "early": "60s", "half": "60s"}
MIN_UNITS = {"canary": 3, "early": 20, "half": 60}
BEFORE_S = 60.0
"""How much traffic control has had before anybody asks for a runbook."""
SOAKED_S = 60.0
SPEED = 8.0
"""How much faster than the models the simulated ones are."""


def main() -> None:
    """Live through it and write the papers."""
    with world() as (running, talk):
        for name, text in lived(running).items():
            (PLACE / name).write_text(text, "utf-8")
            sys.stdout.write(f"{PLACE / name}\n")
        talk.stop()


@contextmanager
def world() -> Iterator[tuple[Fleet, Talk]]:
    """Run it all until the block ends."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        with (
            simulated(directory, speed=SPEED) as upstream,
            fleet(directory, upstream, [_document(shipped=True)]) as running,
        ):
            upstream.faults(*BACKGROUND)
            catalogue = load_catalogue(REPOSITORY / "config" / "models.yaml")
            ourselves = Trade(NAME, REQUESTED, per_s=1, units=6, streams=True, task="internal")
            with crowd(running.urls, ourselves):
                yield running, Talk(running.urls, catalogue, at_once=6)


def lived(running: Fleet) -> dict[str, str]:
    """Let it happen, and return the papers by their names."""
    pause(BEFORE_S)
    runbook = _paper(running, "runbook")
    _hurry(running)
    running.first.act(NAME, "start", force=True, reason="a demo: nobody is there to be hurt")
    running.until(NAME, lambda status: status["stage"]["name"] == "early", within_s=240)
    pause(20)
    running.upstream.faults(*BACKGROUND, f"kind=overloaded,model={CANDIDATE},rate=0.3")
    running.phase(NAME, "rolled_back", within_s=120)
    running.upstream.faults(*BACKGROUND)
    pause(15)
    (incident,) = running.incidents(NAME)
    running.first.act(NAME, "restart", force=True, reason="the provider has more room for the candidate now")
    running.until(NAME, lambda status: status["reason"] == "approval", within_s=300)
    approval = {"reason": "looked at the half: as good as control"}
    running.first.admin("POST", f"/migrations/{NAME}/actions/approve", json=approval, token=OPERATOR)
    running.until(NAME, lambda status: status["weight_percent"] == 100, within_s=60)
    running.phase(NAME, "soaking", within_s=120)
    pause(SOAKED_S)
    return {
        "runbook.md": runbook,
        "incident.md": incident["markdown"],
        "weekly-report.md": _paper(running, "report"),
    }


def _paper(running: Fleet, name: str) -> str:
    answer = running.first.admin("GET", f"/migrations/{NAME}/{name}", headers={"accept": "text/markdown"})
    assert answer.status_code == 200, answer.text
    return answer.text


def _document(*, shipped: bool) -> Json:
    """Return the migration as it is shipped, or in a hurry."""
    document: Json = yaml.safe_load(SHIPPED.read_text("utf-8"))
    if not shipped:
        for stage in document["stages"]:
            stage |= {"hold": HOLDS[stage["name"]]} if stage["name"] in HOLDS else {}
            stage |= {"min_units": MIN_UNITS[stage["name"]]} if stage["name"] in MIN_UNITS else {}
        # The simulated models' pace and length of answers are made up: nothing can be learnt from them.
        document["gates"]["hold"] = dict.fromkeys(document["gates"]["hold"])
    return document


def _hurry(running: Fleet) -> None:
    """Give the gateways the shorter plan, and wait until each has read it."""
    path = running.directory / "migrations" / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(_document(shipped=False)), "utf-8")
    logs = [replica.log for replica in running.replicas]
    eventually(lambda: all("configuration reloaded" in log.read_text("utf-8") for log in logs))


if __name__ == "__main__":
    main()
