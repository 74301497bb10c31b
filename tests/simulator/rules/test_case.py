import gzip
import zlib
from typing import Any

import pytest

from gateway.simulator.rules.case import (
    ApiError,
    account_of,
    check_head,
    end_user_of,
    find_model,
    read_body,
    whole_numbers,
)
from gateway.simulator.rules.switches import Switches
from tests.support.judged import case_of, catalogue

KEY = {"x-api-key": "k"}
GOOD = {**KEY, "anthropic-version": "2023-06-01"}


def head_error(headers: dict[str, str]) -> tuple[int, str, str]:
    with pytest.raises(ApiError) as caught:
        check_head(headers, Switches())
    return caught.value.status, caught.value.kind, caught.value.message


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"authorization": "Basic a"}])
def test_a_credential_comes_first(headers: dict[str, str]) -> None:
    assert head_error(headers) == (401, "authentication_error", "x-api-key header is required")


@pytest.mark.parametrize("credential", [KEY, {"authorization": "Bearer k"}, {"authorization": "bearer k"}])
def test_either_credential_passes(credential: dict[str, str]) -> None:
    head = check_head({**credential, "anthropic-version": "2023-06-01"}, Switches())
    assert (head.version, head.betas) == ("2023-06-01", frozenset())
    assert head.account == account_of(KEY)


def test_every_key_is_an_organisation_of_its_own() -> None:
    assert account_of({"x-api-key": "a"}) == account_of({"authorization": "Bearer a"})
    assert account_of({"x-api-key": "a"}) != account_of({"x-api-key": "b"})


@pytest.mark.parametrize(("switch", "found"), [("profile", "p1"), ("metadata", "u1")])
def test_the_end_user_stands_in_one_of_two_places(switch: Any, found: str) -> None:
    body = {"metadata": {"user_id": "u1"}}
    assert end_user_of(body, "p1", Switches(end_user=switch)) == found
    assert end_user_of({"metadata": None}, "", Switches(end_user=switch)) == ""


def test_a_rule_may_have_an_error_code() -> None:
    error = ApiError(400, "no", error_code="thread_not_found", details={"unsupported": ["thinking"]})
    assert error.error["details"] == {"error_code": "thread_not_found", "unsupported": ["thinking"]}
    assert "details" not in ApiError(400, "no").error


def test_what_is_asked_twice_is_worked_out_once() -> None:
    case, asked = case_of({"model": "claude-opus-5"}), iter([1, 2])
    assert [case.once("n", lambda: next(asked)) for _ in range(2)] == [1, 1]


def test_the_version_is_required_and_known() -> None:
    assert head_error(KEY) == (400, "invalid_request_error", "anthropic-version: header is required")
    said = head_error({**KEY, "anthropic-version": "2031-01-01"})
    assert said == (400, "invalid_request_error", 'anthropic-version: "2031-01-01" is not a valid version')


def test_betas_are_a_list_of_known_values() -> None:
    betas = "oauth-2025-04-20, compact-2026-09-04,"
    assert check_head({**GOOD, "anthropic-beta": betas}, Switches()).betas == {
        "oauth-2025-04-20",
        "compact-2026-09-04",
    }
    _, _, message = head_error({**GOOD, "anthropic-beta": "oauth-2025-04-20,made-up-2026-01-01"})
    assert message == "Unexpected value(s) `made-up-2026-01-01` for the `anthropic-beta` header."
    lenient = Switches(known_betas_only=False)
    assert check_head({**GOOD, "anthropic-beta": "made-up"}, lenient).betas == {"made-up"}


def body_error(data: bytes, encoding: str = "", limit: int = 1000) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read_body(data, encoding, limit=limit)
    return caught.value


def test_a_body_is_a_json_object() -> None:
    assert read_body(b' {"a": [1.50]} ', "") == {"a": [1.5]}
    assert body_error(b"{").message.startswith("The request body is not valid JSON: ")
    assert body_error(b"[]").message == "The request body must be a JSON object"
    assert "secret" not in body_error(b'{"secret": oops}').message


@pytest.mark.parametrize(("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_decoded_within_limits(encoding: str, encode: Any) -> None:
    assert read_body(encode(b'{"a": 1}'), encoding.upper()) == {"a": 1}
    bomb = body_error(encode(b" " * 5000), encoding)
    assert (bomb.status, bomb.error_code) == (413, "request_body_too_large_after_decoding")
    for broken in (b"nonsense", encode(b'{"a": 1}')[:-3]):
        assert body_error(broken, encoding).error_code == "request_body_encoding_invalid"


def test_another_encoding_is_refused() -> None:
    assert body_error(b"", "br").error == {
        "type": "invalid_request_error",
        "message": "Content-Encoding br is not supported",
        "details": {"error_code": "request_body_encoding_unsupported"},
    }


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 400, "model: Field required"),
        ({"model": 5}, 400, "model: Input should be a valid string"),
        ({"model": "claude-opus-9"}, 404, "model: claude-opus-9"),
        ({"model": "claude-opus-5-5-20260101"}, 404, "model: claude-opus-5-5-20260101"),
        ({"model": "claude-3-opus-20240229"}, 404, "model: claude-3-opus-20240229"),
    ],
)
def test_unknown_and_retired_models_look_the_same(body: dict[str, Any], status: int, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        find_model(body, catalogue(), Switches())
    assert (caught.value.status, caught.value.message) == (status, message)


def test_models_for_verified_organisations_exist_only_there() -> None:
    body = {"model": "claude-mythos-5-2"}
    assert find_model(body, catalogue(), Switches()).id == "claude-mythos-5-2"
    with pytest.raises(ApiError, match=r"^model: claude-mythos-5-2$"):
        find_model(body, catalogue(), Switches(verified_organisation=False))


def test_an_alias_means_its_row() -> None:
    assert find_model({"model": "claude-opus-4-5"}, catalogue(), Switches()).id == "claude-opus-4-5-20251101"


@pytest.mark.parametrize(
    ("model", "thinking", "thinks"),
    [
        ("claude-opus-4-8", None, False),
        ("claude-opus-5", None, True),
        ("claude-opus-5-5", None, True),
        ("claude-haiku-5-5", {"type": "disabled"}, False),
        ("claude-sonnet-5-5", {"type": "between_tools"}, False),
        ("claude-opus-4-8", {"type": "adaptive"}, True),
        ("claude-opus-4-5", {"type": "enabled", "budget_tokens": 1024}, True),
    ],
)
def test_whether_a_request_thinks(model: str, thinking: Any, thinks: bool) -> None:
    assert case_of({"model": model, "thinking": thinking}).thinks is thinks


@pytest.mark.parametrize(
    ("sent", "meant"), [("100", 100), ("100.0", 100), ("1e2", 100), ("99.5", 99.5), ('"1"', "1")]
)
def test_an_integer_may_be_spelled_as_any_number(sent: str, meant: Any) -> None:
    read = read_body(f'{{"max_tokens": {sent}, "thinking": {{"budget_tokens": {sent}}}}}'.encode(), "")
    evened = whole_numbers(read)
    assert (evened["max_tokens"], evened["thinking"]["budget_tokens"]) == (meant, meant)
    assert type(evened["max_tokens"]) is type(meant)


def test_the_effort_in_force() -> None:
    assert case_of({"model": "claude-opus-5-5"}).effort == "medium"
    assert case_of({"model": "claude-opus-5"}).effort == "high"
    assert case_of({"model": "claude-haiku-4-5"}).effort is None
    assert case_of({"model": "claude-opus-5-5", "output_config": {"effort": "max"}}).effort == "max"
