"""The commands and a real gateway understand each other, from the start to the emergency."""

import asyncio
import json
from pathlib import Path

from gateway.demo.story import GOOD
from gateway.demo.world import World
from gateway.tasks import SystemClock
from tests.support.command import Ran, run

MODELS = Path(__file__).parents[2] / "config" / "models.yaml"


async def test_a_migration_from_the_command_line() -> None:
    async with World((GOOD,), MODELS, SystemClock(), faults=(), speed=0) as world:
        env = {"GATEWAY_URL": world.url, "GATEWAY_ADMIN_TOKEN": world.token}

        async def migration(*arguments: str) -> Ran:
            return await asyncio.to_thread(run, "migration", *arguments, env=env)

        assert (await migration("list")).out.count(GOOD.name) == 1
        assert "draft, everything on control, 1 of 1 replica agrees" in (await migration("status")).first_line
        started = await migration("start", "--reason", "why not")
        assert started.first_line == (
            f"{GOOD.name}: running, stage internal (0 %), 0 + 0 units enrolled, 1 of 1 replica agrees"
        )
        assert "stage canary (5 %)" in (await migration("advance")).first_line
        stale = await migration("advance", "--if-match", "1")
        assert (stale.code, "version" in stale.err) == (2, True)
        assert "set to 12.5 % in stage canary (5 %)" in (await migration("set-weight", "12.5")).first_line
        assert (await migration("status", "--wait")).code == 3
        assert "because bucket" in (await migration("explain", "alice")).first_line
        assert "bob" in (await migration("lists", "set", "--deny-users", "bob")).out
        assert "because denied" in (await migration("explain", "bob")).first_line
        stopped = await migration("emergency-rollback", "--reason", "enough")
        assert (stopped.code, "1 of 1 replica has confirmed" in stopped.first_line) == (0, True)
        assert "rolled back (emergency)" in (await migration("status")).first_line
        assert (await migration("status", "--wait")).code == 1
        events = json.loads((await migration("events", "--json")).out)["data"]
        verbs = [event["verb"] for event in events]
        assert verbs == ["start", "advance", "set-weight", "set-lists", "emergency-rollback"]
        refused = await migration("advance")
        assert (refused.code, refused.out, "restart" in refused.err) == (2, "", True)


async def test_what_is_written_for_people_comes_from_a_real_gateway() -> None:
    async with World((GOOD,), MODELS, SystemClock(), faults=(), speed=0) as world:
        env = {"GATEWAY_URL": world.url, "GATEWAY_ADMIN_TOKEN": world.token}

        async def migration(*arguments: str) -> Ran:
            return await asyncio.to_thread(run, "migration", *arguments, env=env)

        drafted = await migration("watch", "--once")
        assert (drafted.code, "· internal 0 %   · canary 5 %" in drafted.out) == (0, True)
        assert (await migration("plan", "--requests-per-min", "60")).first_line == f"# Plan of {GOOD.name}"
        ticked = await migration("checklist", "--tick", "plan", "--note", "read it")
        assert (ticked.code, "ticked by demo" in ticked.out) == (0, True)
        await migration("start")
        await migration("advance")
        running = await migration("watch", "--once")
        assert "✓ internal 0 %   ▶ canary 5 %   · early 25 %" in running.out
        assert "metric" in running.out
        assert "advance 0 % → 5 % by demo" in running.out
        (looked,) = (await migration("watch", "--once", "--json")).out.splitlines()
        assert [stage["name"] for stage in json.loads(looked)["stages"]] == [
            stage.name for stage in GOOD.stages
        ]
        await migration("rollback", "--reason", "seen enough")
        assert "seen enough" in (await migration("incidents")).out
        assert "seen enough" in (await migration("incidents", "--markdown")).out
        assert "seen enough" in (await migration("watch", "--once")).out
        assert (await migration("runbook")).first_line == f"# Runbook of {GOOD.name}"
        assert (await migration("report", "--kind", "final")).code == 0
        assert (await migration("reports")).code == 0
