"""The load balancer's own file, on a real HAProxy: what passes, what does not, and who is asked."""

import asyncio
import re
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.errors import ConnectFailed
from gateway.proxy.transport.wire import Exchange, Headers, Origin, Wire
from tests.support.deploy import REPOSITORY, free_port
from tests.support.eventually import others
from tests.support.held import pause
from tests.support.long_stream import MARGIN_S, TEN_MINUTES_S, LongStream
from tests.support.name_server import name_server
from tests.support.relay import CERTIFICATE
from tests.support.stack import Stack
from tests.support.standin import Standin, Stream, standin

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(120)]

SOON_S = 20.0
MIB = 1 << 20
UPLOAD = 40 * MIB
KEY: Headers = [(b"x-api-key", b"sk-test")]


@dataclass
class Balanced:
    """A load balancer and the two that it takes for gateways."""

    stack: Stack
    one: Standin
    two: Standin
    wire: Wire
    _exchanges: list[Exchange] = field(default_factory=list)

    async def ask(self, path: bytes = b"/v1/models", method: bytes = b"GET", body: bytes = b"") -> Exchange:
        exchange = await asyncio.wait_for(self.wire.send(method, path, KEY, body), SOON_S)
        self._exchanges.append(exchange)
        return exchange

    async def close(self) -> None:
        """Leave no connection behind."""
        for exchange in self._exchanges:
            exchange.close()
        self.wire.close()
        await others()

    async def text(self, path: bytes = b"/v1/models") -> tuple[int, str]:
        exchange = await self.ask(path)
        return exchange.status, (await exchange.read_all(MIB)).decode()

    async def used(self, gateways: int) -> None:
        await asyncio.to_thread(self.stack.until_used, gateways)

    async def says(self, path: bytes = b"/none") -> str | None:
        """Return what a new connection is answered, None where it is refused."""
        wire = Wire(self.wire.origin, connect_timeout_s=5, first_byte_timeout_s=SOON_S)
        try:
            exchange = await wire.send(b"GET", path, [(b"connection", b"close")], b"")
            return (await exchange.read_all(MIB)).decode()
        except ConnectFailed:
            return None
        finally:
            wire.close()

    async def until_told(self, number: signal.Signals, heeded: Callable[[str | None], bool]) -> None:
        """Signal the load balancer until what it says shows it: so soon after its start, while the master
        takes its place over the worker, a signal may be lost."""
        async with asyncio.timeout(SOON_S):
            while True:
                self.stack.processes["loadbalancer"].send_signal(number)
                for _ in range(20):
                    if heeded(await self.says()):
                        return
                    await pause(asyncio.Event(), 0.1)


@asynccontextmanager
async def balanced(tree: Path, directory: Path) -> AsyncIterator[Balanced]:
    async with standin("one") as one, standin("two") as two:
        stack = Stack(tree, directory)
        stack.ports |= {"gateway-1:8080": one.port, "gateway-2:8080": two.port}
        stack.start("loadbalancer")
        origin = Origin.parse(stack.url("loadbalancer:8080"))
        wire = Wire(origin, connect_timeout_s=5, first_byte_timeout_s=SOON_S)
        try:
            await asyncio.to_thread(stack.until_used, 2)
            yield (fleet := Balanced(stack, one, two, wire))
            await fleet.close()
        finally:
            stack.end()


@pytest.fixture
async def fleet(tree: Path, tmp_path: Path) -> AsyncIterator[Balanced]:
    async with balanced(tree, tmp_path) as running:
        yield running


async def part(exchange: Exchange) -> bytes | None:
    return await asyncio.wait_for(exchange.read(), SOON_S)


# --- what passes ----------------------------------------------------------------------------------------


async def test_every_event_arrives_before_the_next_one_is_sent(fleet: Balanced) -> None:
    stream = Stream()
    fleet.one.behave = fleet.two.behave = stream
    exchange = await fleet.ask()
    assert await part(exchange) == b"first"
    stream.go_on.set()
    assert await part(exchange) == b"second"
    stream.end.set()
    assert (await part(exchange), await part(exchange)) == (b"last", b"")


