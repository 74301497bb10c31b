"""What must be true before, during and after a migration, and how it is known.

An item is proved by what is stored (`auto`) or by a named person (`person`): a tick, which is an audit event.
A tick before the run holds for the configuration that it was made on and no longer; one during or after it
holds for its run. A person may tick whatever is proved by itself as well, and then answers for it.

`open_items` is what a start is refused for where the migration says `checklist: required`: the items before
the run that are open.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from gateway.compat.catalog import Feature, Model, loses
from gateway.control.papers.facts import SERVING, Facts
from gateway.control.papers.history import Visit, visits
from gateway.control.papers.text import DAY_S, bullets, day, iso, number, page, said, section, span
from gateway.control.papers.traffic import ENOUGH, control_arm
from gateway.control.status import incidents_of
from gateway.core.gates.window import Tally
from gateway.core.spec import MigrationSpec
from gateway.core.types import Arm, Event, Phase, fingerprint
from gateway.errors import BadRequest

State = Literal["open", "done", "not_applicable"]
Part = Literal["pre", "during", "post"]
REHEARSED_S = 30 * DAY_S
"""How long a rehearsal proves something."""
AFTER_S = 30 * DAY_S
"""How long a migration is watched once it is completed."""
BASELINE_REQUESTS = ENOUGH
TICK = "tick"
PROOF = "proof"
_TITLES: dict[Part, str] = {"pre": "Before", "during": "During", "post": "After"}
_FEATURES: tuple[Feature, ...] = Feature.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the checklist."""

    id: str
    """What `POST …/checklist` names it by."""
    part: Part
    title: str
    state: State
    proof: Literal["auto", "person"]
    evidence: str
    """Why it is done, or what is missing, in one sentence."""


@dataclass(frozen=True, slots=True)
class Checklist:
    """All of them."""

    migration: str
    required: bool
    """Whether a start is refused while an item before it is open."""
    items: tuple[Item, ...]
    markdown: str = ""

    @property
    def blocking(self) -> tuple[Item, ...]:
        """The items that keep a run from beginning, whether that is required or not."""
        return tuple(item for item in self.items if item.part == "pre" and item.state == "open")


def make(facts: Facts) -> Checklist:
    """Return the checklist as it stands."""
    items = (*_before(facts), *_during(facts), *_after(facts))
    required = facts.next_spec.checklist == "required"
    parts: tuple[Part, ...] = ("pre", "during", "post")
    blocks = (
        section(_TITLES[part], bullets(_line(item) for item in items if item.part == part)) for part in parts
    )
    text = page(f"Checklist of {facts.name}", _meaning(facts.name, required), *blocks)
    return Checklist(facts.name, required, items, text)


def open_items(facts: Facts) -> list[str]:
    """Return what the next run still asks for, in words; whether that refuses a start, the migration says."""
    return [f"{item.title} ({item.id}): {item.evidence}" for item in make(facts).blocking]


def tick(facts: Facts, item: str, note: str, *, by: str) -> Event:
    """Return the event that ticks an item; raises BadRequest naming those that there are."""
    known = {each.id: each for each in make(facts).items}
    if item not in known:
        raise BadRequest(f"item: there is no {item!r}; known: {', '.join(known)}")
    if known[item].state == "not_applicable":
        raise BadRequest(f"item: {item!r} does not apply: {known[item].evidence}")
    evidence = {
        "item": item,
        "note": note,
        "run": facts.state.run,
        "fingerprint": fingerprint(facts.next_spec),
    }
    return Event(facts.now, by, TICK, f"{item}: {note}" if note else item, {}, {}, evidence)


def _line(item: Item) -> str:
    mark = {"open": "[ ]", "done": "[x]", "not_applicable": "[-]"}[item.state]
    return f"{mark} **{item.title}** (`{item.id}`, {item.proof}): {item.evidence}"


def _meaning(name: str, required: bool) -> str:
    """Return what the checklist does."""
    start = "It is advice (`checklist: advisory`): a run may begin while items are open."
    if required:
        start = "A start is refused while an item before it is open, unless it is forced with a reason."
    tick = f'`gateway migration checklist {name} --tick ITEM --note "…"`'
    return f"{start} A named person ticks an item with {tick}."


