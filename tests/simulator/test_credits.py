"""Fallback credits: given with a refusal, redeemed with the same words on another model."""

from typing import Any

import pytest

from gateway.simulator.credits import LIFE_S, offered, redeemed
from gateway.simulator.replies.refusals import declined
from gateway.simulator.replies.reply import Reply
from gateway.simulator.rules.case import ApiError
from tests.support.judged import HELLO, case_of

O55, O5, O48 = "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8"
BETA = "fallback-credit-2026-06-01"
OBJECTS = "fallback-credit-2026-07-01"
SAID = Reply([{"type": "text", "text": "Well, "}], "end_turn", 5)
ANSWER = Reply([{"type": "text", "text": "Yes."}], "end_turn", 5)
NOW = 1_800_000_000.0


def body(model: str = O55, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [HELLO], "system": "Be brief.", **fields}


def details(reply: Reply | None = None, *, account: str = "a", **fields: Any) -> dict[str, Any]:
    """What is told with a refusal."""
    case = case_of(body(**fields), betas=[BETA], account=account)
    return offered(case, reply or declined("bio"), NOW).stop_details or {}


def outcome(
    token: Any, *, model: str = O5, now: float = NOW, account: str = "a", workspace: str = "", **fields: Any
) -> str:
    """What becomes of a token: `redeemed`, the reason why not, or the message of the 400."""
    given = body(model, fallback_credit_token=token, **fields)
    case = case_of(given, betas=[BETA, OBJECTS], account=account, workspace=workspace)
    try:
        status = redeemed(case, ANSWER, now).usage["fallback_credit"]["status"]
    except ApiError as error:
        return error.message if error.status == 400 else str(error.status)
    assert status["type"] in ("redeemed", "not_applied")
    return str(status.get("reason", status["type"]))


def test_a_refusal_of_a_model_with_fallbacks_has_a_token_under_the_beta() -> None:
    told = details()
    assert isinstance(told["fallback_credit_token"], str)
    assert told["fallback_has_prefill_claim"] is False
    refusal = declined("bio")
    assert offered(case_of(body()), refusal, NOW) is refusal
    assert offered(case_of(body(O48), betas=[BETA]), refusal, NOW) is refusal
    assert offered(case_of(body(), betas=[BETA], batched=True), refusal, NOW) is refusal
    assert offered(case_of(body(), betas=[BETA]), ANSWER, NOW) is ANSWER


TOKEN = details()["fallback_credit_token"]


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({}, "redeemed"),
        ({"model": O48}, "redeemed"),
        ({"max_tokens": 7}, "redeemed"),
        ({"now": NOW + LIFE_S}, "redeemed"),
        ({"now": NOW + LIFE_S + 1}, "expired"),
        ({"account": "b"}, "wrong_organization"),
        ({"workspace": "w"}, "wrong_workspace"),
        ({"model": "claude-sonnet-5"}, "invalid_target_model"),
        ({"model": O55}, "invalid_target_model"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, "body_mismatch"),
        ({"system": "Be long."}, "body_mismatch"),
        ({"tools": [{"name": "t", "input_schema": {}}]}, "body_mismatch"),
        ({"thinking": {"type": "adaptive"}}, "body_mismatch"),
    ],
)
def test_a_token_is_redeemed_with_the_same_request_on_another_model(given: Any, result: str) -> None:
    said = outcome(TOKEN, **given)
    strict = f"fallback_credit_token: the token cannot be redeemed: {result}"
    assert said == (result if result == "redeemed" else strict)
    assert outcome({"token": TOKEN, "mode": "best_effort"}, **given) == result
    assert outcome({"token": TOKEN}, **given) == said


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("made up", "fallback_credit_token: the token is malformed"),
        ("e30=", "fallback_credit_token: the token is malformed"),
        ({"mode": "best_effort"}, "fallback_credit_token: the token is malformed"),
        (
            {"token": TOKEN, "mode": "kind"},
            "fallback_credit_token.mode: Input should be 'strict' or 'best_effort'",
        ),
        ({"token": TOKEN, "x": 1}, "fallback_credit_token.x: Extra inputs are not permitted"),
    ],
)
def test_a_malformed_token_is_an_error_always(token: Any, said: str) -> None:
    assert outcome(token) == said


def test_the_object_form_needs_the_newer_beta() -> None:
    case = case_of(body(O5, fallback_credit_token={"token": TOKEN}), betas=[BETA], account="a")
    with pytest.raises(ApiError, match="Input should be a valid string"):
        redeemed(case, ANSWER, NOW)


def test_what_was_said_may_be_continued() -> None:
    told = details(declined("cyber", SAID))
    assert told["fallback_has_prefill_claim"] is True
    token, turn = told["fallback_credit_token"], {"role": "assistant", "content": "Well,"}
    assert outcome(token, messages=[HELLO, turn]) == "redeemed"
    assert outcome(token) == "redeemed"
    other = {"role": "assistant", "content": "Bad,"}
    assert outcome(token, messages=[HELLO, other]).endswith("body_mismatch")
    assert outcome(TOKEN, messages=[HELLO, turn]).endswith("body_mismatch")


@pytest.mark.parametrize(
    "fields",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": {}}}},
        {"tools": [{"name": "t", "input_schema": {}}], "tool_choice": {"type": "any"}},
    ],
)
def test_forced_tools_and_formats_are_not_continued(fields: Any) -> None:
    assert details(declined("cyber", SAID), **fields)["fallback_has_prefill_claim"] is False


def test_batches_and_requests_without_a_token_are_left_alone() -> None:
    assert redeemed(case_of(body(O5)), ANSWER, NOW) is ANSWER
    batched = case_of(body(O5, fallback_credit_token="x"), batched=True)
    assert redeemed(batched, ANSWER, NOW) is ANSWER
