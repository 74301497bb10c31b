"""*Compatibility*: what requests need so that the candidate accepts them, and where that ends."""

from deploy.grafana.panels import (
    BLUE,
    BY_ARM,
    GREEN,
    LOUD,
    MIGRATION,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    Json,
    bars,
    called,
    colored,
    grid,
    lines,
    or_none,
    query,
    stat,
)

M = MIGRATION


def panels() -> list[Json]:
    """Return the dashboard's panels, placed."""
    return grid([
        ("", 4, _standing()),
        ("What is rewritten", 9, [_rewrites(), _classes(), _rewritten()]),
        ("What stays on control", 8, [_unservable(), _kept()]),
        ("Where control helps out", 8, [_rescues(), _rescued(), _retries()]),
        ("What callers get to hear", 8, [_client_errors(), _refusals()]),
        ("Message batches", 8, [_items(), _results()]),
    ])  # fmt: skip


def _standing() -> list[Json]:
    rejected = f'gateway_fallbacks_total{{{M}, cause="rejected_by_model"}}'
    return [
        stat(
            "Changes per request",
            "Rules that fired, per request, over 5 minutes.",
            query(
                f"""(sum(rate(gateway_rewrites_total{{{M}}}[5m])) or vector(0))
                / sum(migration_arm:gateway_requests:rate5m{{{M}}})"""
            ),
            decimals=2,
        ),
        stat(
            "Left on control",
            "Share of all requests that no rule can say to the candidate: the ceiling of the migration.",
            query(f"migration:gateway_unservable:ratio_rate5m{{{M}}}"),
            unit="percentunit",
            decimals=1,
            steps=[(None, GREEN), (0.05, YELLOW), (0.25, ORANGE)],
        ),
        stat(
            "Rescued",
            "Share of the candidate's requests that control answered.",
            query(f'migration_gate:gateway_candidate:ratio_rate5m{{{M}, gate="fallback_rate"}}'),
            unit="percentunit",
            decimals=1,
            steps=[(None, GREEN), (0.01, YELLOW), (0.1, RED)],
        ),
        stat(
            "Rejected after rewriting",
            "Bodies that the gateway rewrote and the candidate rejected all the same: a rule is missing.",
            query(f"sum(increase({rejected}[$__range]))"),
            decimals=0,
            steps=LOUD,
        ),
    ]


def _rewrites() -> Json:
    return lines(
        "Changes by rule",
        "How often each rule changed a request, in either direction.",
        query(
            or_none(f"sum by (rule) (rate(gateway_rewrites_total{{{M}}}[$__rate_interval]))", "rule"),
            "{{rule}}",
        ),
        unit="cps",
        stacked=True,
    )


def _classes() -> Json:
    return lines(
        "Changes by class",
        """How safe they are. Lossless: nothing is lost. Emulated: the contract holds. Approximate: have a
        look at the prompt.""",
        query(
            or_none(f"sum by (class) (rate(gateway_rewrites_total{{{M}}}[$__rate_interval]))", "class"),
            "{{class}}",
        ),
        unit="cps",
        stacked=True,
        rules=[
            colored("L", GREEN),
            colored("E", BLUE),
            colored("P", ORANGE),
            called("L", "lossless"),
            called("E", "emulated"),
            called("P", "approximate"),
        ],
    )


def _rewritten() -> Json:
    total = f"sum by (rule, class) (increase(gateway_rewrites_total{{{M}}}[$__range]))"
    return bars(
        "Changes in all",
        "Over the time range of the dashboard, by rule and class (L, E, P).",
        query(f"sort_desc({or_none(total, 'rule')})", "{{rule}} {{class}}", instant=True),
    )


def _unservable() -> Json:
    rate = f"sum by (rule) (rate(gateway_unservable_total{{{M}}}[$__rate_interval]))"
    return lines(
        "Left on control by rule",
        "Requests that the candidate cannot be asked, by what keeps them; the same at every stage.",
        query(or_none(rate, "rule"), "{{rule}}"),
        unit="reqps",
        stacked=True,
    )


def _kept() -> Json:
    total = f"sum by (rule) (increase(gateway_unservable_total{{{M}}}[$__range]))"
    return bars(
        "Left on control in all",
        "Over the time range of the dashboard. Change the application, or plan what becomes of these.",
        query(f"sort_desc({or_none(total, 'rule')})", "{{rule}}", instant=True),
        color=ORANGE,
    )


def _rescues() -> Json:
    rate = f"sum by (cause) (rate(gateway_fallbacks_total{{{M}}}[$__rate_interval]))"
    return lines(
        "Rescues by cause",
        "Answers that control gave in the candidate's place.",
        query(or_none(f"{rate} > 0", "cause"), "{{cause}}"),
        unit="reqps",
        stacked=True,
    )


def _rescued() -> Json:
    total = f"sum by (cause) (increase(gateway_fallbacks_total{{{M}}}[$__range]))"
    return bars(
        "Rescues in all",
        "Over the time range of the dashboard, by cause.",
        query(f"sort_desc({or_none(f'{total} > 0', 'cause')})", "{{cause}}", instant=True),
        color=PURPLE,
    )


def _retries() -> Json:
    return lines(
        "Asked again",
        """How often the candidate answered without the tool call that was forced, and was asked in firmer
        words. If that does not help either, control answers: `no_tool_call`.""",
        query(f"sum(rate(gateway_retries_total{{{M}}}[$__rate_interval]))", "asked again"),
        unit="reqps",
        rules=[colored("asked again", ORANGE)],
    )


def _items() -> Json:
    assigned = f'gateway_batch_items_total{{{M}, result="assigned"}}'
    return lines(
        "Batch items",
        "Requests inside batches, by the arm that they were assigned. They enter no gate.",
        query(f"sum by (arm) (rate({assigned}[$__rate_interval]))", "{{arm}}"),
        unit="reqps",
        stacked=True,
        rules=BY_ARM,
    )


def _results() -> Json:
    total = f'increase(gateway_batch_items_total{{{M}, result!="assigned"}}[$__range])'
    return bars(
        "Results of batches",
        """Over the time range of the dashboard, by arm, as results were read: more errors on the candidate
        than on control are a reason to look. Results that are read twice count twice.""",
        query(f"sort_desc(sum by (arm, result) ({total}))", "{{arm}} {{result}}", instant=True),
    )


def _client_errors() -> Json:
    return lines(
        "Requests that were rejected",
        """Share that ended with a 4xx, which the caller was told. More of them on the candidate than on
        control: something goes through that should be rewritten.""",
        query(f"migration_arm:gateway_client_errors:ratio_rate5m{{{M}}}", "{{arm}}"),
        unit="percentunit",
        rules=BY_ARM,
    )


def _refusals() -> Json:
    return lines(
        "Refused",
        "Share that the model declined to answer; newer models decline other things than older ones.",
        query(f"migration_arm:gateway_refusals:ratio_rate5m{{{M}}}", "{{arm}}"),
        unit="percentunit",
        rules=BY_ARM,
    )
