"""*Rollout*: where one migration stands, and how its two arms do, side by side.

Both arms are booked as assigned, and they are not alike: what the candidate cannot do stays on control, so
its mean request may be another one. A difference between the lines is a question, not yet an answer.
"""

from deploy.grafana.panels import (
    BLUE,
    BY_ARM,
    GREEN,
    GREY,
    LOUD,
    MIGRATION,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    Json,
    colored,
    dashed,
    grid,
    lines,
    one_of,
    or_none,
    query,
    stat,
    timeline,
)

PHASES = {"draft": 0, "running": 1, "paused": 2, "soaking": 3, "completed": 4, "rolled_back": 5}
PHASE_TEXTS = {
    0: ("draft", GREY),
    1: ("running", BLUE),
    2: ("paused", YELLOW),
    3: ("soaking", PURPLE),
    4: ("completed", GREEN),
    5: ("rolled back", RED),
}
REASONS = {
    "user": 1, "inconclusive": 2, "approval": 3, "freeze": 4, "no_data": 5, "automatic": 6, "emergency": 7,
}  # fmt: skip
REASON_TEXTS = {
    0: ("no reason", GREY),
    1: ("by a person", BLUE),
    2: ("inconclusive", YELLOW),
    3: ("needs approval", YELLOW),
    4: ("freeze", YELLOW),
    5: ("no data", YELLOW),
    6: ("automatic", RED),
    7: ("emergency", RED),
}
VERDICTS = {"pass": 1, "inconclusive": 2, "error": 3, "fail": 4}
VERDICT_TEXTS = {1: ("pass", GREEN), 2: ("inconclusive", YELLOW), 3: ("error", ORANGE), 4: ("fail", RED)}

DAY_S = 86400

M = MIGRATION


def panels() -> list[Json]:
    """Return the dashboard's panels, placed."""
    return grid([
        ("", 4, _standing()),
        ("", 9, [_share(), _limits()]),
        ("", 10, [_phases(), _verdicts()]),
        ("", 8, [_headroom(), _ratios()]),
        ("The arms, side by side", 8, [_rate(), _errors(), _refusals()]),
        ("", 8, [_durations(), _first_tokens(), _rescues()]),
        ("", 8, [_tokens(), _cost(), _reasons()]),
        ("How requests ended", 8, [_outcomes("candidate"), _outcomes("control")]),
    ])  # fmt: skip


def _standing() -> list[Json]:
    phase = one_of("gateway_phase", M, "phase", PHASES)
    reason = one_of("gateway_phase_reason", M, "reason", REASONS)
    retires = f"min(gateway_model_retires_timestamp_seconds{{{M}}} < +Inf) - time()"
    return [
        stat("Phase", "Where the migration stands.", query(f"max({phase})"), texts=PHASE_TEXTS),
        stat(
            "Why",
            "Why it is paused or rolled back; no reason while it runs.",
            query(f"max({reason}) or vector(0)"),
            texts=REASON_TEXTS,
        ),
        stat(
            "Candidate's share",
            "What is asked for: the weight that every replica serves to new conversations.",
            query(f"max(gateway_weight_percent{{{M}}})"),
            unit="percent",
            steps=[(None, GREY), (0.001, ORANGE)],
        ),
        stat(
            "In this stage for",
            "Since the present stage began; after a rollback, since then.",
            query(f"migration:gateway_stage_age_seconds:max{{{M}}}"),
            unit="s",
            decimals=1,
        ),
        stat(
            "A model ends in",
            "Until the first of the two models ends; no date where none is in the catalogue.",
            query(retires),
            unit="s",
            decimals=1,
            steps=[(None, RED), (7 * DAY_S, YELLOW), (30 * DAY_S, GREEN)],
            empty="no date",
        ),
        stat(
            "Alerts",
            "The gateway's alerts that are firing, of all migrations. Prometheus lists them under /alerts.",
            query('count(ALERTS{alertname=~"Gateway.*", alertstate="firing"}) or vector(0)'),
            steps=LOUD,
        ),
    ]


def _share() -> Json:
    return lines(
        "Share of the candidate",
        """Asked for: the weight. Assigned: of the requests of the last 5 minutes; lower where requests are
        left on control, and late where conversations keep the arm that they began on. Served: less what
        control rescued. Vertical lines are changes of the rollout and firing alerts.""",
        query(f"max(gateway_weight_percent{{{M}}})", "asked for"),
        query(f"100 * migration:gateway_candidate_assigned:ratio_rate5m{{{M}}}", "assigned"),
        query(f"100 * migration:gateway_candidate_served:ratio_rate5m{{{M}}}", "served"),
        unit="percent",
        stepped=True,
        maximum=100,
        rules=[colored("asked for", GREY), colored("assigned", ORANGE), colored("served", GREEN)],
    )


def _limits() -> Json:
    return lines(
        "Candidate against its limits",
        """What the breakers judge, over 5 minutes, and their limits (dashed). Above a limit, with enough
        requests from enough people, and while control is well, the gateway rolls back by itself.""",
        query(f"migration_gate:gateway_candidate:ratio_rate5m{{{M}}}", "{{gate}}"),
        query(f"migration_gate:gateway_gate_limit:max{{{M}}}", "limit of {{gate}}"),
        unit="percentunit",
        rules=[colored("/error_rate/", RED), colored("/fallback_rate/", PURPLE), dashed("/^limit/")],
    )


