"""Bodies are strict, and a list that is left out stays."""

import pytest
from pydantic import ValidationError

from gateway.control.schemas import (
    PROOF_BYTES,
    ActionBody,
    ErrorBody,
    ErrorDetail,
    Listing,
    ListsBody,
    ProofBody,
    WeightBody,
)
from gateway.control.service import Proof
from gateway.core.spec import Lists


@pytest.mark.parametrize("body", [ActionBody, WeightBody, ListsBody])
def test_an_unknown_key_is_refused(body: type[ActionBody] | type[WeightBody] | type[ListsBody]) -> None:
    with pytest.raises(ValidationError, match="resaon"):
        body.model_validate({"percent": 5, "resaon": "typo"} if body is WeightBody else {"resaon": "typo"})


@pytest.mark.parametrize("percent", [0, 0.001, 25, 99.999, 100])
def test_a_percentage_may_be_whole_or_not(percent: float) -> None:
    assert WeightBody.model_validate({"percent": percent}).percent == percent


def test_lists_are_laid_over_the_present_ones() -> None:
    present = Lists(allow_users=("zoe",), allow_tasks=("internal",), deny_users=("eve",))
    assert ListsBody().apply_to(present) == present
    assert ListsBody(allow_tasks=[]).apply_to(present) == Lists(allow_users=("zoe",), deny_users=("eve",))
    assert ListsBody(allow_users=["a", "b"], allow_tasks=["t"], deny_users=["d"]).apply_to(present) == Lists(
        ("a", "b"), ("t",), ("d",)
    )


def test_an_error_has_the_envelope_of_the_messages_api() -> None:
    body = ErrorBody(error=ErrorDetail(type="not_found_error", message="no"))
    assert body.model_dump(exclude_none=True) == {
        "type": "error",
        "error": {"type": "not_found_error", "message": "no"},
    }


def test_a_listing_wraps_its_data() -> None:
    assert Listing(data=[1, 2]).model_dump() == {"data": [1, 2]}


def test_a_verb_that_says_nothing_asks_for_nothing_special() -> None:
    body = ActionBody()
    assert (body.force, body.keep_assignment, body.exclude_previous, body.mode) == (False, False, False, None)


def test_the_details_of_a_proof_are_small() -> None:
    said = {"kind": "evals", "passed": True, "summary": "as good"}
    frame = len(b'{"notes":""}')
    largest = said | {"details": {"notes": "x" * (PROOF_BYTES - frame)}}
    assert ProofBody.model_validate(largest).proof().details == largest["details"]
    with pytest.raises(ValidationError, match="at most 65536 bytes"):
        ProofBody.model_validate(said | {"details": {"notes": "x" * (PROOF_BYTES - frame + 1)}})
    assert ProofBody.model_validate(said).proof() == Proof("evals", True, "as good")
