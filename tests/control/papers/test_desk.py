"""Papers are written from what is stored; those that are kept are told as they were written."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.control.papers.desk import Desk
from gateway.core.booking import Booking, Place
from gateway.core.counts import Counts
from gateway.core.evidence import Baseline, Evidence
from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm, Outcome, to_json
from gateway.errors import BadRequest, NotFound, StaleWrite, StoreUnavailable
from gateway.store.ports import Enrolment, ReplicaReport
from tests.support.control import SPEC, ControlPlane
from tests.support.papers import CATALOGUE

DAY = 86_400.0


@pytest.fixture
def plane() -> ControlPlane:
    plane = ControlPlane({"m": replace(SPEC, checklist="required")})
    plane.catalogue = CATALOGUE
    return plane


async def count(
    plane: ControlPlane, requests: int, *, errors: int = 0, run: int = 1, who: str = "r1"
) -> None:
    """Let a process count so many requests of the candidate's and as many healthy ones of control's."""
    counts, now = Counts(), plane.clock.now()
    for n in range(requests):
        outcome = Outcome.upstream_error if n < errors else Outcome.ok
        for arm, ended in ((Arm.candidate, outcome), (Arm.control, Outcome.ok)):
            place = Place(arm, run, 1, f"{arm}{n}", True)
            counts.ended(
                Booking(
                    place,
                    f"req_{n}",
                    "",
                    ended,
                    False,
                    1.0,
                    cost_microusd=10_000,
                    prompt_tokens=9,
                    output_tokens=3,
                ),
                now,
            )
    rules = SPEC.gates.breaker
    await plane.store.put_counts("m", who, counts.window.to_doc(now, rules) | {"flush": 1}, 15.0)
    for scope, tally in counts.docs().items():
        await plane.store.put_tally("m", scope, who, tally)


# --- asking -----------------------------------------------------------------------------------------------


async def test_every_paper_can_be_had_of_a_migration_that_never_ran(plane: ControlPlane) -> None:
    desk = plane.desk
    pages = [
        (await desk.plan("m")).markdown,
        (await desk.runbook("m")).markdown,
        (await desk.checklist("m")).markdown,
        (await desk.report("m")).markdown,
        (await desk.report("m", "final")).markdown,
    ]
    assert [page.splitlines()[0] for page in pages] == [
        "# Plan of m", "# Runbook of m", "# Checklist of m", "# Weekly report of m, 2027-01-15",
        "# Final report of m",
    ]  # fmt: skip
    assert (await desk.incidents("m"), await desk.reports("m")) == ([], [])


async def test_a_migration_that_nobody_knows_has_no_papers(plane: ControlPlane) -> None:
    for question in (
        plane.desk.plan,
        plane.desk.runbook,
        plane.desk.checklist,
        plane.desk.incidents,
        plane.desk.reports,
    ):
        with pytest.raises(NotFound, match="there is no migration 'x'; known: m"):
            await question("x")


async def test_without_the_store_there_are_no_papers(plane: ControlPlane) -> None:
    plane.store.away = True
    with pytest.raises(StoreUnavailable):
        await plane.desk.runbook("m")


async def test_the_counts_of_all_processes_are_added_up(plane: ControlPlane) -> None:
    await plane.act("start", "advance", "advance", force=True, reason="test")
    await count(plane, 120, errors=12)
    await count(plane, 80, who="r2")
    page = (await plane.desk.report("m")).markdown
    assert "| requests | 200 | 200 | - |" in page
    assert "| errors | 0 % | 6 % | - |" in page


async def test_traffic_is_what_was_counted_unless_somebody_says_otherwise(plane: ControlPlane) -> None:
    await plane.act("start", "advance", force=True, reason="test")
    await count(plane, 60)
    plane.server.data.reports.clear()
    assert (await plane.desk.plan("m")).plan.traffic.requests_per_min == 120
    told = await plane.desk.plan("m", requests_per_min=10, units_per_day=20, base_error_rate=0.5)
    traffic = told.plan.traffic
    assert (traffic.requests_per_min, traffic.units_per_day, traffic.base_error_rate) == (10, 20, 0.5)


async def test_counts_in_a_foreign_form_are_left_out(plane: ControlPlane) -> None:
    await plane.act("start", force=True, reason="test")
    await plane.store.put_tally("m", "1", "r9", {"arms": 7})
    await plane.store.put_counts("m", "r9", {"run": 1, "windows": 7}, 15.0)
    await plane.store.put_document("m", "evidence", b"[]", epoch=9)
    facts = await plane.desk.facts("m")
    assert facts.tally.arms[Arm.candidate].requests == 0
    assert (facts.windows, facts.evidence) == ({}, Evidence())


async def test_the_catalogue_and_the_evidence_are_in_the_facts(plane: ControlPlane) -> None:
    await plane.act("start", force=True, reason="test")
    evidence = Evidence(run=1, promoted=Baseline(1.0, Arm.candidate, 7))
    await plane.store.put_document("m", "evidence", to_json(evidence), epoch=9)
    facts = await plane.desk.facts("m")
    assert facts.evidence == evidence
    assert facts.candidate is not None
    assert (facts.candidate.id, facts.control) == ("claude-opus-5-5", CATALOGUE.find(SPEC.control))


# --- the checklist ----------------------------------------------------------------------------------------


async def test_a_tick_is_a_line_in_the_audit_log_and_changes_no_state(plane: ControlPlane) -> None:
    checklist = await plane.desk.tick("m", "plan", "with bob", by="ada")
    ticked = next(item for item in checklist.items if item.id == "plan")
    assert (ticked.state, ticked.proof) == ("done", "person")
    events = plane.server.data.events["m"]
    assert [(event.verb, event.reason) for event in events] == [("tick", "plan: with bob")]
    assert plane.state.version == 0
    with pytest.raises(BadRequest):
        await plane.desk.tick("m", "coffee", "", by="ada")
    assert plane.verbs == ["tick"]


async def test_open_items_are_what_a_start_is_refused_for(plane: ControlPlane) -> None:
    before = await plane.desk.open_items("m")
    assert any(line.startswith("The stages were reviewed against the plan (plan)") for line in before)
    await plane.desk.tick("m", "plan", "", by="ada")
    assert len(await plane.desk.open_items("m")) == len(before) - 1


# --- what is kept -----------------------------------------------------------------------------------------


async def test_an_incident_is_told_as_it_was_written_down(plane: ControlPlane) -> None:
    await plane.act("start", "advance", "rollback", force=True, reason="answers in French")
    sent = {"m": plane.clock.now() - 0.02}
    await plane.store.report(
        ReplicaReport("r1", plane.clock.now(), {"m": plane.state.order}, candidate_sent_at=sent)
    )
    seq = len(plane.verbs)
    kept = await plane.desk.keep_incident("m", seq, epoch=plane.state.epoch)
    assert kept is not None
    assert "20 ms before the rollback" in kept.markdown
    plane.clock.advance(DAY)
    (told,) = await plane.desk.incidents("m")
    assert told == kept


async def test_an_incident_that_was_not_written_down_is_written_now(plane: ControlPlane) -> None:
    await plane.act("start", "advance", force=True, reason="test")
    await plane.store.remember([Enrolment("m", 1, f"u{n}", Arm.candidate) for n in range(3)])
    await count(plane, 30, errors=9)
    await plane.act("rollback", reason="first")
    await plane.act("restart", force=True, reason="again")
    await plane.act("rollback", reason="second")
    first, second = await plane.desk.incidents("m")
    assert (first.run, first.affected.units, first.affected.failing) == (1, 3, {"upstream_error": 9})
    assert (second.run, second.affected.units, second.affected.requests) == (2, 0, 0)


async def test_what_is_no_incident_is_not_written_down(plane: ControlPlane) -> None:
    await plane.act("start", force=True, reason="test")
    assert await plane.desk.keep_incident("m", 1, epoch=9) is None
    assert await plane.store.documents("m", "incident:") == {}


async def test_reports_are_kept_by_their_date_and_told_in_order(plane: ControlPlane) -> None:
    await plane.act("start", "advance", force=True, reason="test")
    await count(plane, 20)
    await plane.desk.keep_weekly("m", epoch=9)
    plane.clock.advance(7 * DAY)
    await count(plane, 50)
    again = await plane.desk.keep_weekly("m", epoch=9)
    assert "| requests | 30 | 30 | - |" in again.markdown
    assert (await plane.desk.keep_weekly("m", epoch=9)).markdown == again.markdown
    plane.clock.advance(DAY)
    final = await plane.desk.keep_final("m", epoch=9)
    told = await plane.desk.reports("m")
    assert [(each.name, each.kind) for each in told] == [
        ("report:2027-01-15", "weekly"),
        ("report:2027-01-22", "weekly"),
        ("final", "final"),
    ]
    assert told[-1].markdown == final.markdown


async def test_a_leader_that_was_replaced_keeps_nothing(plane: ControlPlane) -> None:
    await plane.act("start", force=True, reason="test")
    await plane.desk.keep_weekly("m", epoch=9)
    with pytest.raises(StaleWrite):
        await plane.desk.keep_weekly("m", epoch=8)


async def test_a_paper_that_cannot_be_read_is_written_anew(plane: ControlPlane) -> None:
    await plane.act("start", "rollback", force=True, reason="test")
    await plane.store.put_document("m", "incident:2", b"{}", epoch=9)
    await plane.store.put_document("m", "report:2027-01-01", b"7", epoch=9)
    (told,) = await plane.desk.incidents("m")
    assert told.markdown.startswith("# Incident 2 of m")
    assert await plane.desk.reports("m") == []


async def test_papers_outlive_the_migrations_file(plane: ControlPlane) -> None:
    await plane.act("start", "rollback", force=True, reason="test")
    gone: Mapping[str, MigrationSpec] = {}
    desk = Desk(plane.store, specs=lambda: gone, catalogue=lambda: CATALOGUE, sinks=tuple, clock=plane.clock)
    assert (await desk.report("m", "final")).markdown.startswith("# Final report of m")
