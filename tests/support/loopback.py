"""Tests talk to this machine only: any other connection is refused before it is tried.

An audit hook sees what the standard library's sockets do, without patching anything. It cannot be removed
again, which is what a guard should be like.
"""

import ipaddress
import sys


def is_loopback(address: object) -> bool:
    """Whether a socket address is on this machine: a path, or a loopback host."""
    match address:
        case str() | bytes():
            return True
        case (str() as host, *_):
            return host == "localhost" or _is_loopback_ip(host)
        case _:
            return False


def forbid_other_hosts() -> None:
    """From here on, connecting elsewhere raises."""
    sys.addaudithook(_refuse_other_hosts)


def _refuse_other_hosts(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.connect" and not is_loopback(args[1]):
        raise PermissionError(f"tests talk to loopback only, not to {args[1]!r}")


def _is_loopback_ip(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
