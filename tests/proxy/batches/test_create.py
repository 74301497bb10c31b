"""A new batch on its way: what goes out, what is said and counted, and what happens where it is not taken."""

import asyncio
import gzip
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.gates.window import Window
from gateway.core.spec import CompatPolicy, Lists
from gateway.core.types import LINE, MigrationState, Phase
from gateway.proxy.call import Limits
from gateway.proxy.transport.wire import Exchange, Origin, Wire
from tests.support.batches import BATCHES, batch_of, create, item, items_sent, told
from tests.support.eventually import eventually
from tests.support.plane import (
    O45,
    O46,
    ON_CANDIDATE,
    ON_CONTROL,
    SPEC,
    body,
    error,
    in_front_of,
    ours,
)
from tests.support.scripted import Request, answer, replying, silent

TAKEN = replying(answer(told()))
TWENTY = replace(ON_CANDIDATE, weight=20_000)
# Run 1 of `m` puts alice at 3440, bob at 37642, user-42 at 70352: candidate, unenrolled, matched control.
ALICE, BOB, USER_42 = "alice", "bob", "user-42"
PREFILL = [{"role": "user", "content": "json"}, {"role": "assistant", "content": "{"}]


def models(process: Any, number: int = -1) -> dict[str, str]:
    return {name: params["model"] for name, params in items_sent(process, number).items()}


# --- what goes out ------------------------------------------------------------------------------------------


async def test_every_item_goes_to_the_arm_of_its_own_unit_in_one_batch() -> None:
    async with in_front_of(TAKEN, TWENTY) as process:
        sent = batch_of(item("a", ALICE), item("b", BOB), item("c", USER_42), item("d", ALICE, "claude-x"))
        heard = await create(process, sent)
        assert (heard.status, heard.body) == (200, told())
        assert models(process) == {"a": O46, "b": O45, "c": O45, "d": "claude-x"}
        assert len(process.upstream.requests) == 1
        assert process.labelled("batch_items_total", "arm", "result") == {
            "candidate assigned": 1,
            "control assigned": 2,
        }


async def test_a_name_in_the_headers_is_the_name_of_every_item() -> None:
    async with in_front_of(TAKEN, TWENTY) as process:
        await create(process, batch_of(item("a", BOB), item("b", USER_42)), x_gateway_unit=ALICE)
        assert set(models(process).values()) == {O46}


async def test_what_no_migration_governs_passes_byte_for_byte_beside_what_one_does() -> None:
    foreign = b'{ "custom_id": "x", "params": {"model":"claude-x", "n": 1.00} }'
    odd = b'{"custom_id": 5,  "params": []}'
    async with in_front_of(TAKEN) as process:
        mine = json.dumps(item("a")).encode()
        await create(process, b'{"requests": [%b , %b,%b]}' % (foreign, mine, odd))
        arrived = process.upstream.requests[0].body
        assert foreign in arrived
        assert odd in arrived
        assert json.loads(arrived)["requests"][1]["params"]["model"] == O46


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_batch_of_which_nothing_is_changed_is_the_same_bytes(compressed: bool) -> None:
    async with in_front_of(TAKEN, ON_CONTROL) as process:
        sent = (
            b' {"requests" : [%b, {"custom_id":"x", "params": {"model": "claude-x"}}] }'
            % json.dumps(item("a")).encode()
        )
        sent = gzip.compress(sent) if compressed else sent
        headers = {"content_encoding": "gzip"} if compressed else {}
        heard = await create(process, sent, **headers)
        request = process.upstream.requests[0]
        assert request.body == sent
        assert dict(request.headers).get(b"content-encoding") == (b"gzip" if compressed else None)
        assert ours(heard)["batch-items"] == "m:control=1"
        assert "results" not in ours(heard)


async def test_a_compressed_batch_goes_on_in_clear_where_it_is_changed() -> None:
    async with in_front_of(TAKEN) as process:
        await create(process, gzip.compress(batch_of(item("a"))), content_encoding="gzip")
        assert models(process) == {"a": O46}
        assert b"content-encoding" not in dict(process.upstream.requests[0].headers)


@pytest.mark.parametrize(
    "sent",
    [
        b"{",
        b"[]",
        b'{"requests": 5}',
        b'{"requests":[{]}',
        b"\xff",
        batch_of(),
        batch_of(item("x", "", "claude-x")),
    ],
)
async def test_what_is_no_batch_or_none_of_ours_is_the_upstreams_to_judge(sent: bytes) -> None:
    rejected = replying(answer(error("invalid_request_error"), status="400 X"))
    async with in_front_of(rejected) as process:
        heard = await create(process, sent)
        assert (heard.status, heard.body) == (400, error("invalid_request_error"))
        assert [request.body for request in process.upstream.requests] == [sent]
        assert ours(heard).keys() == {"request-id", "reason"}
        assert process.labelled("passthrough_total", "outcome") == {"client_error": 1}


