"""Bodies are strict, and a list that is left out stays."""

import pytest
from pydantic import ValidationError

from gateway.control.schemas import ActionBody, ErrorBody, ErrorDetail, Listing, ListsBody, WeightBody
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
