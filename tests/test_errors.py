"""The error tree is the one that its docstring draws."""

import inspect
import re

import pytest

from gateway import errors

KINDS = {
    "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "conflict_error",
    "request_too_large", "overloaded_error", "timeout_error", "api_error",
}  # fmt: skip
CLASSES = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, errors.GatewayError)
}
DRAWN = re.findall(r"^[ │]*(?:[├└]── )?(\w+) +(\d{3}|exit)", errors.__doc__ or "", re.MULTILINE)


def test_every_class_is_drawn_and_every_drawn_class_is_there() -> None:
    assert {name for name, _ in DRAWN} == set(CLASSES)


@pytest.mark.parametrize(("name", "status"), [(name, status) for name, status in DRAWN if status.isdigit()])
def test_a_class_has_the_status_that_is_drawn(name: str, status: str) -> None:
    assert CLASSES[name].status == int(status)


@pytest.mark.parametrize("cls", CLASSES.values(), ids=str)
def test_a_class_has_a_kind_of_the_closed_set(cls: type[errors.GatewayError]) -> None:
    assert cls.kind in KINDS


def test_an_error_says_its_message_and_nothing_else() -> None:
    error = errors.NotFound("no migration 'x'; there are: m")
    assert (str(error), error.message) == ("no migration 'x'; there are: m",) * 2


@pytest.mark.parametrize("cls", CLASSES.values(), ids=str)
def test_only_what_may_pass_by_itself_is_retryable(cls: type[errors.GatewayError]) -> None:
    assert cls.retryable is issubclass(cls, (errors.Unavailable, errors.UpstreamError))
