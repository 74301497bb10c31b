"""The runbook of one migration, with its own numbers: for whoever is on call and was not there.

What it says of stages and gates is what the configuration says, so it is true of the run that took it; what
it says of costs and times is the plan's.
"""

from collections.abc import Iterator

from gateway.compat.catalog import Model
from gateway.control.papers import checklist
from gateway.control.papers.facts import SERVING, Facts
from gateway.control.papers.plan import Plan
from gateway.control.papers.plan_page import cost_lines, stages_table
from gateway.control.papers.text import (
    UNKNOWN,
    bullets,
    days_until,
    iso,
    listed,
    number,
    page,
    said,
    section,
    share,
    span,
    table,
    times,
)
from gateway.core.spec import BreakerRule, Check, Freeze, MigrationSpec, Stage
from gateway.core.tally import CheckCount
from gateway.core.types import Arm

_BREAKERS = {
    "error_rate": "share of requests that end in an error",
    "fallback_rate": "share of requests that control had to answer in its place",
    "latency_p95_s": "95th percentile of the whole answer, in seconds",
    "quality_issues": "units that complained",
    "cost_ratio": "mean cost, candidate to control",
}
_WEEK = "every day"


def write(facts: Facts, plan: Plan) -> str:
    """Return the runbook."""
    spec = facts.spec
    return page(
        f"Runbook of {spec.name}",
        _where(facts),
        section("What changes", _models(facts, spec), bullets(_changes(facts, spec))),
        section("Who is hit, and when", bullets(_who(spec)), stages_table(plan)),
        section("What each stage must show", bullets(_criterion(stage, spec) for stage in spec.stages)),
        section("What stops it", _breakers(spec), bullets(_comparisons(spec))),
        section("What happens by itself", bullets(_automation(spec))),
        section("What it costs", bullets(cost_lines(plan))),
        section("What to watch most carefully", bullets(_closest(facts, spec))),
        section("Commands", _commands(spec)),
        section("At three in the morning", _night(spec)),
        section("People", bullets(_people(spec))),
        section("Still open before a start", bullets(_open(facts))),
    )


def _where(facts: Facts) -> str:
    state, spoken = facts.state, facts.state.phase.value.replace("_", " ")
    what = "it has not been started" if not state.run else f"run {state.run} is {spoken}"
    taken = "the run's own copy of it" if state.phase in SERVING else "the migration's file"
    return f"As of {iso(facts.now)}: {what}. The configuration below is {taken}."


# --- what changes -----------------------------------------------------------------------------------------


def _models(facts: Facts, spec: MigrationSpec) -> str:
    header = ("", "model", "$ per million tokens in / out", "context", "longest answer", "retires")
    arms = (("control", spec.control, facts.control), ("candidate", spec.candidate, facts.candidate))
    return table(header, (_model(role, model_id, row, facts.now) for role, model_id, row in arms))


def _model(role: str, model_id: str, row: Model | None, now: float) -> tuple[str, ...]:
    if row is None:
        return (role, f"`{model_id}`", *(UNKNOWN,) * 4)
    prices = f"{row.prices.input:g} / {row.prices.output:g}" if row.prices else UNKNOWN
    retires = row.lifecycle.retires_on
    when = "no date" if retires is None else f"{retires}, in {days_until(retires, now)} days"
    if retires is not None and days_until(retires, now) <= 0:
        when = f"**since {retires}**"
    return (
        role,
        f"`{model_id}`",
        prices,
        number(row.context_tokens),
        number(row.max_output_tokens),
        when,
    )


def _changes(facts: Facts, spec: MigrationSpec) -> Iterator[str]:
    yield f"governed: requests that ask for {listed(spec.models)}; everything else passes untouched"
    yield "the application changes nothing: requests are rewritten for the model that serves them"
    if facts.control and facts.candidate and facts.control.tokenizer != facts.candidate.tokenizer:
        yield (
            "the candidate counts tokens differently: the same text may be more of them, so cost and "
            "`max_tokens` are not comparable one to one"
        )
    if spec.compat.tasks:
        yield f"rewritten by rules of their own: the tasks {listed(spec.compat.tasks)}"


# --- who --------------------------------------------------------------------------------------------------


def _who(spec: MigrationSpec) -> Iterator[str]:
    yield f"assigned is whoever the request names first of: {', '.join(spec.unit)}; nobody named: control"
    lists = spec.lists
    if lists.allow_tasks or lists.allow_users:
        yield (
            f"on the candidate from the first stage on: tasks {listed(lists.allow_tasks)}, "
            f"{number(len(lists.allow_users))} users by name; they are never compared"
        )
    if lists.deny_users:
        yield f"never on the candidate: {number(len(lists.deny_users))} users by name"
    if spec.holdback.percent:
        until = f" until {spec.holdback.until}" if spec.holdback.until else ""
        yield f"held back on control to the end, and counted apart: {spec.holdback.percent:g} %{until}"
    yield "a conversation never changes its model: a new share holds for the conversations that begin then"


