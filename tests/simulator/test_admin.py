import json
from collections.abc import Iterator

import pytest

from gateway.simulator.admin import Admin
from gateway.simulator.exchange import Exchange, Message
from gateway.simulator.faults import FaultPlan
from gateway.simulator.journal import Entry, Journal
from gateway.simulator.rules.case import ApiError
from tests.support.upstream import Upstream, running_simulator

SPECS = ["kind=overloaded,model=claude-opus-5-5,rate=0.3", "kind=slow,ms=5"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_simulator() as running:
        yield running


def test_faults_are_shown_replaced_and_taken_away(upstream: Upstream) -> None:
    assert upstream.call("GET", "/simulator/faults") == {"faults": []}
    assert upstream.call("PUT", "/simulator/faults", {"faults": SPECS}) == {"faults": SPECS}
    assert upstream.call("PUT", "/simulator/faults", SPECS[:1]) == {"faults": SPECS[:1]}
    assert upstream.call("GET", "/simulator/faults") == {"faults": SPECS[:1]}
    assert upstream.call("DELETE", "/simulator/faults") == {"faults": []}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"faults": ["kind=explode"]}, "kind 'explode' is unknown"),
        ({"faults": ["kind=cut,model=claude-opus-9"]}, "model 'claude-opus-9' is not in the catalogue"),
        ({"fault": []}, "the body must be"),
        (7, "the body must be"),
    ],
)
def test_faults_that_make_no_sense_change_nothing(upstream: Upstream, body: object, complaint: str) -> None:
    upstream.set_faults(*SPECS)
    with pytest.raises(ValueError, match=complaint):
        upstream.call("PUT", "/simulator/faults", body)
    assert upstream.call("GET", "/simulator/faults") == {"faults": SPECS}
    upstream.set_faults()


def test_the_log_is_read_and_emptied_and_does_not_log_itself(upstream: Upstream) -> None:
    upstream.forget_requests()
    before = upstream.stats()["seq"]
    with pytest.raises(ValueError, match="x-api-key header is required"):
        upstream.call("GET", "/v1/models")
    [request] = upstream.requests(since=before)
    assert (request.seq, request.method, request.path, request.status) == (
        before + 1,
        "GET",
        "/v1/models",
        401,
    )
    assert upstream.call("GET", f"/simulator/requests?since={before}&limit=0")["data"] == []
    assert upstream.stats()["models"] == {"": {"requests": 1, "status 401": 1}}
    upstream.forget_requests()
    assert upstream.requests() == []


@pytest.mark.parametrize(
    ("method", "path", "complaint"),
    [
        ("POST", "/simulator/faults", "Method Not Allowed"),
        ("GET", "/simulator/nothing", "no such endpoint"),
        ("GET", "/simulator/requests?since=x", "since: 'x' is not a whole number"),
    ],
)
def test_other_calls_are_refused(upstream: Upstream, method: str, path: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        upstream.call(method, path)


async def status_for(peer: tuple[str, int] | None) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope = {"method": "GET", "path": "/simulator/faults", "query_string": b"", "client": peer}
    exchange = Exchange(scope, receive, send, Entry(0, 0.0, "GET", "", ""))
    admin = Admin(FaultPlan(), Journal(), lambda fault: None)
    try:
        await admin.handle(exchange)
    except ApiError as error:
        return error.status
    assert json.loads(sent[1]["body"]) == {"faults": []}
    status: int = sent[0]["status"]
    return status


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        (("127.0.0.1", 1), 200),
        (("::1", 1), 200),
        (("::ffff:127.0.0.1", 1), 200),
        (None, 200),
        (("192.0.2.1", 1), 403),
        (("::ffff:192.0.2.1", 1), 403),
        (("somewhere", 1), 403),
    ],
)
async def test_only_this_machine_is_answered(peer: tuple[str, int] | None, status: int) -> None:
    assert await status_for(peer) == status
