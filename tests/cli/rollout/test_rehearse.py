"""A rehearsal is told as a table, as JSON and as a proof, and its exit code is its outcome."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import view
from gateway.cli.rollout.rehearse import drawn, hand_in, meant
from gateway.config import load
from gateway.core.spec import MigrationSpec, Stage
from gateway.core.types import fingerprint
from gateway.errors import BadRequest, NotFound
from gateway.rehearsal.report import Report, Result
from tests.support.admin_api import NAME, AdminApi, error, status
from tests.support.command import run

ROOT = Path(__file__).parents[3]
LONG = (
    "quality: check 'extraction-json' of task 'extraction': candidate passes 58.3% of 12, control 100.0% of "
    "41; below 95.0%; tool_error: first failures: candidate 11 in 51, control 0 in 75"
)
RESULTS = (
    Result("healthy", "a good candidate is started and left alone", True, "climbed", "soaking", percent=98),
    Result(
        failure="broken-json",
        said="half of its JSON cannot be parsed",
        ok=True,
        ended="rolled_back",
        why=LONG,
        stage="early",
        percent=25,
        gates=("quality",),
        rollback_s=1.26,
        last_request_s=1.04,
        candidate=1366,
        hurt=6,
        rescued=43,
    ),
    Result("cost", "it talks too much", True, "unguarded", "the migration has switched off cost_ratio"),
    Result("slow", "it is slow", False, "stayed", "a p95 of 1.2 s", "nothing stopped it", "early", 25),
)
REPORT = Report(NAME, "f00d", ("stage early: hold 3d → 1.8s",), RESULTS, 61.2)


def shown(report: Report, width: int) -> list[str]:
    console = view.console(width=width)
    with console.capture() as capture:
        console.print(drawn(report, console.width))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_says_what_came_of_everything(width: int) -> None:
    lines = shown(REPORT, width)
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines]
    assert ["✓", "healthy", "climbed", "-", "-", "-", "0", "0", "0"] in rows
    assert ["✓", "broken-json", "rolled", "back", "quality", "1.3", "1.0", "1,366", "6", "43"] in rows
    assert ["-", "cost", "not", "guarded", "-", "-", "-", "0", "0", "0"] in rows
    assert ["✗", "slow", "stayed", "-", "-", "-", "0", "0", "0"] in rows
    text = " ".join(" ".join(lines).split())
    for part in (LONG, "nothing stopped it", "in stage early (25 %)", "stage early: hold 3d → 1.8s"):
        assert part in text


def test_the_words_of_somebody_else_steer_no_terminal() -> None:
    nasty = replace(RESULTS[1], why="all \x1b[2Jwell")
    assert "\x1b" not in "".join(shown(replace(REPORT, results=(nasty,)), 80))


SPECS = [MigrationSpec(name, "a", "b", ("a",), (Stage("full", 100),)) for name in ("one", "two")]


def test_the_migration_that_is_meant() -> None:
    assert meant(SPECS, "two") is SPECS[1]
    assert meant(SPECS[:1], None) is SPECS[0]
    for specs, name, words in (
        (SPECS, None, "say which migration is meant: one, two"),
        (SPECS, "three", "no migration 'three'; it has one, two"),
        ([], None, "has no migration"),
    ):
        with pytest.raises(BadRequest, match=words):
            meant(specs, name)


def test_the_outcome_is_handed_in_as_a_proof(api: AdminApi) -> None:
    api.script(f"POST /admin/migrations/{NAME}/proofs", {"kind": "rehearsal", "passed": False}, status=201)
    hand_in(REPORT, api.url)
    body = api.last.body
    assert (body["kind"], body["passed"], body["summary"]) == ("rehearsal", False, REPORT.summary)
    assert body["details"]["fingerprint"] == "f00d"
    assert len(body["details"]["results"]) == len(RESULTS)


def test_a_part_of_it_proves_nothing(api: AdminApi) -> None:
    ran = run("migration", "rehearse", "--record", "--only", "slow")
    assert (ran.code, api.received) == (2, [])
    assert ran.err.startswith("gateway: --record: a rehearsal of a part proves nothing")


def test_an_unknown_failure_is_named_before_anything_is_started() -> None:
    ran = run("migration", "rehearse", "--only", "slwo")
    assert (ran.code, ran.err.splitlines()[0][:57]) == (
        2,
        "gateway: there is no failure 'slwo'; did you mean 'slow'?",
    )


def test_a_gateway_that_knows_no_such_migration_is_noticed_before_it_takes_minutes(api: AdminApi) -> None:
    api.script(f"GET /admin/migrations/{NAME}", error("no such migration", "not_found_error"), status=404)
    ran = run("migration", "rehearse", "--record", "--config", str(ROOT / "config/gateway.yaml"))
    assert (ran.code, ran.err) == (2, "gateway: no such migration\n")
    with pytest.raises(NotFound):
        hand_in(REPORT, api.url)


def rehearsed(*failures: str, config: Path = ROOT / "config/gateway.yaml") -> tuple[int, dict[str, Any]]:
    """Rehearse some failures with the real command; return its exit code and what it printed."""
    only = [part for failure in failures for part in ("--only", failure)]
    command = [sys.executable, "-m", "gateway.cli.main", "migration", "rehearse", "--json", *only]
    environment = {**os.environ, "GATEWAY_CONFIG": str(config)}
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.full
@pytest.mark.timeout(180)
def test_real_gates_stop_what_goes_wrong_in_front_of_real_callers() -> None:
    code, said = rehearsed("overloaded", "refusal", "outage")
    assert code == 0, said
    assert said["fingerprint"] == fingerprint(load(ROOT / "config/gateway.yaml").migrations[0])
    assert (said["passed"], said["whole"]) == (True, False)
    overloaded, refusal, outage = said["results"]
    assert overloaded["gates"][0] in ("fallback_rate", "fallback")
    assert (overloaded["hurt"], overloaded["rescued"] > 0) == (0, True)
    assert "refusal" in refusal["gates"]
    assert (outage["ended"], outage["hurt"] > 0) == ("stayed", True)


@pytest.mark.full
@pytest.mark.timeout(180)
def test_what_nothing_guards_against_and_what_does_not_climb_is_said(tmp_path: Path) -> None:
    gates = "gates: {breaker: {cost_ratio: null}, hold: {cost: {max_ratio: 0.1}}}"
    (tmp_path / "migration.yaml").write_text(
        "{name: m, control: claude-opus-4-5-20251101, candidate: claude-opus-5-5,\n"
        "match: {models: [claude-opus-4-5]}, stages: [{name: half, percent: 50, hold: 1h},\n"
        f"{{name: full, percent: 100}}],\n{gates}}}\n"
    )
    config = tmp_path / "gateway.yaml"
    config.write_text(f"{{catalogue: {ROOT}/config/models.yaml, include: [migration.yaml]}}")
    code, said = rehearsed("healthy", "cost", config=config)
    healthy, cost = said["results"]
    assert (code, said["passed"]) == (1, False), said
    assert (healthy["ok"], healthy["ended"]) == (False, "stayed"), healthy
    assert "cost:" in healthy["problem"]
    assert (cost["ok"], cost["ended"]) == (True, "unguarded")


def test_a_migration_that_the_configuration_lacks_is_no_question_to_a_gateway(api: AdminApi) -> None:
    api.script(f"GET /admin/migrations/{NAME}", status())
    ran = run("migration", "rehearse", "other", "--record", "--config", str(ROOT / "config/gateway.yaml"))
    assert (ran.code, api.received) == (2, [])
    assert "no migration 'other'" in ran.err