def _phases() -> Json:
    return timeline(
        "Phases",
        "Which phase it was in, and when.",
        query(f"max({one_of('gateway_phase', M, 'phase', PHASES)})", "phase"),
        texts=PHASE_TEXTS,
    )


def _verdicts() -> Json:
    judged = one_of("gateway_gate_verdict", M, "verdict", VERDICTS)
    return timeline(
        "Verdicts of the gates",
        """What the leading replica says of each gate. Inconclusive: too little data, or control is over
        the limit too. Nothing is judged in draft, after the end, and while nobody leads.""",
        query(f"max by (gate) ({judged})", "{{gate}}"),
        texts=VERDICT_TEXTS,
    )


def _headroom() -> Json:
    near = f"max by (gate) (gateway_gate_headroom{{{M}}})"
    return lines(
        "Nearness to a rollback",
        """Of each gate that rolls back: of a breaker, its value as a part of its limit, once its window holds
        enough; of a comparison, how far its evidence has come. At 100 % everything goes to control.""",
        query(or_none(f"{near} > 0", "gate"), "{{gate}}"),
        unit="percentunit",
    )


def _ratios() -> Json:
    return lines(
        "Candidate / control",
        """What the comparisons compare: the ratio of both arms over the run, where they match. 1: alike.
        The margins stand in the migration's file.""",
        query(or_none(f"max by (metric) (gateway_metric_ratio{{{M}}} >= 0)", "metric"), "{{metric}}"),
    )


def _rate() -> Json:
    return lines(
        "Requests",
        "Requests that ended, by the arm that was assigned.",
        query(f"sum by (arm) (rate(gateway_requests_total{{{M}}}[$__rate_interval]))", "{{arm}}"),
        unit="reqps",
        rules=BY_ARM,
    )


def _errors() -> Json:
    return lines(
        "Errors",
        """Share that ended without an answer: upstream or stream errors, cut or empty answers, timeouts. What
        control rescued is no error; it is under Rescued by control.""",
        query(f"migration_arm:gateway_errors:ratio_rate5m{{{M}}}", "{{arm}}"),
        unit="percentunit",
        rules=BY_ARM,
    )


def _refusals() -> Json:
    return lines(
        "Refusals",
        "Share that the model declined to answer (stop reason `refusal`).",
        query(f"migration_arm:gateway_refusals:ratio_rate5m{{{M}}}", "{{arm}}"),
        unit="percentunit",
        rules=BY_ARM,
    )


def _durations() -> Json:
    return _quantiles(
        "Latency",
        "From the request's head to the answer's last byte: median (dashed) and 95th percentile.",
        "gateway_request_duration_seconds",
    )


def _first_tokens() -> Json:
    return _quantiles(
        "Time to first token",
        "From the request's head to the answer's first byte: median (dashed) and 95th percentile.",
        "gateway_time_to_first_token_seconds",
    )


def _rescues() -> Json:
    rate = f"sum by (cause) (rate(gateway_fallbacks_total{{{M}}}[$__rate_interval]))"
    return lines(
        "Rescued by control",
        "Answers that control gave in the candidate's place, by cause. Callers did not notice.",
        query(or_none(f"{rate} > 0", "cause"), "{{cause}}"),
        unit="reqps",
        stacked=True,
    )


def _tokens() -> Json:
    kinds = "migration_arm_kind:gateway_tokens:per_request5m"
    return lines(
        "Tokens per request",
        "Output (thinking is part of it) and, dashed, input without what came from the cache.",
        query(f'{kinds}{{{M}, kind="output"}}', "{{arm}} output"),
        query(f'{kinds}{{{M}, kind="input"}}', "{{arm}} input"),
        rules=[*BY_ARM, dashed("/input$/")],
    )


def _cost() -> Json:
    return lines(
        "Cost per 1,000 requests",
        "At list prices, booked to the assigned arm: a rescue is what control charged for it.",
        query(f"migration_arm:gateway_cost_usd:per_1000_requests5m{{{M}}}", "{{arm}}"),
        unit="currencyUSD",
        rules=BY_ARM,
    )


def _reasons() -> Json:
    rate = f"sum by (reason) (rate(gateway_assignments_total{{{M}}}[$__rate_interval]))"
    return lines(
        "Why requests got their arm",
        "By reason; docs/migrating.md says what each means. `unservable` is what the candidate cannot do.",
        query(or_none(f"{rate} > 0", "reason"), "{{reason}}"),
        unit="reqps",
        stacked=True,
    )


def _outcomes(arm: str) -> Json:
    rate = f'sum by (outcome) (rate(gateway_requests_total{{{M}, arm="{arm}"}}[$__rate_interval]))'
    return lines(
        f"Outcomes of {arm}",
        "How the arm's requests ended, as their callers saw it.",
        query(or_none(f"{rate} > 0", "outcome"), "{{outcome}}"),
        unit="reqps",
        stacked=True,
        rules=[
            colored("ok", GREEN),
            colored("refused", PURPLE),
            colored("client_error", GREY),
            colored("/_error$|timeout|empty|truncated/", RED),
        ],
    )


def _quantiles(title: str, description: str, metric: str) -> Json:
    return lines(
        title,
        description,
        query(f"migration_arm:{metric}:p95_5m{{{M}}}", "{{arm}} p95"),
        query(f"migration_arm:{metric}:p50_5m{{{M}}}", "{{arm}} p50"),
        unit="s",
        rules=[*BY_ARM, dashed("/p50$/")],
    )