async def test_without_any_migration_a_batch_is_not_even_read() -> None:
    async with in_front_of(TAKEN, limits=Limits(batch_bytes=10)) as process:
        process.plane.table = replace(process.plane.table, by_model={})
        assert (await create(process, batch_of(item("a")))).status == 200
        assert process.upstream.requests[0].body == batch_of(item("a"))


async def test_a_large_batch_goes_out_in_pieces_with_its_length_known() -> None:
    big = "x" * 90_000
    sent = [item(f"i{n}", ALICE if n % 2 else BOB, system=big) for n in range(40)]
    async with in_front_of(TAKEN, TWENTY) as process:
        await create(process, batch_of(*sent))
        request = process.upstream.requests[0]
        assert int(dict(request.headers)[b"content-length"]) == len(request.body) > 3_000_000
        assert list(models(process).values()) == [O45, O46] * 20


async def test_a_batch_above_its_own_limit_is_refused_and_one_above_that_of_messages_is_not() -> None:
    async with in_front_of(TAKEN, limits=Limits(body_bytes=10, batch_bytes=2000)) as process:
        assert (await create(process, batch_of(item("a")))).status == 200
        heard = await create(process, batch_of(item("a", system="x" * 2000)))
        assert (heard.status, heard.json["error"]["type"]) == (413, "request_too_large")
        squeezed = gzip.compress(batch_of(item("a", system="x" * 2000)))
        assert (await create(process, squeezed, content_encoding="gzip")).status == 413
        assert len(process.upstream.requests) == 1


# --- what is said and written down --------------------------------------------------------------------------


async def test_what_was_done_to_any_item_is_disclosed_and_counted() -> None:
    async with in_front_of(TAKEN) as process:
        sent = batch_of(item("a", messages=PREFILL), item("b", messages=PREFILL), item("c"))
        heard = await create(process, sent, x_gateway_unit=ALICE)
        said = ours(heard)
        said.pop("request-id")
        assert said == {
            "migration": "m",
            "batch-items": "m:candidate=3",
            "rewrites": "prefill=E",
            "results": "kept",
        }
        assert process.labelled("rewrites_total", "rule", "class") == {"prefill E": 2}


async def test_an_item_pins_its_conversation_and_enrols_nobody() -> None:
    async with in_front_of(TAKEN, TWENTY) as process:
        await create(process, batch_of(item("a", ALICE)))
        await eventually(lambda: not process.plane.ledger.queued)
        data = process.store.server.data
        assert [pin.arm for pin, _ in data.pins.values()] == ["candidate"]
        assert data.records == {}
        process.obey(replace(ON_CONTROL, version=9))
        turns = [
            {"role": "user", "content": "hello from a"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "and?"},
        ]
        heard = await process.post(body(messages=turns, metadata={"user_id": ALICE}))
        assert (ours(heard)["arm"], ours(heard)["reason"]) == ("candidate", "pinned")


async def test_a_batch_enters_no_gate_and_is_no_request() -> None:
    async with in_front_of(TAKEN) as process:
        await create(process, batch_of(item("a"), item("b")), x_gateway_unit=ALICE)
        assert process.outcomes() == {}
        assert process.labelled("passthrough_total", "outcome") == {}
        assert process.labelled("assignments_total", "reason") == {}
        assert process.labelled("request_duration_seconds_count", "arm") == {}
        totals = process.plane.counts["m"].window.totals(process.clock.now(), 3600)
        assert totals == Window().totals(process.clock.now(), 3600)


async def test_neither_prompts_nor_names_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "gateway")
    async with in_front_of(TAKEN) as process:
        await create(process, batch_of(item("secret-name", ALICE, system="secret words")))
    (line,) = [record for record in caplog.records if record.message == "batch"]
    assert (line.__dict__["outcome"], line.__dict__["candidate"]) == ("ok", 1)
    assert "secret" not in repr([record.__dict__ for record in caplog.records])
    assert ALICE not in repr([record.__dict__ for record in caplog.records])


# --- what a candidate cannot serve --------------------------------------------------------------------------


async def test_what_the_candidate_cannot_serve_stays_on_control_and_is_counted() -> None:
    spec = replace(SPEC, compat=CompatPolicy(prefill="control"))
    async with in_front_of(TAKEN, spec=spec) as process:
        heard = await create(process, batch_of(item("a", messages=PREFILL), item("b")), x_gateway_unit=ALICE)
        assert models(process) == {"a": O45, "b": O46}
        assert ours(heard)["rewrites"] == "prefill=X"
        assert process.labelled("unservable_total", "rule") == {"prefill": 1}


async def test_policy_may_refuse_the_batch_naming_the_item() -> None:
    spec = replace(SPEC, compat=CompatPolicy(prefill="reject"))
    async with in_front_of(TAKEN, spec=spec) as process:
        heard = await create(process, batch_of(item("b"), item("my-item", messages=PREFILL)))
        assert (heard.status, heard.json["error"]["type"]) == (400, "invalid_request_error")
        assert heard.json["error"]["message"].startswith("my-item: the last turn begins the answer")
        assert process.upstream.requests == []