async def test_uploads_of_any_size_are_passed_on_while_they_arrive(fleet: Balanced) -> None:
    begun, received = asyncio.Event(), bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := int(await reader.readline(), 16):
            received.extend(await reader.readexactly(size))
            await reader.readline()
            begun.set()
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(UPLOAD // MIB):
            yield bytes([number]) * MIB
            await asyncio.wait_for(begun.wait(), SOON_S)

    fleet.one.behave = fleet.two.behave = take
    exchange = await fleet.wire.send(b"POST", b"/v1/files", KEY, pieces())
    assert (exchange.status, await exchange.read_all(MIB)) == (200, b"")
    assert received == b"".join(bytes([number]) * MIB for number in range(UPLOAD // MIB))


async def test_who_hangs_up_while_the_model_thinks_is_gone_for_the_gateway_too(fleet: Balanced) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def think(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        with suppress(ConnectionResetError):
            assert await reader.read(1) == b""
        left.set()
        writer.close()

    fleet.one.behave = fleet.two.behave = think
    asking = asyncio.get_running_loop().create_task(fleet.ask())
    await asyncio.wait_for(asked.wait(), SOON_S)
    asking.cancel()
    await asyncio.wait_for(left.wait(), SOON_S)


@pytest.mark.parametrize(
    "path",
    [
        b"/", b"/admin", b"/admin/migrations", b"//admin/migrations", b"/%61dmin/migrations", b"/metrics",
        b"/readyz", b"/simulator/faults", b"/v1", b"/V1/messages", b"/gateway",
        b"/gateway/feedback/", b"/gateway/feedback/../../admin",
    ],
)  # fmt: skip
async def test_nothing_but_the_api_is_to_be_had(fleet: Balanced, path: bytes) -> None:
    status, text = await fleet.text(path)
    assert (status, "only /v1/ is served here" in text) == (404, True)
    assert fleet.one.asked + fleet.two.asked == []


async def test_applications_reach_the_door_for_feedback(fleet: Balanced) -> None:
    await fleet.text(b"/gateway/feedback")
    assert len(fleet.one.asked + fleet.two.asked) == 1


async def test_applications_do_not_reach_what_is_for_the_inside(fleet: Balanced) -> None:
    assert (await fleet.text(b"/ready"))[0] == 404
    assert fleet.stack.compose.services["loadbalancer"]["ports"] == ["127.0.0.1:8080:8080"]


# --- who is asked ---------------------------------------------------------------------------------------


async def test_who_is_not_ready_gets_nothing_new_and_keeps_his_stream(fleet: Balanced) -> None:
    stream = Stream()
    fleet.one.behave = stream
    exchange = await fleet.ask()
    while not fleet.one.asked:
        exchange = await fleet.ask()
    assert await part(exchange) == b"first"
    fleet.one.ready = False
    await fleet.used(1)
    assert {await fleet.text() for _ in range(10)} == {(200, "two")}
    stream.go_on.set()
    assert await part(exchange) == b"second"
    stream.end.set()
    assert await part(exchange) == b"last"

    fleet.one.ready, fleet.one.behave = True, None
    await fleet.used(2)
    assert {(await fleet.text())[1] for _ in range(10)} == {"one", "two"}


async def test_a_refused_connection_goes_to_the_other_gateway(fleet: Balanced) -> None:
    await fleet.one.stop()
    answers = [await fleet.text() for _ in range(10)]  # before the load balancer has noticed
    assert answers == [(200, "two")] * 10


async def test_a_request_that_was_sent_is_never_sent_again(fleet: Balanced) -> None:
    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    fleet.one.behave = fleet.two.behave = end
    exchange = await fleet.ask(b"/v1/messages", b"POST", b"{}")
    assert (exchange.status, "api_error" in (await exchange.read_all(MIB)).decode()) == (502, True)
    assert fleet.one.asked + fleet.two.asked == [b"POST /v1/messages HTTP/1.1"]


async def test_a_fleet_without_a_ready_gateway_says_so_in_the_apis_words(fleet: Balanced) -> None:
    assert (await fleet.text(b"/healthz"))[0] == 200
    fleet.one.ready = fleet.two.ready = False
    await fleet.used(0)
    exchange = await fleet.ask()
    assert (exchange.status, dict(exchange.headers)[b"retry-after"]) == (503, b"1")
    assert "overloaded_error" in (await exchange.read_all(MIB)).decode()
    assert (await fleet.text(b"/healthz"))[0] == 503


async def test_a_gateway_that_comes_back_at_another_address_is_found(tree: Path, tmp_path: Path) -> None:
    gateway, port = Standin("new"), free_port()
    async with name_server() as names:
        names.known |= {"gateway-1": "127.0.0.2"}
        stack = Stack(tree, tmp_path)
        stack.addresses |= {
            "gateway-1:8080": f"gateway-1:{port}",
            "gateway-2:8080": f"gateway-2:{port}",
            "127.0.0.11:53": f"127.0.0.1:{names.port}",
        }
        stack.start("loadbalancer")
        try:
            await gateway.start("127.0.0.2", port)
            await asyncio.to_thread(stack.until_used, 1)
            await gateway.stop()
            await asyncio.to_thread(stack.until_used, 0)
            names.known["gateway-1"] = "127.0.0.3"
            await gateway.start("127.0.0.3", port)
            await asyncio.to_thread(stack.until_used, 1)
        finally:
            stack.end()
            await gateway.stop()


# --- its own life ---------------------------------------------------------------------------------------


async def test_a_changed_file_is_taken_over_without_cutting_a_stream(fleet: Balanced) -> None:
    stream = Stream()
    fleet.one.behave = fleet.two.behave = stream
    exchange = await fleet.ask()
    assert await part(exchange) == b"first"
    file = fleet.stack.directory / "haproxy.cfg"
    file.write_text(file.read_text().replace("only /v1/ is served here", "changed"))
    await fleet.until_told(signal.SIGUSR2, lambda said: "changed" in (said or ""))
    stream.go_on.set()
    assert await part(exchange) == b"second"
    stream.end.set()
    assert await part(exchange) == b"last"


async def test_told_to_stop_it_lets_streams_finish(fleet: Balanced) -> None:
    stream = Stream()
    fleet.one.behave = fleet.two.behave = stream
    exchange = await fleet.ask()
    assert await part(exchange) == b"first"
    process = fleet.stack.processes["loadbalancer"]
    asked = signal.Signals[fleet.stack.compose.services["loadbalancer"]["stop_signal"]]
    await fleet.until_told(asked, lambda said: said is None)
    stream.go_on.set()
    assert await part(exchange) == b"second"
    stream.end.set()
    assert await exchange.read_all(MIB) == b"last"
    fleet.wire.close()
    assert await asyncio.to_thread(process.wait, SOON_S) == 0


async def test_tls_as_the_guide_has_it(tree: Path, tmp_path: Path) -> None:
    guide = (REPOSITORY / "docs/deploy.md").read_text("utf-8")
    (line,) = re.findall(r"^    (bind :8443 .+)$", guide, re.MULTILINE)
    assert "/usr/local/etc/haproxy/tls.pem" in line
    port = free_port()
    line = line.replace(":8443", f"127.0.0.1:{port}").replace(
        "/usr/local/etc/haproxy/tls.pem", str(CERTIFICATE)
    )
    stream = Stream()
    async with standin("one") as one:
        one.behave = stream
        stack = Stack(tree, tmp_path)
        stack.ports |= {"gateway-1:8080": one.port}
        stack.more = {"frontend applications\n": f"frontend applications\n    {line}\n"}
        stack.start("loadbalancer")
        try:
            await asyncio.to_thread(stack.until_used, 1)
            trusted = ssl.create_default_context(cafile=str(CERTIFICATE))
            origin = Origin("127.0.0.1", port, f"127.0.0.1:{port}".encode(), b"", trusted)
            wire = Wire(origin, connect_timeout_s=5, first_byte_timeout_s=SOON_S)
            exchange = await wire.send(b"GET", b"/v1/models", KEY, b"")
            assert await part(exchange) == b"first"
            stream.go_on.set()
            stream.end.set()
            assert (await exchange.read_all(MIB)).endswith(b"last")
            wire.close()
        finally:
            stack.end()


# --- ten minutes ----------------------------------------------------------------------------------------


@pytest.mark.timeout(TEN_MINUTES_S + 2 * MARGIN_S)
def test_a_stream_of_ten_minutes_and_an_answer_that_takes_as_long_pass(long_stream: LongStream) -> None:
    """It runs beside all other tests of the deployment, from their beginning; LONG_STREAM_S shortens it."""
    found = long_stream.result()
    assert found.lasted_s >= found.asked_for_s
    assert found.first_event_after_s < 5
    assert found.whole
    assert found.pings >= found.asked_for_s // 15 - 3  # the word and the end take the place of some
    assert found.longest_silence_s < 25
    assert (found.silent_status, found.silent_took_s >= found.asked_for_s - 10) == (200, True)
