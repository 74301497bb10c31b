"""An address that cannot work is refused before anything is sent, and never repeats what it held."""

import pytest

from gateway.core.address import shown, store_address, upstream_address


@pytest.mark.parametrize(
    "text",
    [
        "https://api.anthropic.com",
        "http://127.0.0.1:8090",
        "http://[::1]:8090/api",
        "http://my_service.namespace.svc.cluster.local.:80/a/b",
    ],
)
def test_a_plain_http_address_is_an_upstream(text: str) -> None:
    assert upstream_address(text) == text
    assert upstream_address(f"{text}/") == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "upstream.example",
        "ftp://h",
        "https://",
        "https://:443",
        "http://h:99999",
        "http://h:0",
        "http://h:-1",
        "http://h:abc",
        "http://h:80:80",
        "http://exa mple/x",
        "http://h/a\nb",
        "http://h\x00",
        "http://hö.example",
        "http://a..b",
        f"http://{'a' * 64}",
        "http://[::1",
        "http://user@h",
        "http://@h",
        "http://h?key=1",
        "http://h#part",
        "http://h?",
    ],
)
def test_what_no_request_can_be_sent_to_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="should be http:// or https://"):
        upstream_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///data/gateway.db",
        "sqlite:////var/lib/a b.db",
        "redis://store",
        "redis://store:6379/0",
        "rediss://user:p%2Fw@store:6379/2?socket_timeout=1",
        "redis://:p@ss@store/",
        "redis://[::1]:6379",
    ],
)
def test_a_store_is_a_file_or_a_redis(text: str) -> None:
    assert store_address(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "gateway.db",
        "mysql://root:hunter2@db",
        "sqlite:///",
        "sqlite://hunter2.db",
        "sqlite:///:memory:",
        "redis://",
        "redis:///0",
        "redis://store:notaport",
        "redis://store:99999",
        "redis://store/hunter2",
        "redis://:hun/ter2@store:6379/0",
        "redis://:1/hunter2@store:6379/0",
        "redis://:hun?ter2@store:6379/0",
        "redis://store/0?password=hun@ter2",
        "redis://:hun#ter2@store:6379/0",
        "redis://:hun ter2@store:6379/0",
        "redis://[hunter2@store",
    ],
)
def test_what_is_no_store_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(should be|sqlite:/// needs) ") as caught:
        store_address(text)
    assert not [part for part in ("hun", "ter2") if part in str(caught.value)]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("sqlite:///data/gateway.db", "sqlite:///data/gateway.db"),
        ("redis://store:6379/0", "redis://store:6379/0"),
        ("redis://hunter2@store:6379/0", "redis://store:6379/0"),
        ("redis://:hun@ter2@[::1]/0", "redis://[::1]/0"),
        ("rediss://user:hunter2@store?password=hunter3", "rediss://store"),
    ],
)
def test_an_address_is_shown_without_its_credentials(text: str, seen: str) -> None:
    assert shown(store_address(text)) == seen
