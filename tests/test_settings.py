"""The environment is read once, checked as a whole, and never repeated in a message."""

import os
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.settings import Settings


def settings(**env: str) -> Settings:
    return Settings.load({f"GATEWAY_{name}": value for name, value in env.items()})


def problems_of(**env: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings(**env)
    return caught.value.message.splitlines()


def test_nothing_set_is_a_gateway_on_this_machine() -> None:
    found = settings()
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 8080, 1)
    assert (found.config, found.data_dir) == (Path("config/gateway.yaml"), Path("data"))
    assert found.store_url.get_secret_value() == "sqlite:///data/gateway.db"
    assert (found.upstream_url, found.upstream_api_key, found.client_keys, found.admin_tokens) == (
        None,
        None,
        (),
        (),
    )
    assert found.public_url is None
    assert (found.log_level, found.log_format) == ("info", "json")
    assert (found.drain_grace_s, found.drain_timeout_s) == (0, 600)


def test_every_variable_finds_its_setting() -> None:
    found = settings(
        CONFIG="c.yaml",
        HOST="0.0.0.0",
        PORT="0",
        WORKERS="3",
        UPSTREAM_URL="https://upstream.example/api/",
        UPSTREAM_API_KEY="sk-up",
        PUBLIC_URL="https://llm.example/gateway/",
        CLIENT_KEYS="web:sk:1, mobile:sk-2,",
        STORE_URL="rediss://user:pw@redis:6379/0",
        ADMIN_TOKENS="viewer:t1,ann:operator:t2",
        DATA_DIR="/var/lib/gateway",
        DRAIN_GRACE_S="2.5",
        DRAIN_TIMEOUT_S="60",
        LOG_LEVEL="WARNING",
        LOG_FORMAT="Console",
    )
    assert (found.config, found.data_dir) == (Path("c.yaml"), Path("/var/lib/gateway"))
    assert (found.host, found.port, found.workers) == ("0.0.0.0", 0, 3)
    assert (found.drain_grace_s, found.drain_timeout_s) == (2.5, 60)
    assert found.upstream_url == "https://upstream.example/api"
    assert found.public_url == "https://llm.example/gateway"
    assert found.upstream_api_key is not None
    assert found.upstream_api_key.get_secret_value() == "sk-up"
    assert [(each.name, each.key.get_secret_value()) for each in found.client_keys] == [
        ("web", "sk:1"),
        ("mobile", "sk-2"),
    ]
    assert [(each.name, each.role, each.token.get_secret_value()) for each in found.admin_tokens] == [
        ("viewer", "viewer", "t1"),
        ("ann", "operator", "t2"),
    ]
    assert found.store_url.get_secret_value() == "rediss://user:pw@redis:6379/0"
    assert (found.log_level, found.log_format) == ("warning", "console")


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "9999")
    assert Settings.load().port == 9999
    assert Settings.load({}).port == 8080
    assert Settings.load({**os.environ, "GATEWAY_PORT": "1"}).port == 1


def test_an_empty_variable_counts_as_unset() -> None:
    assert settings(PORT="", UPSTREAM_API_KEY="", ADMIN_TOKENS="") == settings()


def test_blanks_around_a_value_do_not_count() -> None:
    found = settings(
        UPSTREAM_API_KEY=" sk-up\n",
        CLIENT_KEYS="web: k1 ,\n app :k2\n",
        ADMIN_TOKENS=" ann : admin : t1\r\n",
        UPSTREAM_URL="http://h/\n",
        PORT=" ",
    )
    assert found == settings(
        UPSTREAM_API_KEY="sk-up",
        CLIENT_KEYS="web:k1,app:k2",
        ADMIN_TOKENS="ann:admin:t1",
        UPSTREAM_URL="http://h",
    )


def test_variables_of_others_are_left_alone() -> None:
    assert settings(URL="http://x", ADMIN_TOKEN="t", SERVICE_HOST="10.0.0.1") == settings()


