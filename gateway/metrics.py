"""Every Prometheus series of the gateway, and the closed set of values that each label may take.

Rules: a label holds a migration's name from the configuration, a model's id from the catalogue or a member of
a set written down here, in `core` or in `compat`; whatever else comes in is counted as `other` (see
`series`). Everything is booked to the assigned arm; `served` says who answered. Methods are named after what
happened.
"""

import math
import platform
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, time

from gateway import __version__
from gateway.compat.drift import FIELDS, Drift
from gateway.compat.request import GUARDS
from gateway.compat.request import RULES as REWRITES
from gateway.core.gates.verdict import Verdict
from gateway.core.gates.window import JUDGED
from gateway.core.rollout import served_percent
from gateway.core.spec import Gates
from gateway.core.types import (
    Arm,
    Change,
    FallbackCause,
    MigrationState,
    Outcome,
    Phase,
    Reason,
    RewriteClass,
)
from gateway.core.usage import Usage
from gateway.series import OTHER, Merge, Page

ARMS = frozenset(arm.value for arm in Arm)
TOKEN_KINDS = frozenset({"input", "output", "cache_read", "cache_write", "thinking"})
ITEMS = frozenset({"assigned", "succeeded", "errored", "canceled", "expired"})
"""What becomes of an item of a batch."""
RULES = frozenset(
    {*(rule.name for rule in REWRITES), *(guard.name for guard in GUARDS), "repeated", "replay"}
)
"""What is done to a request, or keeps it from being served."""
GATES = frozenset({*Gates().breaker, *Gates().rollback, *Gates().hold})
REASONS = frozenset({"user", "inconclusive", "approval", "freeze", "no_data", "automatic", "emergency"})
"""Why a migration is paused or was rolled back."""
STORE_OPERATIONS = frozenset({
    "acquire_lease", "append", "changed", "close", "commit", "counts", "deregister", "enrolled", "events",
    "load", "next_epoch", "open", "put_counts", "raise_epoch", "read_notes", "recall", "release_lease",
    "remember", "renew_lease", "replicas", "report", "restore", "secret", "write_notes",
})  # fmt: skip

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600)
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class Metrics:
    """What this process counts, and the page that says it for all workers."""

    def __init__(self, migrations: Iterable[str] = ()) -> None:
        """Start at zero; `migrations` are the configured names."""
        self._page = Page()
        self._names: set[str] = set(migrations)
        self._judged: set[tuple[str, str]] = set()
        """Migration and gate of the verdicts that are shown."""
        self._models: set[str] = set()
        self._drifting: set[tuple[str, str]] = set()
        """Model and field of the differences that are shown."""
        self._make_request_series()
        self._make_compat_series()
        self._make_rollout_series()
        self._make_catalogue_series()
        self._begin()
        build = {"version": __version__, "python": platform.python_version()}
        allowed = {name: {value} for name, value in build.items()}
        self._page.gauge("build_info", "The version that runs.", "livemax", **allowed)(*build.values()).set(1)

    def _make_request_series(self) -> None:
        page = self._page
        m = {"migration": self._names}
        arm = {**m, "arm": ARMS}
        served = {**arm, "served": ARMS}
        outcome = {"outcome": frozenset(Outcome)}
        self._requests = page.counter("requests_total", "Governed requests that ended.", **served, **outcome)
        self._passthrough = page.counter(
            "passthrough_total", "Requests that no migration governs.", **outcome
        )
        self._duration = page.histogram(
            "request_duration_seconds", "From head to last byte.", DURATION_BUCKETS, **arm
        )
        self._first_token = page.histogram(
            "time_to_first_token_seconds", "From head to the first byte sent.", FIRST_TOKEN_BUCKETS, **arm
        )
        self._overhead = page.histogram(
            "overhead_seconds", "What the gateway adds before it sends.", OVERHEAD_BUCKETS, **arm
        )
        self._tokens = page.counter(
            "tokens_total", "Tokens of answers; thinking is part of output.", **served, kind=TOKEN_KINDS
        )
        self._cost = page.counter("cost_usd_total", "Cost of answers at list prices.", **served)
        self._fallbacks = page.counter(
            "fallbacks_total",
            "Answers by control in the candidate's place.",
            **m,
            cause=frozenset(FallbackCause),
        )
        self._assignments = page.counter(
            "assignments_total", "Why requests got their arm.", **m, reason=frozenset(Reason)
        )
        self._in_flight = page.gauge("in_flight", "Requests being served.", "livesum")
        self._streams = page.gauge("streams", "Answers being streamed.", "livesum")

    def _make_compat_series(self) -> None:
        page = self._page
        m = {"migration": self._names}
        rule = {"rule": RULES, "class": frozenset(RewriteClass)}
        self._rewrites = page.counter("rewrites_total", "Changes so that a model accepts it.", **m, **rule)
        self._unservable = page.counter("unservable_total", "Requests kept on control.", **m, rule=RULES)
        self._retries = page.counter(
            "retries_total", "Candidates asked again: a forced tool call did not come.", **m
        )
        self._batch_items = page.counter(
            "batch_items_total",
            "Items of batches, assigned and as their results say.",
            **m,
            arm=ARMS,
            result=ITEMS,
        )

    def _make_rollout_series(self) -> None:
        page = self._page
        m = {"migration": self._names}
        newest: Merge = "livemostrecent"
        verdict = {"gate": GATES, "verdict": frozenset(Verdict)}
        self._weight = page.gauge("weight_percent", "The candidate's share.", newest, **m)
        self._stage = page.gauge("stage", "Index of the stage, from 0.", newest, **m)
        self._phase = page.gauge("phase", "1 for the phase it is in.", newest, **m, phase=frozenset(Phase))
        self._reason = page.gauge(
            "phase_reason", "1 for why it is paused or rolled back.", newest, **m, reason=REASONS
        )
        self._changed = page.gauge(
            "changed_timestamp_seconds", "When its state was last written.", newest, **m
        )
        self._entered = page.gauge("stage_entered_timestamp_seconds", "When its stage began.", newest, **m)
        self._hold = page.gauge("stage_hold_seconds", "How long its stage is to last.", newest, **m)
        self._retires = page.gauge(
            "model_retires_timestamp_seconds",
            "When the arm's model ends; +Inf: no date.",
            newest,
            **m,
            arm=ARMS,
        )
        self._gate_verdict = page.gauge("gate_verdict", "1 for what the gate says.", newest, **m, **verdict)
        self._gate_limit = page.gauge(
            "gate_limit", "Above it a breaker trips; +Inf: never.", newest, **m, gate=GATES
        )
        # A worker that lags behind must show.
        self._snapshot_version = page.gauge("snapshot_version", "State that is obeyed.", "livemin")
        self._snapshot_age = page.gauge("snapshot_age_seconds", "Since it was confirmed.", "livemax")
        self._store_errors = page.counter(
            "store_errors_total", "Store calls that failed.", operation=STORE_OPERATIONS
        )
        self._untold = page.gauge(
            "store_backlog", "Pins and records that the store has yet to be told.", "livesum"
        )
        self._leader = page.gauge("leader", "1 where the controller runs.", "livemax")

    def _make_catalogue_series(self) -> None:
        page = self._page
        labels = {"model": self._models, "field": frozenset(FIELDS)}
        self._drift = page.gauge(
            "catalogue_drift", "1 where the vendor's list says something else.", "livemax", **labels
        )
        self._compared = page.gauge(
            "catalogue_compared_timestamp_seconds", "When it was held against that list.", "livemax"
        )

    def _begin(self) -> None:
        """Let counters begin at zero, so that the first event is an increase and not merely a new series.

        Not those by rule: most rules never fire.
        """
        pairs = ((Arm.control, Arm.control), (Arm.candidate, Arm.candidate), (Arm.candidate, Arm.control))
        for name in self._names:
            for arm, served in pairs:
                self._cost(name, arm, served)
                for kind in TOKEN_KINDS:
                    self._tokens(name, arm, served, kind)
                for outcome in Outcome:
                    self._requests(name, arm, served, outcome)
            self._retries(name)
            for cause in FallbackCause:
                self._fallbacks(name, cause)
            for reason in Reason:
                self._assignments(name, reason)
            for arm in Arm:
                for result in ITEMS:
                    self._batch_items(name, arm, result)
        for outcome in Outcome:
            self._passthrough(outcome)
        for operation in STORE_OPERATIONS:
            self._store_errors(operation)

    # --- one request --------------------------------------------------------------------------------------

    def entered(self) -> None:
        """A request came in."""
        self._in_flight().inc()

    def left(self) -> None:
        """A request is over."""
        self._in_flight().dec()

    def streaming(self) -> AbstractContextManager[object]:
        """An answer is being streamed while this lasts."""
        return self._streams().track_inprogress()

    def assignment(self, migration: str, reason: Reason) -> None:
        """A request got its arm."""
        self._assignments(migration, reason).inc()

    def request(self, migration: str, arm: Arm, served: Arm, outcome: Outcome, *, duration_s: float) -> None:
        """A governed request ended."""
        self._requests(migration, arm, served, outcome).inc()
        self._duration(migration, arm).observe(duration_s)

    def first_token(self, migration: str, arm: Arm, seconds: float) -> None:
        """The first byte of an answer went to the client, that long after the request came."""
        self._first_token(migration, arm).observe(seconds)

    def overhead(self, migration: str, arm: Arm, seconds: float) -> None:
        """The gateway took that long before it sent a request."""
        self._overhead(migration, arm).observe(seconds)

    def usage(
        self, migration: str, arm: Arm, served: Arm, usage: Usage, cost_microusd: int | None = None
    ) -> None:
        """An answer said what it used; None: the model has no price."""
        for kind, count in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache_read", usage.cache_read),
            ("cache_write", usage.cache_write),
            ("thinking", usage.thinking_tokens),
        ):
            if count:
                self._tokens(migration, arm, served, kind).inc(count)
        if cost_microusd:
            self._cost(migration, arm, served).inc(cost_microusd / 1_000_000)

    def fallback(self, migration: str, cause: FallbackCause) -> None:
        """Control answered in the candidate's place."""
        self._fallbacks(migration, cause).inc()

    def retry(self, migration: str) -> None:
        """A candidate was asked again, because the tool call that was forced did not come."""
        self._retries(migration).inc()

    def rewrite(self, migration: str, change: Change, count: int = 1) -> None:
        """A request, or that many items of a batch, was changed so that the model accepts it."""
        self._rewrites(migration, change.rule, change.rewrite_class).inc(count)

    def unservable(self, migration: str, rule: str, count: int = 1) -> None:
        """A request, or that many items of a batch, was kept on control: the candidate cannot serve it."""
        self._unservable(migration, rule).inc(count)

    def batch_items(self, migration: str, arm: str, result: str, count: int) -> None:
        """Items of batches were assigned, or their results were read."""
        self._batch_items(migration, arm, result).inc(count)

    def passthrough(self, outcome: Outcome) -> None:
        """A request that no migration governs ended."""
        self._passthrough(outcome).inc()

    # --- the rollout --------------------------------------------------------------------------------------

    def configured(self, migrations: Iterable[str]) -> None:
        """The configuration was read again; what is no longer in it is shown at rest."""
        names = set(migrations)
        for gone in self._names - names:
            self.rollout(MigrationState(gone))
            self.retirement(gone, dict.fromkeys(Arm))
        self._names |= names
        self._begin()

    def rollout(self, state: MigrationState) -> None:
        """This process obeys `state` from here on."""
        name, spec = state.name, state.spec
        self._weight(name).set(served_percent(state))
        self._stage(name).set(state.stage_index)
        for phase in Phase:
            self._phase(name, phase).set(phase is state.phase)
        for reason in REASONS:
            self._reason(name, reason).set(reason == state.reason)
        self._changed(name).set(state.updated_at)
        self._entered(name).set(state.stage_entered_at)
        stages = spec.stages if spec is not None else ()
        self._hold(name).set(stages[state.stage_index].hold_s if state.stage_index < len(stages) else 0)
        limits = spec.gates.breaker if spec is not None else {}
        for gate in JUDGED:
            self._gate_limit(name, gate).set(limits[gate].max if gate in limits else math.inf)

    def retirement(self, migration: str, retires_on: Mapping[Arm, date | None]) -> None:
        """The catalogue says when the models of both arms end; +Inf where no date is known."""
        for arm, day in retires_on.items():
            ends = math.inf if day is None else datetime.combine(day, time(), UTC).timestamp()
            self._retires(migration, arm).set(ends)

    def gates(self, verdicts: Mapping[str, Mapping[str, Verdict]]) -> None:
        """Who leads judged these gates, by migration; what is judged no more has no verdict."""
        judged = {(migration, gate) for migration, gates in verdicts.items() for gate in gates}
        for migration, gate in self._judged | judged:
            verdict = verdicts.get(migration, {}).get(gate)
            for each in Verdict:
                self._gate_verdict(migration, gate, each).set(each is verdict)
        self._judged = judged

    def catalogue(self, model_ids: Iterable[str], drifts: Iterable[Drift], compared_at: float) -> None:
        """Who leads held the rows of these ids against the vendor's list; without a comparison there is no
        drift, and the time is 0."""
        self._models |= set(model_ids)
        drifting: set[tuple[str, str]] = {
            (each.model if each.model in self._models else OTHER, each.field) for each in drifts
        }
        for model, field in self._drifting | drifting:
            self._drift(model, field).set((model, field) in drifting)
        self._drifting = drifting
        self._compared().set(compared_at)

    def snapshot(self, version: int, age_s: float) -> None:
        """The state that this process obeys, and how long ago the store confirmed it."""
        self._snapshot_version().set(version)
        self._snapshot_age().set(age_s)

    def backlog(self, entries: int) -> None:
        """What this process remembers and the store has not been told, by now."""
        self._untold().set(entries)

    def leader(self, leads: bool) -> None:
        """This process became the controller, or no longer is."""
        self._leader().set(leads)

    def store_error(self, operation: str) -> None:
        """A call of the store failed."""
        self._store_errors(operation).inc()

    # --- the page -----------------------------------------------------------------------------------------

    def render(self) -> tuple[bytes, str]:
        """Return the page for all workers, and its content type."""
        return self._page.render()
