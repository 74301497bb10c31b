"""What is counted of requests: how they end, what they cost, what was done to them, how good they were."""

from collections.abc import Container, Iterable
from contextlib import AbstractContextManager
from typing import Literal

from gateway.compat.request import GUARDS
from gateway.compat.request import RULES as REWRITES
from gateway.core.types import Arm, Change, FallbackCause, Outcome, Reason, RewriteClass
from gateway.core.usage import Usage
from gateway.series import Page

ARMS = frozenset(arm.value for arm in Arm)
TOKEN_KINDS = frozenset({"input", "output", "cache_read", "cache_write", "thinking"})
ITEMS = frozenset({"assigned", "succeeded", "errored", "canceled", "expired"})
"""What becomes of an item of a batch."""
RULES = frozenset(
    {*(rule.name for rule in REWRITES), *(guard.name for guard in GUARDS), "repeated", "replay"}
)
"""What is done to a request, or keeps it from being served."""
CHECKED = frozenset({"passed", "failed", "dropped"})
"""What becomes of an answer that a check is configured for; `dropped`: too long, or too many at once."""
FEEDBACK = frozenset({"issue", "rating"})

DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600)
OVERHEAD_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)


class RequestSeries:
    """The series that requests write."""

    def _make_request_series(self, page: Page, names: Container[str]) -> None:
        m = {"migration": names}
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
        self._make_quality_series(page, m)
        self._make_compat_series(page, m)

    def _make_quality_series(self, page: Page, m: dict[str, Container[str]]) -> None:
        self._checks = page.counter(
            "checks_total", "Answers held against the configured checks.", **m, arm=ARMS, result=CHECKED
        )
        self._feedback = page.counter("feedback_total", "What users said of answers.", **m, kind=FEEDBACK)

    def _make_compat_series(self, page: Page, m: dict[str, Container[str]]) -> None:
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

    def _begin_requests(self, names: Iterable[str]) -> None:
        """Not the series by rule: most rules never fire."""
        pairs = ((Arm.control, Arm.control), (Arm.candidate, Arm.candidate), (Arm.candidate, Arm.control))
        for name in names:
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
            for kind in FEEDBACK:
                self._feedback(name, kind)
            for arm in Arm:
                for result in ITEMS:
                    self._batch_items(name, arm, result)
                for result in CHECKED:
                    self._checks(name, arm, result)
        for outcome in Outcome:
            self._passthrough(outcome)

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

    def check(
        self, migration: str, arm: Arm, result: Literal["passed", "failed", "dropped"], count: int = 1
    ) -> None:
        """An answer was held against a check, or could not be."""
        self._checks(migration, arm, result).inc(count)

    def feedback(self, migration: str, kind: str) -> None:
        """A user said something of an answer."""
        self._feedback(migration, kind).inc()
