"""The ladder from an explicit header down to the API key."""

import pytest

from gateway.core.spec import UNIT_LADDER
from gateway.core.types import Unit
from gateway.core.units import Identity, find_unit, identify

EVERYTHING = Identity("h", "u", "s", "c", "k")


def named(metadata_user: str, session_header: str = "") -> Identity:
    return identify(
        header="", metadata_user=metadata_user, session_header=session_header, conversation="c", api_key="k"
    )


@pytest.mark.parametrize(
    ("identity", "unit"),
    [
        (EVERYTHING, Unit("header", "h")),
        (Identity("", "u", "s", "c", "k"), Unit("user", "u")),
        (Identity("", "", "s", "c", "k"), Unit("session", "s")),
        (Identity("", "", "", "c", "k"), Unit("conversation", "c")),
        (Identity("", "", "", "", "k"), Unit("api_key", "k")),
        (Identity(), None),
    ],
)
def test_the_first_rung_that_is_present_wins(identity: Identity, unit: Unit | None) -> None:
    assert find_unit(identity, UNIT_LADDER) == unit


def test_the_order_of_the_rungs_is_the_operators() -> None:
    assert find_unit(EVERYTHING, ("session", "header")) == Unit("session", "s")


def test_a_rung_that_is_switched_off_is_not_stood_on() -> None:
    assert find_unit(Identity(api_key="k"), ("header", "user")) is None


@pytest.mark.parametrize(
    ("metadata_user", "user", "session"),
    [
        ("alice", "alice", ""),
        ('{"account_uuid": "acc", "device_id": "dev", "session_id": "ses"}', "acc", "ses"),
        ('{"account_uuid": "", "device_id": "dev", "session_id": "ses"}', "dev", "ses"),
        ('{"session_id": "ses"}', "", "ses"),
        ('{"account_uuid": 7, "device_id": null}', '{"account_uuid": 7, "device_id": null}', ""),
        ("{not json", "{not json", ""),
        ("{}", "{}", ""),
        ("", "", ""),
    ],
)
def test_the_json_of_claude_code_is_taken_apart(metadata_user: str, user: str, session: str) -> None:
    identity = named(metadata_user)
    assert (identity.user, identity.session) == (user, session)


def test_the_session_header_beats_the_session_in_the_metadata() -> None:
    assert named('{"account_uuid": "a", "session_id": "inner"}', "outer").session == "outer"
