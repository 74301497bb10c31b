"""Tokens, roles, and the way in while there are none."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.control import auth
from gateway.control.auth import Gatekeeper, Role, Token, local_token
from gateway.errors import Forbidden, Unauthenticated

ANN, BOB, EVE = (
    Token("ann", Role.admin, "s-ann"),
    Token("bob", Role.operator, "s-bob"),
    Token("eve", Role.viewer, "s-eve"),
)
GATEKEEPER = Gatekeeper([ANN, BOB, EVE])


def on_this_machine(data_dir: Path) -> Gatekeeper:
    return Gatekeeper([Token("local", Role.admin, local_token(data_dir))], loopback_only=True)


def bearer(token: Token) -> str:
    return f"Bearer {token.secret}"


def test_a_token_does_not_show_its_secret() -> None:
    assert "s-ann" not in repr(ANN)


# --- roles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "role", "let_in"),
    [
        (EVE, Role.viewer, True),
        (EVE, Role.operator, False),
        (BOB, Role.viewer, True),
        (BOB, Role.operator, True),
        (BOB, Role.admin, False),
        (ANN, Role.admin, True),
    ],
)
def test_a_role_includes_the_smaller_ones(token: Token, role: Role, let_in: bool) -> None:
    if let_in:
        assert GATEKEEPER.admit(bearer(token), "192.0.2.1", role) is token
    else:
        with pytest.raises(Forbidden, match=f"{token.name}.*{role.name}"):
            GATEKEEPER.admit(bearer(token), "192.0.2.1", role)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer s-anns", "Bearer s-an", "Basic s-ann", "s-ann"],
)
def test_nobody_comes_in_without_a_known_token(header: str | None) -> None:
    with pytest.raises(Unauthenticated) as refused:
        GATEKEEPER.admit(header, "127.0.0.1", Role.viewer)
    assert "s-ann" not in refused.value.message


def test_the_scheme_may_be_written_in_any_case() -> None:
    assert GATEKEEPER.admit("bearer  s-ann ", None, Role.viewer) is ANN


def test_a_token_of_any_bytes_is_compared_rather_than_refused() -> None:
    with pytest.raises(Unauthenticated):
        GATEKEEPER.admit("Bearer \xff\udcff", None, Role.viewer)


def test_nobody_comes_in_where_no_token_is_known() -> None:
    with pytest.raises(Unauthenticated):
        Gatekeeper([]).admit("Bearer ", "127.0.0.1", Role.viewer)


@pytest.mark.parametrize(("token", "name"), [(ANN, "ann"), (BOB, "bob"), (EVE, None)])
def test_an_operator_is_known_by_name_to_the_data_path(token: Token, name: str | None) -> None:
    assert GATEKEEPER.operator_named(token.secret) == name


@pytest.mark.parametrize("secret", ["", "wrong"])
def test_nobody_else_is_an_operator(secret: str) -> None:
    assert GATEKEEPER.operator_named(secret) is None


# --- without configured tokens ------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_without_tokens_peers_on_this_machine_use_its_own(tmp_path: Path, peer: str) -> None:
    gatekeeper = on_this_machine(tmp_path)
    token = gatekeeper.admit(f"Bearer {local_token(tmp_path)}", peer, Role.admin)
    assert (token.name, token.role) == ("local", Role.admin)


@pytest.mark.parametrize("peer", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "testclient", "", None])
def test_without_tokens_nobody_else_comes_in(tmp_path: Path, peer: str | None) -> None:
    gatekeeper = on_this_machine(tmp_path)
    with pytest.raises(Forbidden, match="GATEWAY_ADMIN_TOKENS"):
        gatekeeper.admit(f"Bearer {local_token(tmp_path)}", peer, Role.viewer)


def test_without_tokens_it_is_still_not_open(tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated):
        on_this_machine(tmp_path).admit(None, "127.0.0.1", Role.viewer)


def test_the_local_token_is_for_its_owner_only_and_stays(tmp_path: Path) -> None:
    token = local_token(tmp_path / "data")
    file = tmp_path / "data" / auth.FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == token
    assert len(token) >= 32
    assert local_token(tmp_path / "data") == token


def test_a_local_token_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / auth.FILE
    file.write_text("by-hand\n")
    os.chmod(file, 0o644)
    assert local_token(tmp_path) == "by-hand"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_empty_file_is_no_token(tmp_path: Path) -> None:
    (tmp_path / auth.FILE).write_text("\n")
    assert local_token(tmp_path)
    assert (tmp_path / auth.FILE).read_text().strip()


def test_several_workers_agree_on_one_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as workers:
        tokens = list(workers.map(lambda _: local_token(tmp_path), range(16)))
    assert len(set(tokens)) == 1
