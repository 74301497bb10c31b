"""The simulator's own log: who asked for what, when, and how it ended - the proof of what reached the
upstream.

An entry is made when the head of a request arrives, so its time is the earliest there is. The journal keeps
the last `MAX_ENTRIES` requests; of their bodies the first 64 KiB each, and no more than `MAX_BODY_BYTES` of
all together (the oldest bodies go first). Credentials that look like the vendor's are masked to their last
four characters, so that a rehearsal with real keys leaves none behind; other values are test keys, and tests
want to see them.
"""

import base64
import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

from gateway.simulator.rules.case import Json

MAX_ENTRIES = 200_000
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_KEPT_BODY_BYTES = 64 * 1024
MAX_PAGE_BYTES = 8 * 1024 * 1024

_CREDENTIAL = re.compile(r"sk-ant-[\w-]*?([\w-]{4})(?![\w-])")


class Entry:
    """One request; it is filled in while the request is served."""

    __slots__ = (
        "at", "body", "body_bytes", "body_sha256", "fault", "finished_at", "headers", "hung_up", "method",
        "model", "path", "query", "seq", "status",
    )  # fmt: skip

    def __init__(self, seq: int, at: float, method: str, path: str, query: str) -> None:
        self.seq = seq
        self.at = at
        """Arrival of the request's head, epoch seconds."""
        self.method = method
        self.path = path
        self.query = query
        self.headers: list[tuple[str, str]] = []
        """In the order of arrival, names in lower case."""
        self.model: str | None = None
        """As requested."""
        self.status: int | None = None
        """None while there is no answer, or if there never was one."""
        self.fault = ""
        """The kind of the fault that struck."""
        self.body = b""
        self.body_bytes = 0
        self.body_sha256 = ""
        self.hung_up = False
        """Whether the client left before the answer was complete."""
        self.finished_at: float | None = None

    def keep(self, body: bytes) -> None:
        """Remember the body: its beginning, its size, its digest."""
        self.body = body[:MAX_KEPT_BODY_BYTES]
        self.body_bytes = len(body)
        self.body_sha256 = hashlib.sha256(body).hexdigest()

    def as_json(self) -> Json:
        return {
            "seq": self.seq,
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "headers": [[name, _CREDENTIAL.sub(r"sk-ant-…\1", value)] for name, value in self.headers],
            "model": self.model,
            "status": self.status,
            "fault": self.fault or None,
            "body": base64.b64encode(self.body).decode(),
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_sha256,
            "hung_up": self.hung_up,
            "finished_at": self.finished_at,
        }


class Journal:
    """The last requests, oldest first, and counts of all since the last `clear`."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: deque[Entry] = deque()
        self._with_body: deque[Entry] = deque()
        self._kept_bytes = 0
        self._seq = 0
        self._counts: dict[str, Counter[str]] = {}
        self._in_flight = 0

    def open(self, at: float, method: str, path: str, query: str) -> Entry:
        """Note that a request has arrived."""
        self._seq += 1
        entry = Entry(self._seq, at, method, path, query)
        self._in_flight += 1
        self._entries.append(entry)
        if len(self._entries) > self._max_entries:
            self._entries.popleft()
        return entry

    def close(self, entry: Entry, at: float) -> None:
        """Note that a request is over."""
        entry.finished_at = at
        self._in_flight -= 1
        counts = self._counts.setdefault(entry.model or "", Counter())
        counts["requests"] += 1
        counts[f"status {entry.status}"] += entry.status is not None
        counts["hung_up"] += entry.hung_up
        counts[f"fault {entry.fault}"] += bool(entry.fault)
        self._kept_bytes += len(entry.body)
        self._with_body.append(entry)
        while self._kept_bytes > MAX_BODY_BYTES or len(self._with_body) > self._max_entries:
            oldest = self._with_body.popleft()
            self._kept_bytes -= len(oldest.body)
            oldest.body = b""

    def since(self, seq: int, limit: int) -> Json:
        """The requests after `seq`, oldest first, those still being served among them.

        At most `limit`, and no more than `MAX_PAGE_BYTES` of bodies: `has_more` says that the rest needs
        another call, with `last_seq`.
        """
        page: list[Entry] = []
        room = MAX_PAGE_BYTES
        for entry in islice((entry for entry in self._entries if entry.seq > seq), limit):
            room -= len(entry.body)
            if room < 0 and page:
                break
            page.append(entry)
        last = page[-1].seq if page else seq
        newest = self._entries[-1].seq if self._entries else seq
        return {"data": [entry.as_json() for entry in page], "last_seq": last, "has_more": last < newest}

    def stats(self) -> Json:
        """Counts by requested model; requests without one stand under `null`'s name, the empty string."""
        return {
            "seq": self._seq,
            "in_flight": self._in_flight,
            "models": {model: dict(self._nonzero(counts)) for model, counts in sorted(self._counts.items())},
        }

    def clear(self) -> None:
        """Forget all requests; numbers go on, so that `since` keeps its meaning."""
        self._entries.clear()
        self._with_body.clear()
        self._kept_bytes = 0
        self._counts.clear()

    @staticmethod
    def _nonzero(counts: Counter[str]) -> Iterator[tuple[str, int]]:
        return ((name, count) for name, count in sorted(counts.items()) if count)