# --- before -----------------------------------------------------------------------------------------------


def _before(facts: Facts) -> Iterator[Item]:
    ticks = _ticks_before(facts)
    spec = facts.next_spec
    given: tuple[tuple[str, str, Literal["auto", "person"], tuple[bool, str]], ...] = (
        ("baseline", "Control's numbers are recorded", "auto", _baseline(facts)),
        ("evals", "Evals have passed", "auto", _proof(facts, "evals", since=0.0)),
        ("rehearsal", "Every rollback was rehearsed", "auto", _rehearsal(facts)),
        ("prices", "Prices are known for both models", "auto", _prices(facts, spec)),
        ("served", "The candidate takes what the traffic asks for", "auto", _served(facts, spec)),
        ("sinks", "Somebody is notified", "auto", _sinks(facts, spec)),
        ("alerts", "The receivers of alerts have confirmed one", "person", _NOBODY),
        ("plan", "The stages were reviewed against the plan", "person", _NOBODY),
        ("prompts", "Prompts and their variants were reviewed", "person", _NOBODY),
    )
    for item, title, proof, (proved, evidence) in given:
        ticked = ticks.get(item)
        if not proved and ticked is not None:
            yield Item(item, "pre", title, "done", "person", _ticked(ticked))
        else:
            yield Item(item, "pre", title, "done" if proved else "open", proof, evidence)


_NOBODY = (False, "nobody has ticked it for this configuration")


def _baseline(facts: Facts) -> tuple[bool, str]:
    proof = _last_proof(facts, "baseline")
    if proof is not None and proof.evidence.get("passed"):
        return True, _proved(proof)
    seen = control_arm(facts).requests
    if seen >= BASELINE_REQUESTS:
        return True, f"{number(seen)} requests of control's were counted"
    return False, f"{number(seen)} of {BASELINE_REQUESTS} requests of control's were counted"


def _proof(facts: Facts, kind: str, since: float) -> tuple[bool, str]:
    proof = _last_proof(facts, kind)
    if proof is None:
        return False, f"no proof `{kind}` was handed in"
    if not proof.evidence.get("passed"):
        return False, f"the last one failed: {_proved(proof)}"
    if proof.at < since:
        return False, f"it is too old: {_proved(proof)}"
    return True, _proved(proof)


def _rehearsal(facts: Facts) -> tuple[bool, str]:
    proved, evidence = _proof(facts, "rehearsal", since=facts.now - REHEARSED_S)
    proof = _last_proof(facts, "rehearsal")
    if proof is None or not proved:
        return proved, evidence
    details = proof.evidence.get("details") or {}
    if details.get("fingerprint") != fingerprint(facts.next_spec):
        return False, f"it was not this configuration that was rehearsed: {evidence}"
    return True, evidence


def _prices(facts: Facts, spec: MigrationSpec) -> tuple[bool, str]:
    models = {spec.control: facts.control, spec.candidate: facts.candidate}
    missing = [name for name, model in models.items() if model is None or model.prices is None]
    if missing:
        return False, f"the catalogue has no price of {' and '.join(missing)}, so cost is not judged"
    return True, "the catalogue has both"


def _served(facts: Facts, spec: MigrationSpec) -> tuple[bool, str]:
    if facts.control is None or facts.candidate is None:
        return False, "the catalogue does not know both models"
    lost = _lost(facts.control, facts.candidate)
    if lost:
        return (
            False,
            f"it lacks {', '.join(lost)}; see whether the traffic uses that (`gateway explain-request`)",
        )
    return True, f"by the catalogue, nothing that {spec.control} takes is missing"


def _lost(control: Model, candidate: Model) -> list[str]:
    lost = [feature.replace("_", " ") for feature in _FEATURES if loses(control, candidate, feature)]
    if candidate.context_tokens < control.context_tokens:
        lost.append(f"a context of more than {number(candidate.context_tokens)} tokens")
    if candidate.max_output_tokens < control.max_output_tokens:
        lost.append(f"answers of more than {number(candidate.max_output_tokens)} tokens")
    return lost


