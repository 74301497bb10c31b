import socket

import pytest

from tests.support.loopback import is_loopback


@pytest.mark.parametrize(
    "address", ["/run/redis.sock", ("127.0.0.1", 80), ("127.8.0.1", 80), ("::1", 80, 0, 0)]
)
def test_this_machine_is_reachable(address: object) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address", [("192.0.2.1", 443), ("example.com", 443), ("2001:db8::1", 443, 0, 0), None]
)
def test_nothing_else_is(address: object) -> None:
    assert not is_loopback(address)


def test_connecting_elsewhere_is_refused_before_it_is_tried() -> None:
    with socket.socket() as connection, pytest.raises(PermissionError, match="loopback only"):
        connection.connect(("192.0.2.1", 443))
