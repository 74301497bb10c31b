"""Message batches: many requests at once, each judged and answered on its own.

A new batch is `in_progress`. It is worked off when somebody next looks at it (that is the tick), unless it
was cancelled before; looking is retrieving it, listing, or asking for results. Results are lines of JSON in
the order of the requests, at a URL on the host that the client asked, so that a gateway in between stays in
between.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gateway.core.types import to_json
from gateway.simulator.resources import rfc3339
from gateway.simulator.rules.case import EXTRA, ApiError, Json

DAY_S = 86_400
MAX_BATCHES = 1000
MAX_REQUESTS = 100_000

Judge = Callable[[Json], Json]
"""Answers the params of one request with a message, or raises ApiError."""


@dataclass(slots=True)
class Batch:
    """One batch; its results come with the tick."""

    id: str
    created_at: float
    requests: list[Json]
    judge: Judge
    ended_at: float | None = None
    cancelled_at: float | None = None
    results: list[Json] = field(default_factory=list)

    def as_json(self, host: str) -> Json:
        """The batch as the API shows it; `host` is scheme and host of the results' URL."""
        counts = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        for result in self.results:
            counts[result["result"]["type"]] += 1
        counts["processing"] = len(self.requests) - len(self.results)
        ended = self.ended_at is not None
        status = "ended" if ended else "in_progress" if self.cancelled_at is None else "canceling"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "created_at": rfc3339(self.created_at),
            "expires_at": rfc3339(self.created_at + DAY_S),
            "ended_at": rfc3339(self.ended_at) if self.ended_at is not None else None,
            "cancel_initiated_at": rfc3339(self.cancelled_at) if self.cancelled_at is not None else None,
            "archived_at": None,
            "results_url": f"{host}/v1/messages/batches/{self.id}/results" if ended else None,
        }

    def lines(self) -> Iterator[bytes]:
        """The results as lines of JSON; 404 before there are any."""
        if self.ended_at is None:
            raise ApiError(404, f"Message batch {self.id} has no results yet")
        return (to_json(result) + b"\n" for result in self.results)

    def tick(self, now: float) -> None:
        """Work it off, or call it off."""
        if self.ended_at is None:
            self.results = [self._result(request) for request in self.requests]
            self.ended_at = now

    def _result(self, request: Json) -> Json:
        result: Json
        if self.cancelled_at is not None:
            result = {"type": "canceled"}
        else:
            try:
                result = {"type": "succeeded", "message": self.judge(request["params"])}
            except ApiError as error:
                envelope = {"type": "error", "error": error.error, "request_id": None}
                result = {"type": "errored", "error": envelope}
        return {"custom_id": request["custom_id"], "result": result}


class Batches:
    """The batches, the oldest forgotten first."""

    def __init__(self) -> None:
        self._batches: OrderedDict[str, Batch] = OrderedDict()
        self._count = 0

    def create(self, body: Json, judge: Judge, now: float) -> Batch:
        """Accept a batch; 400 when it has no proper shape."""
        requests = _requests_of(body)
        self._count += 1
        digest = hashlib.sha256(to_json([self._count, now])).hexdigest()
        batch = Batch(f"msgbatch_01{digest[:22]}", now, requests, judge)
        self._batches[batch.id] = batch
        if len(self._batches) > MAX_BATCHES:
            self._batches.popitem(last=False)
        return batch

    def look(self, batch_id: str, now: float) -> Batch:
        """A batch, after its tick."""
        batch = self._find(batch_id)
        batch.tick(now)
        return batch

    def cancel(self, batch_id: str, now: float) -> Batch:
        """Call a batch off, if it has not ended."""
        batch = self._find(batch_id)
        if batch.ended_at is None:
            batch.cancelled_at = now
        return batch

    def delete(self, batch_id: str, now: float) -> Json:
        """Forget a batch."""
        self.look(batch_id, now)
        del self._batches[batch_id]
        return {"id": batch_id, "type": "message_batch_deleted"}

    def all(self, now: float) -> list[Batch]:
        """Every batch, newest first."""
        return [self.look(batch_id, now) for batch_id in reversed(self._batches)]

    def _find(self, batch_id: str) -> Batch:
        if batch_id not in self._batches:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return self._batches[batch_id]


def _requests_of(body: Json) -> list[Json]:
    for key in body:
        if key != "requests":
            raise ApiError(400, f"{key}: {EXTRA}")
    requests = body.get("requests")
    if not isinstance(requests, list) or not 1 <= len(requests) <= MAX_REQUESTS:
        raise ApiError(400, f"requests: List should have between 1 and {MAX_REQUESTS} items")
    seen: set[str] = set()
    for index, request in enumerate(requests):
        path = f"requests.{index}"
        if not isinstance(request, dict) or not isinstance(request.get("params"), dict):
            raise ApiError(400, f"{path}.params: Field required")
        name = request.get("custom_id")
        if not isinstance(name, str) or not 1 <= len(name) <= 64:
            raise ApiError(400, f"{path}.custom_id: String should have between 1 and 64 characters")
        if name in seen:
            raise ApiError(400, f"{path}.custom_id: Duplicate custom_id: {name}")
        seen.add(name)
    return requests
