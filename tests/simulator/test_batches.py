import json
from typing import Any

import pytest

from gateway.simulator.batches import Batches
from gateway.simulator.rules.case import ApiError

HOST = "http://gateway.test"
NOW = 1_800_000_000.0


def judge(params: dict[str, Any]) -> dict[str, Any]:
    if params["model"] == "bad":
        raise ApiError(404, "model: bad")
    return {"type": "message", "model": params["model"]}


def request(name: str, model: str = "good") -> dict[str, Any]:
    return {"custom_id": name, "params": {"model": model}}


def create(batches: Batches, *requests: dict[str, Any]) -> str:
    return batches.create({"requests": list(requests)}, judge, NOW).id


def test_a_batch_is_in_progress_until_somebody_looks() -> None:
    batches = Batches()
    batch = batches.create({"requests": [request("a"), request("b", "bad")]}, judge, NOW)
    shown = batch.as_json(HOST)
    assert (shown["processing_status"], shown["request_counts"]["processing"]) == ("in_progress", 2)
    assert (shown["results_url"], shown["ended_at"]) == (None, None)
    shown = batches.look(batch.id, NOW + 1).as_json(HOST)
    assert shown["processing_status"] == "ended"
    assert shown["request_counts"] == {
        "processing": 0,
        "succeeded": 1,
        "errored": 1,
        "canceled": 0,
        "expired": 0,
    }
    assert shown["results_url"] == f"{HOST}/v1/messages/batches/{batch.id}/results"
    assert (shown["created_at"], shown["ended_at"]) == (
        "2027-01-15T08:00:00.000Z",
        "2027-01-15T08:00:01.000Z",
    )


def test_results_are_lines_one_for_each_request() -> None:
    batches = Batches()
    found = batches.look(create(batches, request("a"), request("b", "bad")), NOW)
    assert [json.loads(line) for line in found.lines()] == [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"type": "message", "model": "good"}}},
        {
            "custom_id": "b",
            "result": {
                "type": "errored",
                "error": {
                    "type": "error",
                    "error": {"type": "not_found_error", "message": "model: bad"},
                    "request_id": None,
                },
            },
        },
    ]


def test_a_batch_in_progress_has_no_results() -> None:
    batch = Batches().create({"requests": [request("a")]}, judge, NOW)
    with pytest.raises(ApiError, match="has no results yet"):
        batch.lines()


def test_a_batch_is_cancelled_before_it_is_worked_off() -> None:
    batches = Batches()
    name = create(batches, request("a"))
    assert batches.cancel(name, NOW).as_json(HOST)["processing_status"] == "canceling"
    found = batches.look(name, NOW)
    assert found.as_json(HOST)["request_counts"]["canceled"] == 1
    assert [json.loads(line)["result"] for line in found.lines()] == [{"type": "canceled"}]


def test_a_batch_that_has_ended_is_not_cancelled() -> None:
    batches = Batches()
    name = create(batches, request("a"))
    batches.look(name, NOW)
    assert batches.cancel(name, NOW).as_json(HOST)["cancel_initiated_at"] is None


def test_the_list_is_newest_first_and_a_deleted_batch_is_gone() -> None:
    batches = Batches()
    one, two = create(batches, request("a")), create(batches, request("a"))
    assert [batch.id for batch in batches.all(NOW)] == [two, one]
    assert batches.delete(one, NOW) == {"id": one, "type": "message_batch_deleted"}
    assert [batch.id for batch in batches.all(NOW)] == [two]
    with pytest.raises(ApiError, match=f"Message batch {one} not found"):
        batches.look(one, NOW)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "requests: List should have between 1 and 100000 items"),
        ({"requests": []}, "requests: List should have between 1 and 100000 items"),
        ({"requests": [request("a")], "speed": 1}, "speed: Extra inputs are not permitted"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        (
            {"requests": [{"params": {}}]},
            "requests.0.custom_id: String should have between 1 and 64 characters",
        ),
        ({"requests": [request("a"), request("a")]}, "requests.1.custom_id: Duplicate custom_id: a"),
    ],
)
def test_a_batch_has_a_shape(body: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ApiError) as caught:
        Batches().create(body, judge, NOW)
    assert (caught.value.status, caught.value.message) == (400, complaint)
