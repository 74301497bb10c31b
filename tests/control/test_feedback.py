"""What users say of answers: who may, what is believed, what is counted and what is only accepted."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from gateway.control.feedback import MAX_BODY_BYTES, PATH, Feedback, RawHeaders
from gateway.core.booking import Place
from gateway.core.types import Arm
from gateway.errors import NotFound, Unauthenticated
from gateway.store.receipts import Receipts
from tests.support.clock import ManualClock

SHORT = "gw_0123456789abcdef01234567"
PLACE = Place(Arm.candidate, 3, 2, "AbCdEfGhIjKlMnOpQrStUw", True)
NOW = Place(Arm.control, 3, 4, "u" * 22, True)
KEY = {"x-api-key": "known"}


@dataclass
class Notes:
    """A tally that keeps what it is told."""

    issues: list[tuple[Place, str]] = field(default_factory=list)
    ratings: list[tuple[Place, float]] = field(default_factory=list)

    def complained(self, place: Place, request_id: str, now: float) -> None:
        self.issues.append((place, request_id))

    def rated(self, place: Place, score: float) -> None:
        self.ratings.append((place, score))


class Door:
    """The endpoint with everything around it."""

    def __init__(self) -> None:
        self.clock, self.receipts, self.notes = ManualClock(), Receipts(b"fleet"), Notes()
        self.told: list[tuple[str, str]] = []
        app = Feedback(
            receipts=self.receipts,
            tallies={"m": self.notes},
            admit=_admit,
            operator_named=lambda token: "ann" if token == "op" else None,
            place_now=_place_now,
            over=lambda migration, run: run < 3,
            told=lambda migration, kind: self.told.append((migration, kind)),
            clock=self.clock,
        )
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway")

    def id(self, migration: str = "m", place: Place = PLACE, *, counted: bool = True) -> str:
        return self.receipts.seal(SHORT, migration, place, counted=counted, at=self.clock.now())

    async def post(self, doc: Any, headers: dict[str, str] = KEY) -> httpx2.Response:
        content = doc if isinstance(doc, bytes) else json.dumps(doc).encode()
        return await self.http.post(PATH, content=content, headers=headers)

    async def refusal(self, doc: Any, headers: dict[str, str] = KEY) -> tuple[int, str, str]:
        """Post what is refused; the status, kind and message."""
        answer = await self.post(doc, headers)
        assert (answer.json()["type"], self.notes) == ("error", Notes())
        assert self.told == []
        return answer.status_code, answer.json()["error"]["type"], answer.json()["error"]["message"]


def _admit(headers: RawHeaders) -> None:
    if (b"x-api-key", b"known") not in headers:
        raise Unauthenticated("this gateway does not know your API key")


async def _place_now(migration: str, unit: str) -> Place:
    if migration != "m":
        raise NotFound(f"there is no migration {migration!r}")
    return NOW


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    async with door.http:
        yield door


async def test_an_issue_is_booked_where_its_request_was(door: Door) -> None:
    answer = await door.post({"request_id": door.id(), "kind": "issue", "comment": "wrong total"})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted", "counted": True})
    assert (door.notes.issues, door.notes.ratings) == ([(PLACE, SHORT)], [])
    assert door.told == [("m", "issue")]


@pytest.mark.parametrize("score", [0, 0.25, 1, 1.0])
async def test_a_rating_is_booked_where_its_request_was(door: Door, score: float) -> None:
    answer = await door.post({"request_id": door.id(), "kind": "rating", "score": score})
    assert answer.status_code == 202
    assert (door.notes.issues, door.notes.ratings) == ([], [(PLACE, float(score))])
    assert door.told == [("m", "rating")]


async def test_what_cannot_count_is_accepted_and_says_so(door: Door) -> None:
    over, idle = Place(Arm.control, 2, 1, None, False), Place(Arm.control, 0, 0, None, False)
    for request_id, says in (
        (SHORT, "no migration"),
        (door.id("gone"), "is gone"),
        (door.id(counted=False), "operator chose"),
        (door.id(place=over), "is over"),
        (door.id(place=idle), "not running"),
    ):
        answer = await door.post({"request_id": request_id, "kind": "issue"})
        assert (answer.status_code, answer.json()["counted"]) == (202, False)
        assert says in answer.json()["reason"]
    assert (door.notes, door.told) == (Notes(), [])


async def test_an_id_that_is_not_to_be_believed_is_refused(door: Door) -> None:
    told = door.id()
    assert await door.refusal(
        {"request_id": told[:-1] + ("A" if told[-1] != "A" else "B"), "kind": "issue"}
    ) == (
        400,
        "invalid_request_error",
        "request_id: it was changed on its way; send it as it stood in the answer",
    )
    assert (await door.refusal({"request_id": "gw_what", "kind": "issue"}))[0] == 400
    door.clock.advance(86_400 + 60)
    assert "24 hours" in (await door.refusal({"request_id": told, "kind": "issue"}))[2]


async def test_a_caller_without_a_known_key_is_refused_before_anything_is_read(door: Door) -> None:
    for content in ({"request_id": door.id(), "kind": "issue"}, b"{"):
        assert (await door.refusal(content, {}))[:2] == (401, "authentication_error")


@pytest.mark.parametrize("headers", [{"x-gateway-token": "op"}, {"authorization": "Bearer op"}])
async def test_an_operator_needs_no_key_and_may_name_a_unit(door: Door, headers: dict[str, str]) -> None:
    assert (await door.post({"request_id": door.id(), "kind": "issue"}, headers)).status_code == 202
    assert (await door.post({"migration": "m", "unit": "bob", "kind": "issue"}, headers)).status_code == 202
    assert door.notes.issues == [(PLACE, SHORT), (NOW, "")]


async def test_nobody_else_may_name_a_unit(door: Door) -> None:
    status, kind, says = await door.refusal({"migration": "m", "unit": "bob", "kind": "issue"})
    assert (status, kind) == (401, "authentication_error")
    assert "operators only" in says


async def test_an_unknown_migration_is_a_404(door: Door) -> None:
    named = {"migration": "x", "unit": "bob", "kind": "issue"}
    assert (await door.refusal(named, {"x-gateway-token": "op"}))[:2] == (404, "not_found_error")


@pytest.mark.parametrize(
    ("doc", "says"),
    [
        (b"{", "not JSON"),
        (b"[]", "valid dictionary"),
        ({"kind": "issue"}, "name a request_id"),
        ({"request_id": SHORT, "migration": "m", "unit": "u", "kind": "issue"}, "name a request_id"),
        ({"request_id": SHORT, "unit": "u", "kind": "issue"}, "name a request_id"),
        ({"migration": "m", "kind": "issue"}, "name a request_id"),
        ({"request_id": SHORT, "kind": "praise"}, "kind: "),
        ({"request_id": SHORT, "kind": "rating"}, "score from 0"),
        ({"request_id": SHORT, "kind": "rating", "score": 5}, "score: "),
        ({"request_id": SHORT, "kind": "rating", "score": "1"}, "score: "),
        ({"request_id": SHORT, "kind": "issue", "score": 1}, "an issue has none"),
        ({"request_id": SHORT, "kind": "issue", "user": "bob"}, "user: "),
    ],
)
async def test_a_body_that_cannot_be_understood_is_refused_with_the_place(
    door: Door, doc: Any, says: str
) -> None:
    status, kind, message = await door.refusal(doc)
    assert (status, kind) == (400, "invalid_request_error")
    assert says in message


async def test_a_body_has_a_limit(door: Door) -> None:
    status, kind, _ = await door.refusal(b" " * (MAX_BODY_BYTES + 1))
    assert (status, kind) == (413, "request_too_large")


async def test_feedback_is_posted(door: Door) -> None:
    answer = await door.http.get(PATH, headers=KEY)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_nothing_of_a_comment_or_a_unit_reaches_the_log(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await door.post({"request_id": door.id(), "kind": "issue", "comment": "a-secret"})
        await door.post({"migration": "m", "unit": "bob-b", "kind": "issue"}, {"x-gateway-token": "op"})
        await door.post({"request_id": SHORT, "kind": "issue", "comment": 7})
    lines = [record for record in caplog.records if record.name == "gateway.control.feedback"]
    assert [record.message for record in lines] == ["feedback", "feedback", "feedback refused"]
    said = " ".join(str(vars(record)) for record in lines)
    assert SHORT in said
    assert not {word for word in ("a-secret", "bob-b", PLACE.unit_key or "") if word in said}