async def test_a_denied_user_s_item_stays_on_control() -> None:
    spec = replace(SPEC, lists=Lists(deny_users=(BOB,)))
    async with in_front_of(TAKEN, spec=spec) as process:
        await create(process, batch_of(item("a", ALICE), item("b", BOB)))
        assert models(process) == {"a": O46, "b": O45}


# --- where it is not taken ----------------------------------------------------------------------------------


def choosy(status: str) -> Any:
    """Return an upstream that takes no batch in which the candidate is named."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        taken = O46.encode() not in request.body
        body = told() if taken else error("invalid_request_error")
        writer.write(answer(body, status="200 OK" if taken else status))

    return script


@pytest.mark.parametrize("status", ["400 X", "403 X", "404 X", "413 X", "422 X"])
async def test_a_batch_that_is_not_taken_goes_out_once_more_as_control_s(status: str) -> None:
    async with in_front_of(choosy(status), TWENTY) as process:
        sent = batch_of(item("a", ALICE, "claude-opus-4-5", messages=PREFILL), item("b", BOB))
        heard = await create(process, sent)
        assert heard.status == 200
        assert [models(process, n) for n in (0, 1)] == [{"a": O46, "b": O45}, {"a": O45, "b": O45}]
        assert items_sent(process)["a"]["messages"] == PREFILL
        cause = "not_found" if status == "404 X" else "rejected_by_model"
        assert (ours(heard)["fallback"], ours(heard)["batch-items"]) == (cause, "m:control=2")
        assert process.labelled("fallbacks_total", "cause") == {cause: 1}
        assert process.labelled("batch_items_total", "arm", "result") == {"control assigned": 2}


@pytest.mark.parametrize("status", ["429 X", "500 X", "529 X", "401 X"])
async def test_any_other_failure_is_relayed_for_there_may_be_a_batch_all_the_same(status: str) -> None:
    async with in_front_of(choosy(status)) as process:
        heard = await create(process, batch_of(item("a")), x_gateway_unit=ALICE)
        assert heard.status == int(status[:3])
        assert len(process.upstream.requests) == 1
        assert process.labelled("batch_items_total", "arm", "result") == {}


@pytest.mark.parametrize("state", [ON_CONTROL, ON_CANDIDATE])
async def test_a_rejection_that_control_s_items_meet_too_is_the_caller_s(state: MigrationState) -> None:
    rejected = replying(answer(error("invalid_request_error"), status="400 X"))
    async with in_front_of(rejected, state) as process:
        heard = await create(process, batch_of(item("a", "", "claude-opus-4-5")), x_gateway_unit=ALICE)
        assert (heard.status, heard.body) == (400, error("invalid_request_error"))
        assert len(process.upstream.requests) == (1 if state is ON_CONTROL else 2)


async def test_an_upstream_that_cannot_be_reached_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with in_front_of(TAKEN) as process:
        process.upstream.close()
        process.plane.wire.close()
        heard = await create(process, batch_of(item("a")), x_gateway_unit=ALICE)
        assert heard.status == 502
        assert process.plane.in_flight == 0


async def test_a_client_that_leaves_takes_the_batch_with_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")
    async with in_front_of(silent) as process:
        caller = process.call(batch_of(item("a")), path=BATCHES)
        await eventually(lambda: process.upstream.requests)
        caller.hang_up()
        await caller.answer()
        await asyncio.wait_for(process.upstream.requests[0].left.wait(), 5)
        assert process.plane.in_flight == 0
    assert [each.__dict__["outcome"] for each in caplog.records if each.message == "batch"] == [
        "disconnected"
    ]


class _Withdrawing(Wire):
    """Takes the candidate back right before the first byte goes out."""

    process: Any = None
    times = 1

    async def send(self, *args: Any, **options: Any) -> Exchange:
        if self.times:
            self.times -= 1
            state = self.process.plane.table.by_name["m"].state
            gone = replace(
                ON_CANDIDATE, phase=Phase.rolled_back, reason="user", version=state.version + 1, evicted_run=1
            )
            again = replace(ON_CANDIDATE, version=state.version + 1, run=state.run + 1, weight=LINE)
            self.process.obey(again if self.times else gone)
        return await super().send(*args, **options)


@pytest.mark.parametrize(("times", "status"), [(1, 200), (9, 500)])
async def test_a_candidate_that_is_taken_back_meanwhile_gets_no_item(times: int, status: int) -> None:
    wires: list[_Withdrawing] = []

    def wire(url: str) -> Wire:
        wires.append(_Withdrawing(Origin.parse(url), connect_timeout_s=2, first_byte_timeout_s=5))
        return wires[0]

    async with in_front_of(TAKEN, wire=wire) as process:
        wires[0].process, wires[0].times = process, times
        heard = await create(process, batch_of(item("a")), x_gateway_unit=ALICE)
        assert heard.status == status
        assert [models(process, n) for n in range(len(process.upstream.requests))] == (
            [{"a": O45}] if status == 200 else []
        )