def _criterion(stage: Stage, spec: MigrationSpec) -> str:
    parts = [f"hold {span(stage.hold_s)} of watched time"] if stage.hold_s else []
    if stage.min_units and 0 < stage.percent <= 50:
        parts.append(f"{number(stage.min_units)} units in each arm")
    if stage.max_regression is not None:
        parts.append(f"at most {share(stage.max_regression)} of quality checks fail")
    if stage.require == "non_inferior":
        parts.append("proof that nothing is worse than its margin")
    if stage.approval:
        parts.append(_approval(stage))
    if stage.max_duration_s is not None:
        parts.append(f"after {span(stage.max_duration_s)} without a result: {stage.on_max_duration}")
    if not stage.advances:
        last = stage is spec.stages[-1] and spec.automatic
        parts.append("then soaking, as soon as nothing is red" if last else "left by hand (`advance`)")
    return f"**{stage.name}**, {stage.percent:g} %: {'; '.join(parts)}"


def _approval(stage: Stage) -> str:
    who = "an approval by somebody who did not start it" if stage.approval_by_another else "an approval"
    if stage.approval_deadline_s is None:
        return who
    return f"{who} within {span(stage.approval_deadline_s)}, else {stage.on_deadline}"


# --- what stops it ----------------------------------------------------------------------------------------


def _breakers(spec: MigrationSpec) -> str:
    rows = (
        (
            f"`{name}`",
            _BREAKERS.get(name, name),
            share(rule.max) if name.endswith("_rate") else f"{rule.max:g}",
            span(rule.window_s),
            _needed(rule),
        )
        for name, rule in spec.gates.breaker.items()
    )
    return table(("breaker", "what", "rolls back above", "within", "once there are"), rows)


def _needed(rule: BreakerRule) -> str:
    needed = ((rule.min_requests, "requests"), (rule.min_units, "units"))
    return " from ".join(f"{n} {what}" for n, what in needed if n) or "any"


def _comparisons(spec: MigrationSpec) -> Iterator[str]:
    told = ", ".join(f"`{name}` {times(ratio)}" for name, ratio in spec.gates.rollback.items())
    if told:
        yield (
            "rolls back when it is as good as certain (a false alarm in at most "
            f"{share(spec.gates.alpha)} of runs) that the candidate fails more often than control, by more "
            f"than: {told}"
        )
    for check in spec.checks:
        yield f"check `{check.name}` ({check.kind}, {_of_task(check)}): {_limits(check)}"
    held = ", ".join(f"`{name}` {times(ratio)}" for name, ratio in spec.gates.hold.items())
    if held:
        yield f"holds the stage, and rolls nothing back, while it is certain to be above: {held}"
    yield "a breaker does not trip while control is as sick, or nearly: that is the provider, and it says so"


def _of_task(check: Check) -> str:
    return f"task `{check.task}`" if check.task else "every task"


def _limits(check: Check) -> str:
    limits = [f"at least {share(check.min_pass)} pass"] if check.min_pass is not None else []
    if check.max_ratio is not None:
        limits.append(f"units fail at most {times(check.max_ratio)} as often as on control")
    return " and ".join(limits) or "counted only"


def _automation(spec: MigrationSpec) -> Iterator[str]:
    if not spec.automatic:
        yield "it advances nothing: no stage has a hold or a minimum of units, so people do"
    else:
        yield "it advances when a stage's criteria are met, and never without numbers"
        yield (
            "it pauses, and goes on by itself once the reason is gone: no approval yet, a freeze, no request "
            f"to the candidate for {span(spec.gates.no_traffic_s)}, or nothing that can be said at the end"
        )
    yield "it rolls back at any time, paused or not; what it waits for stands in `gateway migration status`"
    leaving = (
        "running conversations finish" if spec.on_rollback.mode == "drain" else "everybody leaves at once"
    )
    yield f"after its rollback ({leaving}) it never restarts by itself: a person begins a new run"
    yield "what a person paused stays paused until a person resumes it"


# --- what to watch ----------------------------------------------------------------------------------------


