"""Whatever goes wrong on the way to a gateway is one line that says what to do, and exit code 2."""

import socket
import threading
from pathlib import Path

import pytest

from gateway.cli.admin import find_token, is_loopback
from tests.support.admin_api import NAME, TOKEN, AdminApi, error, status
from tests.support.command import Ran, run


def assert_one_line(ran: Ran, *parts: str) -> None:
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    for part in ("gateway: ", *parts):
        assert part in ran.err


def test_where_no_gateway_answers_one_reads_how_to_start_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert_one_line(run("migration", "list", "--url", url), url, "gateway serve", "GATEWAY_URL")


def test_an_address_that_is_none_is_named() -> None:
    assert_one_line(run("migration", "list", "--url", "127.0.0.1:8080"), "127.0.0.1:8080")


def test_a_wrong_token_is_named_by_its_origin_and_never_shown(api: AdminApi) -> None:
    ran = run("migration", "list", env={"GATEWAY_ADMIN_TOKEN": "wrong-secret"})
    assert_one_line(ran, "GATEWAY_ADMIN_TOKEN", "does not know")
    assert "wrong-secret" not in ran.err


def test_without_a_token_one_reads_where_to_get_it(api: AdminApi, tmp_path: Path) -> None:
    ran = run("migration", "list", env={"GATEWAY_ADMIN_TOKEN": "", "GATEWAY_DATA_DIR": str(tmp_path)})
    assert_one_line(ran, "GATEWAY_ADMIN_TOKEN", str(tmp_path / "admin-token"))


def test_the_file_that_serve_left_is_a_token_too(api: AdminApi, tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_text(f"{TOKEN}\n")
    ran = run("migration", "list", env={"GATEWAY_ADMIN_TOKEN": "", "GATEWAY_DATA_DIR": str(tmp_path)})
    assert (ran.code, NAME in ran.out) == (0, True)


def test_the_file_is_not_sent_to_another_machine(tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_text(TOKEN)
    environ = {"GATEWAY_DATA_DIR": str(tmp_path)}
    assert find_token("http://gateway.example", environ) is None
    assert find_token("http://127.0.0.1:8080", environ) is not None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", True),
        ("http://localhost", True),
        ("http://[::1]:80", True),
        ("http://127.0.0.1.example.com", False),
        ("http://10.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_loopback_is_recognised_by_address(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (403, "viewer may not do this"),
        (404, "no migration 'opus'"),
        (409, "advance is not possible while migration 'x' is draft; possible: start"),
        (422, "percent: input should be a number"),
        (503, "the store does not answer"),
        (500, "something broke"),
    ],
)
def test_a_refusal_is_told_in_the_gateways_words(api: AdminApi, code: int, message: str) -> None:
    api.script(f"POST /admin/migrations/{NAME}/actions/advance", error(message), status=code)
    assert_one_line(run("migration", "advance", NAME), message)


def test_something_else_on_the_port_is_recognised(api: AdminApi) -> None:
    api.script("GET /admin/migrations", b"<html>It works!</html>")
    assert_one_line(run("migration", "list"), api.url, "not a gateway")


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        (200, {}),
        (200, {"ok": True}),
        (200, [1, 2]),
        (200, error("an error that succeeded")),
        (401, {"detail": "who are you?"}),
        (401, {**error("x-api-key header is required", "authentication_error"), "request_id": "req_1"}),
        (404, {**error("Not found", "not_found_error"), "request_id": "req_1"}),
        (404, {"error": "gone"}),
    ],
)
def test_an_answer_of_another_kind_is_not_taken_for_a_gateways(
    api: AdminApi, code: int, answer: object
) -> None:
    api.script("GET /admin/migrations", answer, status=code)
    assert_one_line(run("migration", "list"), f"{api.url} is not a gateway's admin API (HTTP {code})")


def test_what_does_not_speak_http_is_recognised() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        ran = run("migration", "list", "--url", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert_one_line(ran, "is not a gateway's admin API")


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "http://127.0.0.1:abc"])
def test_an_address_that_cannot_be_is_one_line(url: str) -> None:
    assert_one_line(run("migration", "list", "--url", url), url)


def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(api: AdminApi) -> None:
    ran = run("migration", "list", env={"GATEWAY_ADMIN_TOKEN": "hunter2\nx: y"})
    assert_one_line(ran, "GATEWAY_ADMIN_TOKEN")
    assert "hunter2" not in ran.err


def test_a_refusal_cannot_steer_the_terminal(api: AdminApi) -> None:
    message = "no \x1b[2J\x9b31m\u202emigration"
    api.script(f"POST /admin/migrations/{NAME}/actions/advance", error(message), status=404)
    assert run("migration", "advance", NAME).err == "gateway: no  [2J 31m migration\n"


def test_the_name_may_be_left_out_where_there_is_one_migration(api: AdminApi) -> None:
    api.script(f"GET /admin/migrations/{NAME}", status())
    assert run("migration", "status").first_line.startswith(f"{NAME}: running")


def test_of_several_migrations_one_must_be_named(api: AdminApi) -> None:
    api.script("GET /admin/migrations", {"data": [status(), status(name="haiku")]})
    assert_one_line(run("migration", "status"), NAME, "haiku")


def test_without_any_migration_one_reads_where_they_are_written(api: AdminApi) -> None:
    api.script("GET /admin/migrations", {"data": []})
    assert_one_line(run("migration", "status"), "config/migrations/")


def test_a_name_cannot_lead_to_another_path(api: AdminApi) -> None:
    assert run("migration", "status", "../replicas").code == 2
    assert api.last.path == "/admin/migrations/..%2Freplicas"
