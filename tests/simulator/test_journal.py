import base64
import hashlib

import pytest

from gateway.simulator import journal as subject
from gateway.simulator.journal import Entry, Journal


def note(journal: Journal, *, model: str | None = None, body: bytes = b"", status: int | None = 200) -> Entry:
    entry = journal.open(100.0, "POST", "/v1/messages", "beta=true")
    entry.model, entry.status = model, status
    entry.keep(body)
    journal.close(entry, 101.0)
    return entry


def test_an_entry_says_what_arrived_and_how_it_ended() -> None:
    journal = Journal()
    entry = journal.open(100.0, "POST", "/v1/messages", "beta=true")
    entry.headers = [("a", "1"), ("a", "2")]
    entry.keep(b"{}")
    [running] = journal.since(0, 10)["data"]
    assert (running["at"], running["finished_at"], running["status"]) == (100.0, None, None)
    entry.status, entry.model = 200, "m"
    journal.close(entry, 101.5)
    [done] = journal.since(0, 10)["data"]
    assert done == {
        "seq": 1,
        "at": 100.0,
        "method": "POST",
        "path": "/v1/messages",
        "query": "beta=true",
        "headers": [["a", "1"], ["a", "2"]],
        "model": "m",
        "status": 200,
        "fault": None,
        "body": base64.b64encode(b"{}").decode(),
        "body_bytes": 2,
        "body_sha256": hashlib.sha256(b"{}").hexdigest(),
        "hung_up": False,
        "finished_at": 101.5,
    }


def test_a_long_body_is_kept_in_part_and_known_in_full() -> None:
    body = b"x" * 100_000
    entry = note(Journal(), body=body).as_json()
    assert base64.b64decode(entry["body"]) == body[: 64 * 1024]
    assert (entry["body_bytes"], entry["body_sha256"]) == (100_000, hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("test-key", "test-key"),
        ("Bearer test-key", "Bearer test-key"),
        ("sk-ant-api03-abcdefgh-1234", "sk-ant-…1234"),
        ("Bearer sk-ant-oat01-abcdefgh_5678", "Bearer sk-ant-…5678"),
    ],
)
def test_real_credentials_are_masked(value: str, shown: str) -> None:
    entry = Journal().open(0, "GET", "/", "")
    entry.headers = [("authorization", value)]
    assert entry.as_json()["headers"] == [["authorization", shown]]


def test_the_log_is_read_page_by_page() -> None:
    journal = Journal()
    for _ in range(5):
        note(journal)
    first = journal.since(0, 3)
    assert ([entry["seq"] for entry in first["data"]], first["last_seq"], first["has_more"]) == (
        [1, 2, 3],
        3,
        True,
    )
    second = journal.since(3, 3)
    assert ([entry["seq"] for entry in second["data"]], second["has_more"]) == ([4, 5], False)
    assert journal.since(5, 3) == {"data": [], "last_seq": 5, "has_more": False}


def test_a_page_of_large_bodies_is_short() -> None:
    journal = Journal()
    count = subject.MAX_PAGE_BYTES // subject.MAX_KEPT_BODY_BYTES + 5
    for _ in range(count):
        note(journal, body=b"x" * subject.MAX_KEPT_BODY_BYTES)
    page = journal.since(0, 10_000)
    assert len(page["data"]) == count - 5
    assert page["has_more"]
    assert len(journal.since(page["last_seq"], 10_000)["data"]) == 5


def test_the_oldest_bodies_go_first() -> None:
    journal = Journal()
    first = note(journal, body=b"x" * subject.MAX_KEPT_BODY_BYTES)
    for _ in range(subject.MAX_BODY_BYTES // subject.MAX_KEPT_BODY_BYTES):
        last = note(journal, body=b"x" * subject.MAX_KEPT_BODY_BYTES)
    assert (len(first.body), first.body_bytes) == (0, subject.MAX_KEPT_BODY_BYTES)
    assert len(last.body) == subject.MAX_KEPT_BODY_BYTES


def test_the_log_is_bounded() -> None:
    journal = Journal(max_entries=10)
    for _ in range(13):
        journal.close(journal.open(0, "GET", "/", ""), 0)
    assert journal.since(0, 1)["data"][0]["seq"] == 4


def test_counts_by_model() -> None:
    journal = Journal()
    note(journal, model="a")
    note(journal, model="a", status=529).fault = "overloaded"
    entry = journal.open(0, "POST", "/", "")
    entry.model, entry.hung_up, entry.fault = "b", True, "timeout"
    journal.close(entry, 1)
    journal.open(0, "GET", "/", "")
    assert journal.stats() == {
        "seq": 4,
        "in_flight": 1,
        "models": {
            "a": {"requests": 2, "status 200": 1, "status 529": 1},
            "b": {"fault timeout": 1, "hung_up": 1, "requests": 1},
        },
    }


def test_a_cleared_log_is_empty_and_goes_on_counting() -> None:
    journal = Journal()
    note(journal, model="a")
    running = journal.open(0, "GET", "/", "")
    journal.clear()
    assert journal.since(0, 10)["data"] == []
    assert journal.stats()["models"] == {}
    journal.close(running, 1)
    assert note(journal).seq == 3
    assert journal.stats()["in_flight"] == 0
