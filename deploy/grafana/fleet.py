"""*Gateway*: whether the replicas are well, agree, and cost callers nothing. Of all migrations together."""

from deploy.grafana.panels import (
    BLUE,
    GREEN,
    GREY,
    LOUD,
    ORANGE,
    RED,
    YELLOW,
    Json,
    colored,
    dashed,
    grid,
    lines,
    or_none,
    query,
    stat,
    timeline,
)


def panels() -> list[Json]:
    """Return the dashboard's panels, placed."""
    return grid([
        ("", 4, _standing()),
        ("Traffic", 8, [_requests(), _in_flight(), _streams()]),
        ("What the gateway adds", 8, [_overhead(), _overhead_by_replica(), _untouched()]),
        ("Store and fleet", 8, [_age(), _version(), _store_errors()]),
        ("", 6, [_answering(), _leaders(), _builds()]),
        ("", 6, [_backlog(), _drift()]),
    ])  # fmt: skip


def _standing() -> list[Json]:
    return [
        stat(
            "Replicas",
            "That answered Prometheus' last scrape.",
            query("gateway:replicas_up:count"),
            steps=[(None, RED), (1, GREEN)],
        ),
        stat(
            "Missing",
            "Replicas in Prometheus' list that did not answer.",
            query('count(up{job="gateway"} == 0) or vector(0)'),
            steps=LOUD,
        ),
        stat(
            "Leader",
            "Whether a process holds the controller's lease; without it the fleet has no automatic rollback.",
            query("max(gateway_leader)"),
            texts={0: ("nobody", RED), 1: ("yes", GREEN)},
        ),
        stat("In flight", "Requests being served now.", query("gateway:in_flight:sum"), decimals=0),
        stat(
            "Oldest snapshot",
            "How long ago the store confirmed what the slowest replica obeys.",
            query("max(gateway_snapshot_age_seconds)"),
            unit="s",
            decimals=1,
            steps=[(None, GREEN), (10, YELLOW), (60, RED)],
        ),
        stat(
            "Store errors",
            "Calls of the store that failed in the last 5 minutes.",
            query("sum(operation:gateway_store_errors:increase5m)"),
            decimals=0,
            steps=LOUD,
        ),
    ]


def _requests() -> Json:
    return lines(
        "Requests by migration",
        "Governed requests that ended, by migration.",
        query("sum by (migration) (rate(gateway_requests_total[$__rate_interval]))", "{{migration}}"),
        unit="reqps",
        stacked=True,
    )


def _in_flight() -> Json:
    return lines(
        "Requests in flight",
        "Requests being served, by replica. It grows with the length of answers, too.",
        query("sum by (instance) (gateway_in_flight)", "{{instance}}"),
    )


def _streams() -> Json:
    return lines(
        "Open streams",
        "Answers being streamed, by replica. A replica that drains ends when it has none left.",
        query("sum by (instance) (gateway_streams)", "{{instance}}"),
    )


def _overhead() -> Json:
    return lines(
        "Overhead",
        """What the gateway adds before it sends a request: parsing, assigning, rewriting, and the few
        milliseconds for the store. Median (dashed) and 99th percentile of all replicas.""",
        query("gateway:overhead_seconds:p99_5m", "p99"),
        query("gateway:overhead_seconds:p50_5m", "p50"),
        unit="s",
        rules=[colored("/^p/", BLUE), dashed("p50")],
    )


def _overhead_by_replica() -> Json:
    return lines(
        "Overhead by replica",
        "The 99th percentile of each replica; one that stands out lacks CPU or is far from the store.",
        query(
            """histogram_quantile(0.99,
                 sum by (instance, le) (rate(gateway_overhead_seconds_bucket[$__rate_interval])))""",
            "{{instance}}",
        ),
        unit="s",
    )


def _untouched() -> Json:
    rate = "sum by (outcome) (rate(gateway_passthrough_total[$__rate_interval]))"
    return lines(
        "Passed through",
        "Requests that no migration governs, by how they ended.",
        query(or_none(f"{rate} > 0", "outcome"), "{{outcome}}"),
        unit="reqps",
        stacked=True,
        rules=[colored("ok", GREEN), colored("client_error", GREY), colored("/_error$|timeout|empty/", RED)],
    )


def _age() -> Json:
    return lines(
        "Age of the snapshot",
        "Since the store last confirmed what a replica obeys. It serves, but hears of no rollback meanwhile.",
        query("max by (instance) (gateway_snapshot_age_seconds)", "{{instance}}"),
        unit="s",
    )


def _version() -> Json:
    return lines(
        "Version of the snapshot",
        "Grows with every change of any migration. Lines apart: the replicas obey different states.",
        query("min by (instance) (gateway_snapshot_version)", "{{instance}}"),
        stepped=True,
    )


def _store_errors() -> Json:
    return lines(
        "Store errors by operation",
        "Calls of the store that failed within 5 minutes. Requests are served all the same.",
        query("operation:gateway_store_errors:increase5m > 0", "{{operation}}"),
        query("sum(operation:gateway_store_errors:increase5m)", "all"),
        rules=[colored("all", GREY), dashed("all")],
    )


def _backlog() -> Json:
    return lines(
        "Not yet in the store",
        """Who has which arm, known to one replica only: it writes as soon as the store answers. A replica
        that is killed before forgets them, and those conversations may change their model.""",
        query("sum by (instance) (gateway_store_backlog)", "{{instance}}"),
    )


def _drift() -> Json:
    never = "2 * (max(gateway_catalogue_compared_timestamp_seconds) == bool 0)"
    return timeline(
        "Catalogue and vendor",
        """What the vendor's list of models says otherwise than the catalogue, by model and field. It is read
        only where a gateway has a key of its own.""",
        query(f"max(gateway_catalogue_drift) or {never}", "all"),
        query("max by (model, field) (gateway_catalogue_drift)", "{{model}} {{field}}"),
        texts={0: ("agree", GREEN), 1: ("differ", ORANGE), 2: ("not compared", GREY)},
    )


def _answering() -> Json:
    return timeline(
        "Replicas that answer",
        "Whether each replica answered its scrapes; a gap in a rolling restart is as it should be.",
        query('max by (instance) (up{job="gateway"})', "{{instance}}"),
        texts={0: ("away", RED), 1: ("up", GREEN)},
    )


def _leaders() -> Json:
    return timeline(
        "Who leads",
        "Which replica holds the controller's lease. It may move at any time; two at once would be a fault.",
        query("max by (instance) (gateway_leader)", "{{instance}}"),
        texts={0: ("follows", GREY), 1: ("leads", BLUE)},
    )


def _builds() -> Json:
    return stat(
        "Versions",
        "How many replicas run which version of the gateway, and on which Python.",
        query("count by (version, python) (gateway_build_info == 1)", "{{version}} on Python {{python}}"),
        names=True,
        decimals=0,
    )
