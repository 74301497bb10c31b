"""Where one request is booked: once, to the arm that it was assigned to."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.booking import Booking
from gateway.core.counts import Counts
from gateway.core.spec import CompatPolicy, Lists
from gateway.core.types import LINE, Arm, MigrationState, Outcome, Phase
from gateway.errors import BadRequest, ConnectFailed, UpstreamTimeout
from gateway.proxy.account import outcome_of_error
from tests.support.plane import (
    END,
    O45,
    O46,
    ON_CANDIDATE,
    ON_CONTROL,
    SPEC,
    START,
    TEXT,
    Process,
    body,
    by_model,
    in_front_of,
    message,
    streaming,
)
from tests.support.scripted import Script, answer, replying

FINE = replying(answer(message()))
FAILING = replying(answer(b"{}", status="529 X"))
USAGE = {
    "input_tokens": 1000,
    "output_tokens": 500,
    "cache_read_input_tokens": 2000,
    "cache_creation_input_tokens": 300,
    "output_tokens_details": {"thinking_tokens": 100},
}


def requests_booked(process: Process, arm: Arm) -> int:
    return process.plane.counts["m"].window.totals(process.clock.now(), 60)[arm].requests


async def test_one_answer_is_one_line_in_every_series() -> None:
    async with in_front_of(replying(answer(message(usage=USAGE)))) as process:
        await process.post(body(), x_gateway_unit="u")
        assert process.outcomes() == {"candidate candidate ok": 1}
        assert process.labelled("assignments_total", "migration", "reason") == {"m bucket": 1}
        assert process.labelled("tokens_total", "arm", "served", "kind") == {
            "candidate candidate input": 1000,
            "candidate candidate output": 500,
            "candidate candidate cache_read": 2000,
            "candidate candidate cache_write": 300,
            "candidate candidate thinking": 100,
        }
        for name in ("request_duration_seconds", "time_to_first_token_seconds", "overhead_seconds"):
            assert process.labelled(f"{name}_count", "migration", "arm") == {"m candidate": 1}
        # Opus 4.6: 5 in, 25 out, 6.25 to write, 0.50 to read per million.
        cost = (1000 * 5 + 500 * 25 + 300 * 6.25 + 2000 * 0.5) / 1e6
        assert process.labelled("cost_usd_total", "arm", "served") == {
            "candidate candidate": pytest.approx(cost)
        }


async def test_a_stream_uses_what_its_events_say() -> None:
    async with in_front_of(streaming(START, TEXT, END), ON_CONTROL) as process:
        await process.post(body(stream=True))
        assert process.labelled("tokens_total", "served", "kind") == {
            "control input": 10,
            "control output": 5,
        }


async def test_a_rescue_is_booked_to_the_candidate_and_paid_at_controls_prices() -> None:
    dear = replace(SPEC, control="claude-opus-4-5-20251101", candidate="claude-haiku-5-5")
    answers = by_model({"claude-haiku-5-5": FAILING, O45: replying(answer(message(usage=USAGE)))})
    async with in_front_of(answers, spec=dear) as process:
        await process.post(body())
        assert process.outcomes() == {"candidate control ok": 1}
        assert process.labelled("cost_usd_total", "arm", "served") == {
            "candidate control": pytest.approx((1000 * 5 + 500 * 25 + 300 * 6.25 + 2000 * 0.5) / 1e6)
        }


async def test_a_rescue_counts_the_candidates_time_as_waiting_and_not_as_the_gateways() -> None:
    async with in_front_of(by_model({O46: FAILING, O45: FINE})) as process:
        send = process.plane.wire.send

        async def slow(*args: Any, **more: Any) -> Any:
            process.clock.advance(3)
            return await send(*args, **more)

        process.plane.wire.send = slow  # type: ignore[method-assign]
        await process.post(body())
        assert process.labelled("overhead_seconds_sum", "arm") == {}
        assert process.labelled("request_duration_seconds_sum", "arm") == {"candidate": 6}


async def test_what_was_rewritten_is_counted_by_rule() -> None:
    async with in_front_of(FINE, spec=replace(SPEC, candidate="claude-opus-5-5")) as process:
        heard = await process.post(body(temperature=0.2))
        named = heard.headers["x-gateway-rewrites"].split(",")
        assert any(each.startswith("sampling=") for each in named)
        counted = process.labelled("rewrites_total", "rule", "class")
        assert counted == {each.replace("=", " "): 1 for each in named}


async def test_what_the_candidate_cannot_serve_is_counted_by_rule_and_tells_how_control_is() -> None:
    tool = {"name": "t", "input_schema": {"type": "object"}}
    strict = replace(SPEC, candidate="claude-opus-5-5", compat=CompatPolicy(forced_tool="control"))
    async with in_front_of(FINE, spec=strict) as process:
        heard = await process.post(body(tools=[tool], tool_choice={"type": "tool", "name": "t"}))
        assert heard.headers["x-gateway-reason"] == "unservable"
        assert heard.headers["x-gateway-rewrites"] == "forced_tool=X"
        assert process.labelled("unservable_total", "rule") == {"forced_tool": 1}
        assert process.outcomes() == {"control control ok": 1}
        assert requests_booked(process, Arm.control) == 1


@pytest.mark.parametrize(
    ("lists", "headers", "reason", "arm", "decides"),
    [
        (Lists(), {"x_gateway_unit": "u"}, "bucket", Arm.candidate, True),
        (Lists(allow_users=("u",)), {"x_gateway_unit": "u"}, "allowed_user", Arm.candidate, True),
        (Lists(allow_tasks=("t",)), {"x_gateway_task": "t"}, "allowed_task", Arm.candidate, True),
        (Lists(deny_users=("u",)), {"x_gateway_unit": "u"}, "denied", Arm.control, True),
        (Lists(), {"x_gateway_force_arm": "candidate"}, "forced", Arm.candidate, False),
    ],
)
async def test_who_enters_the_breakers_window(
    lists: Lists, headers: dict[str, str], reason: str, arm: Arm, decides: bool
) -> None:
    listed = replace(SPEC, lists=lists)
    async with in_front_of(FINE, spec=listed, is_operator=lambda token: True) as process:
        heard = await process.post(body(), **headers)
        assert heard.headers["x-gateway-reason"] == reason
        assert requests_booked(process, arm) == decides
        assert sum(process.outcomes().values()) == 1


@pytest.mark.parametrize(("max_tokens", "outcome"), [(0, "ok"), (1, "empty")])
async def test_warming_the_cache_asks_for_no_content(max_tokens: int, outcome: str) -> None:
    async with in_front_of(replying(answer(message("")))) as process:
        await process.post(body(max_tokens=max_tokens))
        assert process.outcomes() == {f"candidate candidate {outcome}": 1}


async def test_a_request_is_booked_to_the_run_in_which_it_began() -> None:
    async with in_front_of(FINE) as process:
        process.plane.counts["m"].window.run = 2
        await process.post(body())
        assert requests_booked(process, Arm.candidate) == 0


# --- what is measured ---------------------------------------------------------------------------------------


class Booked(Counts):
    """Counts that keep what they were given."""

    def __init__(self) -> None:
        super().__init__()
        self.bookings: list[Booking] = []

    def ended(self, booking: Booking, now: float) -> None:
        self.bookings.append(booking)


async def booking_of(
    script: Script, content: bytes, state: MigrationState = ON_CANDIDATE, **options: Any
) -> Booking:
    """Return what one request of the unit `u` for the task `t` was booked as."""
    counts = Booked()
    async with in_front_of(script, state, counts={"m": counts}, **options) as process:
        await process.post(content, x_gateway_unit="u", x_gateway_task="t")
        (booking,) = counts.bookings
        assert booking.place.unit_key == process.plane.ledger.key("u")
    return booking


async def test_a_request_is_booked_with_where_it_belongs_and_what_it_took() -> None:
    state = replace(ON_CANDIDATE, run=3, entry=7)
    booking = await booking_of(replying(answer(message(usage=USAGE))), body(), state)
    place = booking.place
    assert (place.arm, place.run, place.entry, place.enrolled) == (Arm.candidate, 3, 7, True)
    assert (booking.task, booking.outcome, booking.fallback) == ("t", Outcome.ok, False)
    assert booking.request_id
    assert (booking.prompt_tokens, booking.output_tokens) == (3300, 500)
    assert booking.cost_microusd == round(1000 * 5 + 500 * 25 + 300 * 6.25 + 2000 * 0.5)
    assert booking.first_token_s is None, "it was not streamed"


async def test_who_is_not_enrolled_is_booked_as_such() -> None:
    listed = replace(SPEC, lists=Lists(allow_users=("u",)))
    assert not (await booking_of(FINE, body(), spec=listed)).place.enrolled


async def test_of_a_stream_the_first_byte_is_timed() -> None:
    booking = await booking_of(streaming(START, TEXT, END), body(stream=True))
    assert booking.first_token_s == 0
    assert (booking.prompt_tokens, booking.output_tokens) == (10, 5)


@pytest.mark.parametrize(
    "script", [streaming(START, TEXT, cut=True), replying(answer(message(usage={}))), replying(answer(b"{}"))]
)
async def test_an_answer_that_does_not_say_all_that_it_used_is_not_measured(script: Script) -> None:
    booking = await booking_of(script, body(stream=True))
    assert (booking.prompt_tokens, booking.output_tokens, booking.cost_microusd) == (None, None, None)


@pytest.mark.parametrize(("slow_after_s", "slow"), [(0.0, None), (2.9, True), (3.0, False)])
async def test_slow_is_what_takes_longer_than_control_used_to(slow_after_s: float, slow: bool | None) -> None:
    counts = Booked()
    state = replace(ON_CANDIDATE, slow_after_s=slow_after_s)
    async with in_front_of(FINE, state, counts={"m": counts}) as process:
        send = process.plane.wire.send

        async def three_seconds(*args: Any, **more: Any) -> Any:
            process.clock.advance(3)
            return await send(*args, **more)

        process.plane.wire.send = three_seconds  # type: ignore[method-assign]
        await process.post(body())
    assert [(booking.duration_s, booking.slow) for booking in counts.bookings] == [(3, slow)]


async def test_a_rescue_is_booked_to_the_candidate_at_what_control_costs() -> None:
    booking = await booking_of(by_model({O46: FAILING, O45: replying(answer(message(usage=USAGE)))}), body())
    assert (booking.place.arm, booking.outcome, booking.fallback) == (Arm.candidate, Outcome.ok, True)
    assert booking.cost_microusd == round(1000 * 5 + 500 * 25 + 300 * 6.25 + 2000 * 0.5)


async def test_an_answer_that_nobody_was_given_is_paid_for_too() -> None:
    tool = {"name": "t", "input_schema": {"type": "object"}}
    strict = replace(SPEC, candidate="claude-opus-5-5")
    said = replying(answer(message(usage=USAGE)))
    counts = Booked()
    async with in_front_of(said, spec=strict, counts={"m": counts}) as process:
        await process.post(body(tools=[tool], tool_choice={"type": "tool", "name": "t"}))
        asked = process.asked
        paid = sum(process.labelled("cost_usd_total", "arm").values())
    (booking,) = counts.bookings
    assert len(asked) == 3, "twice the candidate, which calls no tool, and then control"
    assert booking.cost_microusd == pytest.approx(paid * 1e6, abs=2)


async def test_when_a_request_was_last_sent_to_the_candidate_is_remembered() -> None:
    async with in_front_of(by_model({O46: FAILING, O45: FINE})) as process:
        assert process.plane.candidate_sent_at == {}
        await process.post(body())
        sent_at = process.clock.now()
        process.clock.advance(10)
        process.obey(replace(ON_CONTROL, version=2))
        await process.post(body())
        assert process.plane.candidate_sent_at == {"m": sent_at}


async def test_one_line_of_log_names_everything_but_what_was_said_and_by_whom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gateway.requests")
    async with in_front_of(by_model({O46: FAILING, O45: FINE})) as process:
        await process.post(body(text="secret words"), x_gateway_unit="alice", x_api_key="sk-secret")
    (record,) = caplog.records
    line = {key: value for key, value in vars(record).items() if key in LOGGED}
    assert line.pop("duration_ms") >= 0
    assert line == {
        "migration": "m",
        "outcome": "ok",
        "arm": "candidate",
        "reason": "bucket",
        "unit_kind": "header",
        "served": "control",
        "status": 200,
        "model": O45,
        "fallback": "overloaded",
        "stop_reason": "end_turn",
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_microusd": 175,
    }
    said = json.dumps({key: str(value) for key, value in vars(record).items()})
    assert not [word for word in ("secret", "alice") if word in said]


LOGGED = frozenset({
    "migration", "outcome", "duration_ms", "arm", "reason", "unit_kind", "rewrites", "served", "status",
    "model", "fallback", "stop_reason", "input_tokens", "output_tokens", "cost_microusd",
})  # fmt: skip


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.upstream_error),
        (ConnectFailed(""), Outcome.upstream_error),
        (UpstreamTimeout(""), Outcome.timeout),
        (BadRequest(""), Outcome.client_error),
    ],
)
def test_an_error_of_the_gateways_is_an_outcome(error: Any, outcome: Outcome) -> None:
    assert outcome_of_error(error) is outcome


async def test_a_phase_that_compares_nothing_still_counts() -> None:
    draft = replace(ON_CANDIDATE, phase=Phase.draft, weight=LINE)
    async with in_front_of(FINE, draft) as process:
        await process.post(body())
        assert process.outcomes() == {"control control ok": 1}
        assert process.labelled("assignments_total", "reason") == {"not_running": 1}
