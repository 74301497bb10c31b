"""Of the gates only what is written changes; null switches one off."""

from pathlib import Path
from typing import Any

import pytest

from gateway.config.gates import GatesDocument, to_gates
from gateway.config.shapes import validated
from gateway.core.gates.verdict import BREAKERS, FAILURES, MEANS
from gateway.core.spec import BreakerRule, Gates
from gateway.errors import ConfigError


def gates_of(**content: Any) -> Gates:
    return to_gates(validated(GatesDocument, content, Path("m.yaml")))


def test_of_a_gate_only_what_is_written_changes() -> None:
    gates = gates_of(
        breaker={"error_rate": {"max": 0.2}, "latency_p95_s": {"window": "1m", "min_units": 3}},
        rollback={"refusal": {"max_ratio": 3}, "alpha": 0.01},
        fresh="30s",
        no_traffic="1h",
    )
    default = Gates()
    assert gates.breaker["error_rate"] == BreakerRule(0.2, 300, 20, 5)
    assert gates.breaker["latency_p95_s"] == BreakerRule(60, 60, 20, 3)
    assert gates.breaker["cost_ratio"] == default.breaker["cost_ratio"]
    assert gates.rollback == {**default.rollback, "refusal": 3}
    assert (gates.alpha, gates.fresh_s, gates.no_traffic_s) == (0.01, 30, 3600)
    assert gates.hold == default.hold


def test_nothing_said_is_every_default() -> None:
    assert gates_of() == Gates()


def test_every_gate_that_is_judged_by_a_limit_can_be_set_and_switched_off() -> None:
    off = {
        "breaker": dict.fromkeys(BREAKERS),
        "rollback": dict.fromkeys(FAILURES),
        "hold": dict.fromkeys(MEANS),
    }
    gates = gates_of(**off)
    assert (gates.breaker, gates.rollback, gates.hold) == ({}, {}, {})


def test_the_defaults_name_every_gate_that_has_a_limit() -> None:
    default = Gates()
    assert set(default.breaker) == set(BREAKERS)
    assert set(default.rollback) == set(FAILURES)
    assert set(default.hold) == set(MEANS)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"fresh": "1s"}, "fresh"),
        ({"no_traffic": "5s"}, "no_traffic"),
        ({"fresh": 15}, "fresh"),
        ({"rollback": {"incomplete": {"max_ratio": 0}}}, "rollback.incomplete.max_ratio"),
        ({"frehs": "15s"}, "frehs"),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(content: dict[str, Any], where: str) -> None:
    with pytest.raises(ConfigError, match=f"^m.yaml: {where}: "):
        gates_of(**content)