def test_the_link_that_kubernetes_sets_for_a_service_is_not_a_port() -> None:
    assert settings(PORT="tcp://10.3.2.1:8080").port == 8080


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings().port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("WORKERS", "0"),
        ("DRAIN_GRACE_S", "-1"),
        ("DRAIN_TIMEOUT_S", "inf"),
        ("UPSTREAM_URL", "upstream.example"),
        ("UPSTREAM_URL", "https://"),
        ("UPSTREAM_URL", "https://user:hunter2@upstream.example"),
        ("UPSTREAM_URL", "https://upstream.example?key=hunter2"),
        ("UPSTREAM_URL", "http://h:99999"),
        ("UPSTREAM_URL", "http://h:abc"),
        ("UPSTREAM_URL", "http://exa mple/x"),
        ("UPSTREAM_API_KEY", "sk-hunter2\nx-evil: 1"),
        ("UPSTREAM_API_KEY", "sk-hünter2"),
        ("CLIENT_KEYS", "web:hun\tter2"),
        ("CLIENT_KEYS", "web: ,"),
        ("ADMIN_TOKENS", "ann:admin:hun\x00ter2"),
        ("STORE_URL", "redis://:hunter2@store:notaport/0"),
        ("STORE_URL", "redis://:pa/hunter2@store:6379/0"),
        ("STORE_URL", "mysql://root:hunter2@db"),
        ("STORE_URL", "gateway.db"),
        ("STORE_URL", "sqlite:///"),
        ("CLIENT_KEYS", "hunter2"),
        ("CLIENT_KEYS", "web:"),
        ("CLIENT_KEYS", ":hunter2"),
        ("CLIENT_KEYS", "web:hunter2,web:hunter3"),
        ("CLIENT_KEYS", "web:hunter2,mobile:hunter2"),
        ("ADMIN_TOKENS", "hunter2"),
        ("ADMIN_TOKENS", "ann:hunter2"),
        ("ADMIN_TOKENS", "ann:boss:hunter2"),
        ("ADMIN_TOKENS", "ann:admin:hun:ter2"),
        ("ADMIN_TOKENS", ":admin:hunter2"),
        ("ADMIN_TOKENS", "viewer:hunter2,operator:hunter2"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_value_is_named_by_its_variable_and_not_repeated(name: str, value: str) -> None:
    (problem,) = problems_of(**{name: value})
    assert problem.startswith(f"GATEWAY_{name}: ")
    assert "hunter" not in problem


def test_every_problem_is_told_at_once() -> None:
    assert len(problems_of(PORT="x", WORKERS="0", LOG_LEVEL="loud")) == 3


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.example"])
def test_a_paying_gateway_must_know_its_callers(host: str) -> None:
    (problem,) = problems_of(UPSTREAM_API_KEY="sk-hunter2", HOST=host)
    assert "GATEWAY_CLIENT_KEYS" in problem
    assert "hunter" not in problem
    assert settings(UPSTREAM_API_KEY="sk-up", HOST=host, CLIENT_KEYS="web:k").host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_or_be_reachable_from_this_machine_alone(host: str) -> None:
    assert settings(UPSTREAM_API_KEY="sk-up", HOST=host).host == host


def test_no_credential_shows_in_a_repr() -> None:
    found = settings(
        UPSTREAM_API_KEY="hunter1",
        CLIENT_KEYS="web:hunter2",
        ADMIN_TOKENS="ann:admin:hunter3",
        STORE_URL="redis://:hunter4@h",
    )
    assert "hunter" not in f"{found!r} {found} {found.client_keys} {found.model_dump()}"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"HOST": "gw-1", "PORT": "81"}, "http://gw-1:81"),
        ({"HOST": "::1", "PORT": "81"}, "http://[::1]:81"),
        ({"HOST": "0.0.0.0"}, ""),
        ({"HOST": "::"}, ""),
        ({"PORT": "0"}, ""),
        ({"HOST": "0.0.0.0", "PUBLIC_URL": "https://gw.test/llm/"}, "https://gw.test/llm"),
    ],
)
def test_people_are_told_of_an_address_that_leads_somewhere(given: dict[str, str], found: str) -> None:
    assert settings(**given).own_url == found