def _sinks(facts: Facts, spec: MigrationSpec) -> tuple[bool, str]:
    named = dict.fromkeys((*spec.notify, *spec.on_rollback.notify))
    if not named:
        return False, "neither notify nor on_rollback.notify names a sink"
    deaf = [sink for sink in named if sink not in facts.sinks]
    if deaf:
        return False, f"not configured in gateway.yaml, or without its variable: {', '.join(deaf)}"
    return True, f"told: {', '.join(named)}"


# --- during -----------------------------------------------------------------------------------------------


def _during(facts: Facts) -> Iterator[Item]:
    run, spec = facts.state.run, facts.state.spec or facts.next_spec
    events = facts.events_of(run) if run else ()
    ticks = _ticks_of_run(facts)
    past = facts.state.phase in (Phase.soaking, Phase.completed)
    walked = visits(events)
    for index, stage in enumerate(spec.stages):
        seen = [each for each in walked if each.phase == Phase.running and each.stage == index]
        state, evidence = _stage_state(facts, seen, past)
        units = f"; {number(stage.min_units)} units asked for" if stage.min_units else ""
        asked = f"hold {span(stage.hold_s)}{units}" if stage.advances else "left by a person"
        if not stage.advances and spec.automatic and index == len(spec.stages) - 1:
            asked = "soaking follows"
        title = f"Stage {stage.name}, {stage.percent:g} %: {asked}"
        yield _ticked_or(Item(f"stage:{stage.name}", "during", title, state, "auto", evidence), ticks)
        if stage.approval:
            yield _ticked_or(_approval(index, stage.name, events), ticks)
    incidents = [each for each in incidents_of(facts.name, events) if each.run == run]
    told = f"rolled back at {iso(incidents[-1].at)}" if incidents else "none in this run"
    state = "open" if incidents or not run else "done"
    item = Item(
        "incidents", "during", "No incident is open", state, "auto", told if run else "no run has begun"
    )
    yield _ticked_or(item, ticks)


def _stage_state(facts: Facts, seen: list[Visit], past: bool) -> tuple[State, str]:
    if not seen:
        return ("not_applicable", "it was skipped") if past else ("open", "not entered yet")
    last = seen[-1]
    paused = last.lasted_s(facts.now) - last.ran_s(facts.now)
    lasted = f"ran {span(last.ran_s(facts.now))}" + (f", paused {span(paused)}" if paused >= 1 else "")
    if last.until is None and facts.state.phase in SERVING:
        units = facts.enrolled.get(Arm.candidate, 0), facts.enrolled.get(Arm.control, 0)
        met = f"{number(units[0])} units on the candidate and {number(units[1])} on control so far"
        return "open", f"since {iso(last.since)}: {lasted}; {met}"
    done: State = "done" if last.ended_by in ("advance", "automatic-advance") else "open"
    return done, f"entered at {iso(last.since)}, {lasted}{_units_at(facts, last)}, ended by {last.ended_by}"


def _units_at(facts: Facts, visit: Visit) -> str:
    """Return how many units there were when a stage was left, as its gate saw them."""
    for event in facts.events:
        if event.at == visit.until and event.verb == visit.ended_by:
            gates = {gate.get("name"): gate.get("evidence", {}) for gate in event.evidence.get("gates", ())}
            units = gates.get("min_units", {})
            if "candidate" in units and "control" in units:
                seen = number(units["candidate"]), number(units["control"])
                return f", {seen[0]} units on the candidate and {seen[1]} on control"
    return ""


def _approval(index: int, name: str, events: Iterable[Event]) -> Item:
    given = [e for e in events if e.verb == "approve" and e.after.get("stage") == index]
    evidence = f"by {said(given[-1].by)} at {iso(given[-1].at)}" if given else "not given yet"
    state: State = "done" if given else "open"
    return Item(f"approval:{name}", "during", f"Leaving {name} is approved", state, "auto", evidence)


