"""The defaults of a migration are those of the public interface."""

from gateway.core.spec import UNIT_LADDER, BreakerRule, CompatPolicy, MigrationSpec, Stage

SPEC = MigrationSpec("m", "control-id", "candidate-id", ("control-id",), (Stage("full", 100),))


def test_the_unit_ladder_goes_from_the_header_to_the_api_key() -> None:
    assert SPEC.unit == UNIT_LADDER == ("header", "user", "session", "conversation", "api_key")


def test_the_breakers_are_those_of_the_interface() -> None:
    assert SPEC.gates.breaker == {
        "error_rate": BreakerRule(max=0.05, window_s=300, min_requests=20, min_units=5),
        "fallback_rate": BreakerRule(max=0.10, window_s=300, min_requests=20, min_units=5),
        "latency_p95_s": BreakerRule(max=60, window_s=600, min_requests=20),
        "quality_issues": BreakerRule(max=3, window_s=3600),
        "cost_ratio": BreakerRule(max=2.0, window_s=3600, min_requests=50),
    }


def test_the_ratios_are_those_of_the_interface() -> None:
    assert SPEC.gates.rollback == {
        "error": 1.25,
        "fallback": 1.25,
        "tool_error": 1.25,
        "refusal": 1.5,
        "incomplete": 1.25,
    }
    assert SPEC.gates.hold == {"ttft": 1.2, "slow_share": 1.25, "cost": 1.15, "output_tokens": 1.3}
    assert SPEC.gates.alpha == 0.05


def test_compat_keeps_meaning_and_hides_what_was_not_asked_for() -> None:
    assert SPEC.compat == CompatPolicy(
        prefill="emulate",
        forced_tool="emulate",
        unservable="control",
        effort="preserve",
        thinking="preserve",
        unasked_thinking="hide",
        model_field="served",
    )


def test_a_rollback_evicts_and_nobody_is_held_back_or_shadowed_unless_asked() -> None:
    assert (SPEC.on_rollback.mode, SPEC.on_rollback.notify) == ("evict", ())
    assert (SPEC.holdback.percent, SPEC.holdback.until) == (0.0, None)
    assert (SPEC.shadow.percent, SPEC.shadow.daily_budget_usd) == (0.0, 20.0)


def test_two_specs_share_no_mutable_default() -> None:
    other = MigrationSpec("n", "a", "b", ("a",), (Stage("full", 100),))
    assert other.gates.breaker is not SPEC.gates.breaker
