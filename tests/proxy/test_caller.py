"""The names that a request goes by, and which of two credentials a caller meant."""

import json
from typing import Any

import pytest

from gateway.compat.envelope import Envelope, parse
from gateway.proxy.caller import Caller
from tests.support.plane import body, in_front_of, message
from tests.support.scripted import answer, replying

FINE = replying(answer(message()))
CALLER = Caller(key_name="k", unit="u", session="s", task="", forced=None)


def envelope(**fields: Any) -> Envelope:
    return parse(body(metadata={"user_id": "alice"}, **fields))


def test_a_governed_request_goes_by_every_name_that_it_has() -> None:
    asked = envelope()
    identity = CALLER.identity(asked, governed=True)
    assert (identity.header, identity.user, identity.session, identity.api_key) == ("u", "alice", "s", "k")
    assert identity.conversation == asked.fingerprint


def test_of_a_request_that_nobody_governs_the_conversation_is_not_even_read() -> None:
    asked = envelope()
    assert CALLER.identity(asked, governed=False).conversation == ""
    assert "fingerprint" not in vars(asked)
    assert "turns" not in vars(asked)


def test_the_next_turn_of_a_thread_does_not_show_its_conversation() -> None:
    asked = envelope(thread={"type": "continue", "previous_message_id": "msg_1"})
    assert CALLER.identity(asked, governed=True).conversation == ""
    assert CALLER.identity(envelope(thread={"type": "create"}), governed=True).conversation


LOGIN = {"anthropic-beta": "files-api-2025-04-14, oauth-2025-04-20"}


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models"])
@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({"x-api-key": "a"}, [(b"x-api-key", b"a")]),
        ({"authorization": "Bearer b"}, [(b"authorization", b"Bearer b")]),
        ({"x-api-key": "a", "authorization": "Bearer b"}, [(b"x-api-key", b"a")]),
        ({"authorization": "Bearer b", "x-api-key": "a"}, [(b"x-api-key", b"a")]),
        ({"x-api-key": "a", "authorization": "Bearer b", **LOGIN}, [(b"authorization", b"Bearer b")]),
        ({"x-api-key": "a", "authorization": "Basic b", **LOGIN}, [(b"x-api-key", b"a")]),
        ({"x-api-key": " ", "authorization": "Bearer b"}, [(b"authorization", b"Bearer b")]),
        ({"authorization": "Basic b"}, [(b"authorization", b"Basic b")]),
        ({}, []),
    ],
)
async def test_exactly_one_credential_goes_on(
    path: str, headers: dict[str, str], sent: list[tuple[bytes, bytes]]
) -> None:
    async with in_front_of(FINE) as process:
        await process.call(body(), path=path, headers=headers).answer()
        arrived = process.upstream.requests[0].headers
        assert [pair for pair in arrived if pair[0] in (b"x-api-key", b"authorization")] == sent


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-api-key": "ours", "authorization": "Bearer else"}, 200),
        ({"x-api-key": "else", "authorization": "Bearer ours"}, 401),
        ({"x-api-key": "else", "authorization": "Bearer ours", **LOGIN}, 200),
    ],
)
async def test_the_key_that_would_go_on_is_the_one_that_is_checked(
    headers: dict[str, str], status: int
) -> None:
    keys: dict[str, Any] = {"client_keys": {"ours": "team"}}
    async with in_front_of(FINE, **keys) as process:
        heard = await process.call(body(), headers=headers).answer()
        assert heard.status == status
        assert json.loads(heard.body)
