"""What an upstream tells of batches: where results are, and the results, put back line by line."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.compat.answer.plan import PLAIN, AnswerPlan
from gateway.compat.batch import Group, Register
from gateway.proxy.batches.told import LINE_BYTES, Results
from tests.support.batches import BATCH_ID, BATCHES, batch_of, create, item, result, text_of, told
from tests.support.eventually import eventually
from tests.support.plane import ON_CANDIDATE, Heard, Process, error, in_front_of, ours, send_chunks
from tests.support.scripted import Request, answer, replying

RESULTS = f"{BATCHES}/{BATCH_ID}/results"
UPSTREAM_URL = f"https://api.example.com{RESULTS}"
PREFILL = [{"role": "user", "content": "json"}, {"role": "assistant", "content": "{"}]
LINES = [result("a", '{"n": 1}'), result("b", '{"n": 2}'), result("c", kind="errored"), result("x", "{")]


# --- where results are --------------------------------------------------------------------------------------


async def ask(process: Process, method: str, path: str, **headers: str) -> Heard:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await process.call(method=method, path=path, headers=named).answer()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{BATCHES}/{BATCH_ID}"),
        ("POST", f"{BATCHES}/{BATCH_ID}/cancel"),
        ("GET", f"{BATCHES}?limit=2"),
    ],
)
async def test_results_are_told_at_the_address_that_the_client_uses(method: str, path: str) -> None:
    single = told(results_url=UPSTREAM_URL)
    listed = b'{"data":[%b],"has_more":false}' % single
    body = listed if "limit" in path else single
    async with in_front_of(replying(answer(body))) as process:
        heard = await ask(process, method, path, host="gateway.example:8080")
        shown = heard.json["data"][0] if "limit" in path else heard.json
        assert shown["results_url"] == f"http://gateway.example:8080{RESULTS}"
        assert {**shown, "results_url": UPSTREAM_URL} == json.loads(single)
        assert heard.headers["content-length"] == str(len(heard.body))
        assert dict(process.upstream.requests[0].headers)[b"accept-encoding"] == b"identity"


@pytest.mark.parametrize("host", ["", "evil.example/path", "a b", 'x"', "[::1", "user@host", "host:port"])
async def test_a_host_that_is_none_is_told_to_nobody(host: str) -> None:
    async with in_front_of(replying(answer(told(results_url=UPSTREAM_URL)))) as process:
        heard = await ask(process, "GET", f"{BATCHES}/{BATCH_ID}", host=host)
        assert heard.json["results_url"] == UPSTREAM_URL


async def test_the_configured_address_goes_before_the_client_s_word() -> None:
    script = replying(answer(told(results_url=UPSTREAM_URL)))
    async with in_front_of(script, public_url="https://llm.example/gateway") as process:
        heard = await ask(process, "GET", f"{BATCHES}/{BATCH_ID}", host="evil.example")
        assert heard.json["results_url"] == f"https://llm.example/gateway{RESULTS}"


@pytest.mark.parametrize("host", ["[::1]:8080", "localhost", "a-b.example"])
async def test_the_scheme_is_the_one_that_the_server_knows(host: str) -> None:
    async with in_front_of(replying(answer(told(results_url=UPSTREAM_URL)))) as process:
        heard = await ask(process, "GET", f"{BATCHES}/{BATCH_ID}", host=host, x_forwarded_host="evil")
        assert heard.json["results_url"] == f"http://{host}{RESULTS}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"{BATCHES}/{BATCH_ID}"),
        ("GET", f"{BATCHES}/a/b"),
        ("GET", f"{BATCHES}x"),
        ("PUT", BATCHES),
    ],
)
async def test_other_answers_are_not_looked_into(method: str, path: str) -> None:
    body = told(results_url=UPSTREAM_URL)
    async with in_front_of(replying(answer(body))) as process:
        assert (await ask(process, method, path, host="gateway.example")).body == body
        assert b"accept-encoding" not in dict(process.upstream.requests[0].headers)


async def test_an_error_is_relayed_as_it_is() -> None:
    body = error("not_found_error")
    async with in_front_of(replying(answer(body, status="404 X"))) as process:
        heard = await ask(process, "GET", f"{BATCHES}/{BATCH_ID}")
        assert (heard.status, heard.body) == (404, body)
        heard = await ask(process, "GET", RESULTS)
        assert (heard.status, heard.body, "results" in ours(heard)) == (404, body, False)


# --- results ------------------------------------------------------------------------------------------------


def serving(pieces: Sequence[bytes], *, cut: bool = False, head: bytes = b"") -> Any:
    """Return an upstream that takes a batch and gives its results in these pieces."""

    async def script(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.line.startswith(b"POST"):
            writer.write(answer(told()))
            return
        writer.write(b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % head)
        await send_chunks(writer, pieces, cut=cut)

    return script


@asynccontextmanager
async def with_results(pieces: Sequence[bytes], **options: Any) -> AsyncIterator[Process]:
    """A process that has created the batch whose results these are."""
    async with in_front_of(serving(pieces, **options), ON_CANDIDATE) as process:
        items = [item(name, messages=PREFILL) for name in "abc"]
        made = await create(process, batch_of(*items, item("x", "", "claude-x")), x_gateway_unit="alice")
        assert ours(made)["results"] == "kept"
        yield process


WHOLE = b"\n".join(LINES) + b"\n"


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_every_line_is_put_back_by_the_plan_of_its_item_wherever_it_is_cut(size: int) -> None:
    pieces = [WHOLE[start : start + size] for start in range(0, len(WHOLE), size)]
    async with with_results(pieces) as process:
        heard = await ask(process, "GET", RESULTS)
        a, b, c, x = heard.body.splitlines()
        assert (text_of(a), text_of(b)) == ('"n": 1}', '"n": 2}')
        assert (c, x) == (LINES[2], LINES[3])
        assert heard.body.endswith(b"\n")
        assert (heard.status, ours(heard)["results"]) == (200, "restored")
        counted = process.labelled("batch_items_total", "arm", "result")
        assert counted == {"candidate assigned": 3, "candidate succeeded": 2, "candidate errored": 1}


async def test_a_last_line_without_its_end_is_a_line() -> None:
    async with with_results([LINES[0]]) as process:
        heard = await ask(process, "GET", RESULTS)
        assert text_of(heard.body) == '"n": 1}'
        assert not heard.body.endswith(b"\n")


async def test_results_that_are_cut_off_cut_the_client_s_off() -> None:
    async with with_results([LINES[0] + b"\n", LINES[1][:9]], cut=True) as process:
        heard = (caller := process.call(method="GET", path=RESULTS)).heard
        await caller.answer()
        assert text_of(heard.body) == '"n": 1}'
        assert not heard.complete


@pytest.mark.parametrize("lost", ["another batch", "store", "compressed"])
async def test_what_is_not_known_here_passes_as_it_is_and_is_said(lost: str) -> None:
    content = gzip.compress(WHOLE) if lost == "compressed" else WHOLE
    head = b"content-encoding: gzip\r\n" if lost == "compressed" else b""
    async with with_results([content], head=head) as process:
        path = RESULTS.replace(BATCH_ID, "msgbatch_2") if lost == "another batch" else RESULTS
        if lost == "store":
            process.store.server.lose()
            process.plane.notebook.renew(b"another fleet")
        heard = await ask(process, "GET", path)
        assert heard.body == content
        assert ours(heard).get("results") == (None if lost == "compressed" else "as_they_are")
        assert "succeeded" not in repr(process.labelled("batch_items_total", "result"))


async def test_a_client_that_left_right_after_its_batch_was_made_finds_its_results() -> None:
    async with in_front_of(serving([WHOLE])) as process:
        process.store.hang()
        caller = process.call(batch_of(item("a", messages=PREFILL)), path=BATCHES)
        await eventually(lambda: "batch-register" in process.plane.tasks.names)
        caller.hang_up()
        await caller.answer()
        assert not caller.heard.status
        process.store.resume()
        await process.plane.tasks.drain(5)
        heard = await ask(process, "GET", RESULTS)
        assert ours(heard)["results"] == "restored"
        assert text_of(heard.body.splitlines()[0]) == '"n": 1}'


# --- lines --------------------------------------------------------------------------------------------------

REGISTER = Register(
    [Group("m", "candidate", AnswerPlan(prefill="{", intent="json")), Group("m", "control", PLAIN)],
    {"a": 0, "b": 1},
)


def test_empty_lines_and_what_is_no_line_stay_where_they_are() -> None:
    out = Results(REGISTER)
    whole = b"\n\nno line\n" + LINES[1] + b"\n{}\n"
    assert b"".join(out.take(whole)) + out.rest() == whole
    assert out.counted == {("m", "control", "succeeded"): 1}


def test_a_line_beyond_every_limit_passes_in_pieces_and_the_next_is_a_line_again() -> None:
    out = Results(REGISTER)
    piece = b"x" * (LINE_BYTES // 2)
    held = [sum(map(len, out.take(piece))) for _ in range(4)]
    assert held == [0, 0, 3 * len(piece), len(piece)]
    last = b"".join(out.take(b"end\n" + LINES[0] + b"\n"))
    assert last.startswith(b"end\n")
    assert text_of(last[4:]) == '"n": 1}'
    assert out.rest() == b""