# --- after ------------------------------------------------------------------------------------------------


def _after(facts: Facts) -> Iterator[Item]:
    ticks = _ticks_of_run(facts)
    spec = facts.spec
    completed_at = facts.state.stage_entered_at if facts.state.phase is Phase.completed else None
    given = (
        ("holdback", "The holdback has ended", _holdback(facts, spec)),
        ("thirty_days", "30 days have passed since it was completed", _thirty_days(facts, completed_at)),
        ("traffic", "Nobody asks for the old ids any more", _traffic(facts, spec, completed_at)),
        ("file", "The migration's file is removed", _file(facts)),
    )
    for item, title, (state, evidence) in given:
        yield _ticked_or(Item(item, "post", title, state, "auto", evidence), ticks)
    kept = "nobody has ticked it for this run; the final report lists the failing cases"
    golden = Item("golden", "post", "Failing cases worth keeping are in a golden set", "open", "person", kept)
    yield _ticked_or(golden, ticks)


def _holdback(facts: Facts, spec: MigrationSpec) -> tuple[State, str]:
    if not spec.holdback.percent:
        return "not_applicable", "nobody is held back"
    if facts.state.phase is Phase.completed:
        return "done", "completing the migration ended it"
    until = spec.holdback.until
    if until is None:
        return "open", f"{spec.holdback.percent:g} % stay on control, without an end"
    over = "is over, complete the migration" if until < day(facts.now) else "is still ahead"
    return "open", f"{spec.holdback.percent:g} % stay on control until {until}, which {over}"


def _thirty_days(facts: Facts, completed_at: float | None) -> tuple[State, str]:
    if completed_at is None:
        return "open", "it is not completed yet"
    if facts.now - completed_at >= AFTER_S:
        return "done", f"completed at {iso(completed_at)}"
    return "open", f"{span(completed_at + AFTER_S - facts.now)} to go"


def _traffic(facts: Facts, spec: MigrationSpec, completed_at: float | None) -> tuple[State, str]:
    if completed_at is None:
        return "open", "it is not completed yet"
    if not facts.windows:
        return "open", "nothing was counted lately"
    length = max(facts.windows)
    requests = sum(facts.windows[length].values(), Tally()).requests
    asked = f"{number(requests)} requests for {', '.join(spec.models)} in the last {span(length)}"
    return ("open" if requests else "done"), asked


def _file(facts: Facts) -> tuple[State, str]:
    if facts.file_spec is None:
        return "done", "no file names it"
    return "open", "it is needed as long as the application asks for the old ids"


# --- proofs and ticks -------------------------------------------------------------------------------------


def _last_proof(facts: Facts, kind: str) -> Event | None:
    return next(
        (e for e in reversed(facts.events) if e.verb == PROOF and e.evidence.get("kind") == kind), None
    )


def _proved(proof: Event) -> str:
    words = said(proof.reason)
    return f"handed in by {said(proof.by)} at {iso(proof.at)}" + (f": {words}" if words else "")


def _ticks_before(facts: Facts) -> dict[str, Event]:
    present = fingerprint(facts.next_spec)
    return _ticks(facts, lambda told: told.get("fingerprint") == present)


def _ticks_of_run(facts: Facts) -> dict[str, Event]:
    return _ticks(facts, lambda told: told.get("run") == facts.state.run)


def _ticks(facts: Facts, holds: Any) -> dict[str, Event]:
    return {
        str(event.evidence["item"]): event
        for event in facts.events
        if event.verb == TICK and "item" in event.evidence and holds(event.evidence)
    }


def _ticked(event: Event) -> str:
    note = said(str(event.evidence.get("note", "")))
    return f"ticked by {said(event.by)} at {iso(event.at)}" + (f": {note}" if note else "")


def _ticked_or(item: Item, ticks: dict[str, Event]) -> Item:
    """Return the item, ticked where it is open and somebody answers for it."""
    event = ticks.get(item.id)
    if item.state != "open" or event is None:
        return item
    return Item(item.id, item.part, item.title, "done", "person", _ticked(event))