def _closest(facts: Facts, spec: MigrationSpec) -> Iterator[str]:
    """Yield the task to watch first, and what speaks for it: counts before configuration."""
    worst = _worst_check(facts, spec)
    if worst is not None:
        check, count, arm = worst
        total = count.passed + count.failed
        yield (
            f"**{check.task or 'every task'}**: of all checks, `{check.name}` fails most, "
            f"{number(count.failed)} of {number(total)} of {arm}'s answers ({share(count.failed / total)})"
        )
    failing: dict[str, int] = {}
    for case in facts.tally.cases:
        if case.arm == Arm.candidate:
            failing[case.task] = failing.get(case.task, 0) + 1
    if failing:
        task = max(failing, key=lambda each: failing[each])
        name = said(task) or "requests without a task"
        yield f"**{name}**: {number(failing[task])} of the candidate's newest failing requests are of it"
    if worst is not None or failing:
        return
    if spec.compat.tasks:
        yield f"{listed(spec.compat.tasks)}: rewritten by rules of their own; nothing was counted yet"
    elif spec.checks:
        named = listed(dict.fromkeys(check.task for check in spec.checks if check.task), "every task")
        yield f"{named}: checked because it matters; no answer has failed a check yet"
    elif spec.lists.allow_tasks:
        yield f"{listed(spec.lists.allow_tasks)}: first on the candidate; nothing was counted yet"
    else:
        yield "not known: no task is named, checked or counted; name tasks with `x-gateway-task`"


def _worst_check(facts: Facts, spec: MigrationSpec) -> tuple[Check, CheckCount, Arm] | None:
    counted = [
        (check, totals.checks[check.name], arm)
        for arm, totals in facts.tally.arms.items()
        for check in spec.checks
        if check.name in totals.checks and totals.checks[check.name].failed
    ]
    if not counted:
        return None
    return max(counted, key=lambda each: each[1].failed / (each[1].passed + each[1].failed))


# --- what to do -------------------------------------------------------------------------------------------


def _commands(spec: MigrationSpec) -> str:
    name = spec.name
    lines = [
        "export GATEWAY_URL=https://GATEWAY GATEWAY_ADMIN_TOKEN=TOKEN   # an operator's",
        f"gateway migration checklist {name}",
        f'gateway migration start {name} --reason "…"                  # --force goes past open items',
        f"gateway migration status {name}                              # watch: the same, live",
        f'gateway migration approve {name} --reason "…"                # where a stage asks for it',
        f'gateway migration pause {name} --reason "…"                  # the share stays, gates go on',
        f"gateway migration resume {name}",
        f"gateway migration step-back {name}                           # to the stage before",
        f'gateway migration rollback {name} --reason "…"',
        f'gateway migration emergency-rollback {name} --reason "…"     # now, everywhere, confirmed',
        f"gateway migration incidents {name}",
    ]
    curl = (
        f'curl -X POST -H "Authorization: Bearer $GATEWAY_ADMIN_TOKEN" \\\n'
        f'  "$GATEWAY_URL/admin/migrations/{name}/actions/emergency-rollback"'
    )
    return f"```sh\n{chr(10).join(lines)}\n```\n\nWithout the command line:\n\n```sh\n{curl}\n```"


def _night(spec: MigrationSpec) -> str:
    steps = (
        f"Callers suffer, and it may be the candidate: `gateway migration emergency-rollback {spec.name}`. "
        "It says which replicas have confirmed; take one that is missing out of the load balancer.",
        f"It was rolled back already: `gateway migration incidents {spec.name}` says why. Everybody is on "
        "control, and the rest can wait for the morning.",
        "Control is as sick: that is the provider. A rollback would not help; see the vendor's status page.",
        "The store is away: requests are served, nothing advances, and each replica stops the candidate by "
        "itself if it must.",
        "In doubt, roll back. It costs a new run, and nothing else.",
    )
    return "\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1))


def _people(spec: MigrationSpec) -> Iterator[str]:
    approvals = [stage for stage in spec.stages if stage.approval]
    for stage in approvals:
        yield f"leaving **{stage.name}** needs {_approval(stage)}"
    if not approvals:
        yield "no stage needs an approval"
    for freeze in spec.freeze:
        yield f"freeze **{said(freeze.name)}**: nothing advances {_frozen(freeze)}; rollbacks go on"
    if not spec.freeze:
        yield "no freeze is configured"
    yield f"told of every change: {listed(spec.notify)}; of a rollback: {listed(spec.on_rollback.notify)}"


def _frozen(freeze: Freeze) -> str:
    if freeze.since or freeze.until:
        return f"from {freeze.since or 'now'} until {freeze.until or 'for ever'} ({freeze.timezone})"
    hours = "the whole day" if freeze.starts == freeze.ends else f"{freeze.starts} to {freeze.ends}"
    return f"{', '.join(freeze.days) or _WEEK}, {hours} ({freeze.timezone})"


def _open(facts: Facts) -> Iterator[str]:
    blocking = checklist.make(facts).blocking
    for item in blocking:
        yield f"{item.title} (`{item.id}`): {item.evidence}"
    if not blocking:
        yield "nothing"
