"""One request in five verbs: assigned anew when its arm is withdrawn, disclosed and booked in any case."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.types import LINE, MigrationState, Phase
from gateway.proxy.transport.wire import Exchange, Origin, Wire
from tests.support.plane import (
    O45,
    O46,
    ON_CANDIDATE,
    SPEC,
    Heard,
    Process,
    body,
    by_model,
    in_front_of,
    message,
)
from tests.support.scripted import answer, replying

FINE = replying(answer(message()))
FAILING = replying(answer(b"{}", status="529 X"))


class Overtaken(Wire):
    """A wire with whom the world changes between assignment and sending."""

    def __init__(self, url: str) -> None:
        super().__init__(Origin.parse(url), connect_timeout_s=1, first_byte_timeout_s=1)
        self.changes: list[MigrationState] = []
        self.obey: Callable[[MigrationState], None]

    async def send(self, *args: Any, **more: Any) -> Exchange:
        if self.changes:
            self.obey(self.changes.pop(0))
        return await super().send(*args, **more)


def overtake(process: Process, *changes: MigrationState) -> None:
    """Let the process learn of one change per request that it is about to send."""
    wire = process.plane.wire
    assert isinstance(wire, Overtaken)
    wire.changes, wire.obey = list(changes), process.obey


async def test_an_arm_that_is_killed_before_the_first_byte_is_not_sent_to() -> None:
    killed = replace(
        ON_CANDIDATE, phase=Phase.rolled_back, reason="emergency", epoch=2, version=2, weight=0, evicted_run=1
    )
    async with in_front_of(FINE, wire=Overtaken) as process:
        overtake(process, killed)
        heard = await process.post(body(), x_gateway_unit="u")
        assert heard.status == 200
        assert process.asked == [O45]
        assert process.plane.candidate_sent_at == {}
        assert (heard.headers["x-gateway-arm"], heard.headers["x-gateway-reason"]) == (
            "control",
            "killed",
        )
        assert process.outcomes() == {"control control ok": 1}
        assert process.labelled("assignments_total", "reason") == {"killed": 1}


async def test_a_drain_lets_what_was_assigned_go_on() -> None:
    drained = replace(
        ON_CANDIDATE, phase=Phase.rolled_back, reason="user", version=2, weight=0, draining=True
    )
    async with in_front_of(FINE, wire=Overtaken) as process:
        overtake(process, drained)
        assert (await process.post(body())).headers["x-gateway-arm"] == "candidate"


async def test_a_new_run_in_between_is_assigned_anew() -> None:
    restarted = replace(ON_CANDIDATE, run=2, version=2, weight=LINE)
    async with in_front_of(FINE, wire=Overtaken) as process:
        overtake(process, restarted)
        assert (await process.post(body())).headers["x-gateway-arm"] == "candidate"
        assert len(process.asked) == 1


async def test_a_migration_that_never_settles_is_an_error_and_not_a_loop() -> None:
    runs = [replace(ON_CANDIDATE, run=run, version=run) for run in range(2, 9)]
    async with in_front_of(FINE, wire=Overtaken) as process:
        overtake(process, *runs)
        heard = await process.post(body())
        assert (heard.status, heard.json["error"]["type"]) == (500, "api_error")
        assert "kept changing" in heard.json["error"]["message"]
        assert process.upstream.requests == []


# --- what is disclosed --------------------------------------------------------------------------------------


def disclosed(heard: Heard) -> dict[str, str]:
    ours = {name: value for name, value in heard.headers.items() if name.startswith("x-gateway-")}
    assert ours.pop("x-gateway-request-id").startswith("gw_")
    return {name.removeprefix("x-gateway-"): value for name, value in ours.items()}


async def test_a_rescue_is_disclosed() -> None:
    async with in_front_of(by_model({O46: FAILING, O45: FINE})) as process:
        assert disclosed(await process.post(body(), x_gateway_unit="u")) == {
            "migration": "m",
            "arm": "candidate",
            "reason": "bucket",
            "served-model": O45,
            "rewrites": "",
            "fallback": "overloaded",
        }


async def test_rewrites_are_disclosed_with_their_class() -> None:
    async with in_front_of(FINE, spec=replace(SPEC, candidate="claude-opus-5-5")) as process:
        listed = disclosed(await process.post(body(temperature=0.2)))["rewrites"]
        assert {each.split("=")[0] for each in listed.split(",")} >= {"sampling", "thinking"}
        assert {each.split("=")[1] for each in listed.split(",")} <= {"L", "E", "P", "X"}


async def test_where_nobody_answered_the_assignment_is_disclosed_and_no_server() -> None:
    async with in_front_of(FINE) as process:
        process.upstream.close()
        heard = await process.post(body(), x_gateway_unit="u")
        assert heard.status == 502
        assert disclosed(heard) == {
            "migration": "m",
            "arm": "candidate",
            "reason": "bucket",
            "fallback": "connect",
        }


# --- what is booked -----------------------------------------------------------------------------------------


class Faulty(Wire):
    """A wire with a mistake in it."""

    def __init__(self, url: str) -> None:
        super().__init__(Origin.parse(url), connect_timeout_s=1, first_byte_timeout_s=1)

    async def send(self, *args: Any, **more: Any) -> Exchange:
        raise ZeroDivisionError


async def test_a_mistake_of_our_own_is_booked_once_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with in_front_of(FINE, wire=Faulty) as process:
        heard = await process.post(body())
        assert heard.status == 500
        assert process.outcomes() == {"candidate candidate upstream_error": 1}
        assert "gateway_in_flight" not in process.metrics()
    assert [record.exc_info is not None for record in caplog.records if record.levelno == logging.ERROR] == [
        True
    ]


async def test_requests_side_by_side_do_not_mix() -> None:
    async with in_front_of(by_model({O46: FAILING, O45: FINE})) as process:
        callers = [process.call(body(text=f"q{n}"), headers={"x-gateway-unit": f"u{n}"}) for n in range(20)]
        answers = [await caller.answer() for caller in callers]
        assert {heard.status for heard in answers} == {200}
        assert len({heard.headers["x-gateway-request-id"] for heard in answers}) == 20
        assert process.outcomes() == {"candidate control ok": 20}
