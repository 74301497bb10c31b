"""The simulator's own endpoints, under /simulator: faults, the log of requests, counts.

They ask for no credential, so they answer to loopback peers only.

    GET | PUT | DELETE  /simulator/faults      {"faults": ["model=…,kind=…", …]}; PUT replaces them all
    GET | DELETE        /simulator/requests    ?since=<seq>&limit=<n>; see `journal`
    GET                 /simulator/stats       counts by requested model
"""

import ipaddress
from collections.abc import Callable
from urllib.parse import parse_qs

from gateway.core.types import parse_json
from gateway.errors import ConfigError
from gateway.simulator.exchange import Exchange
from gateway.simulator.faults import Fault, FaultPlan, parse_fault
from gateway.simulator.journal import Journal
from gateway.simulator.rules.case import ApiError, Json

PREFIX = "/simulator/"
MAX_BODY_BYTES = 1024 * 1024
DEFAULT_LIMIT = 2000

CheckFault = Callable[[Fault], None]
"""Raises ConfigError for a fault that can never strike, such as one of an unknown model."""


class Admin:
    """Shows and changes what the simulator is up to."""

    def __init__(self, plan: FaultPlan, journal: Journal, check_fault: CheckFault) -> None:
        self._plan = plan
        self._journal = journal
        self._check_fault = check_fault

    async def handle(self, exchange: Exchange) -> None:
        if not _is_local(exchange.peer):
            raise ApiError(403, "The simulator's own endpoints answer to loopback peers only")
        match exchange.method, exchange.path.removeprefix(PREFIX):
            case ("GET", "faults"):
                answer = self._faults()
            case ("PUT", "faults"):
                self._plan.replace(self._read_faults(await exchange.body(MAX_BODY_BYTES)))
                answer = self._faults()
            case ("DELETE", "faults"):
                self._plan.replace(())
                answer = self._faults()
            case ("GET", "requests"):
                since, limit = _number(exchange, "since", 0), _number(exchange, "limit", DEFAULT_LIMIT)
                answer = self._journal.since(since, limit)
            case ("DELETE", "requests"):
                self._journal.clear()
                answer = {"data": []}
            case ("GET", "stats"):
                answer = self._journal.stats()
            case (_, "faults" | "requests" | "stats"):
                raise ApiError(405, "Method Not Allowed")
            case _:
                raise ApiError(404, f"no such endpoint: {exchange.path}")
        await exchange.answer_json(answer)

    def _faults(self) -> Json:
        return {"faults": [fault.spec for fault in self._plan.faults]}

    def _read_faults(self, body: bytes) -> list[Fault]:
        try:
            given = parse_json(body)
            specs = given["faults"] if isinstance(given, dict) else given
            faults = [parse_fault(str(spec)) for spec in specs]
            for fault in faults:
                self._check_fault(fault)
        except ConfigError as error:
            raise ApiError(400, error.message) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ApiError(400, 'the body must be {"faults": ["kind=…", …]}') from error
        return faults


def _is_local(peer: str | None) -> bool:
    """Whether a peer is on this machine; one without an address came over a local socket."""
    if peer is None:
        return True
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _number(exchange: Exchange, name: str, default: int) -> int:
    value = parse_qs(exchange.query).get(name, [str(default)])[-1]
    if not value.isdecimal():
        raise ApiError(400, f"{name}: {value!r} is not a whole number, 0 or more")
    return int(value)
