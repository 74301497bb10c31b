"""Who leads holds the catalogue against the vendor's list, on a clock that is moved by hand."""

import logging
from collections.abc import Iterable
from typing import Any

import pytest

from gateway.compat.catalog import Catalogue
from gateway.compat.drift import Drift
from gateway.control.catalogue import AGAIN_S, RETRY_S, TOLD, CatalogueCheck, Live
from gateway.errors import ConnectFailed, GatewayError
from gateway.simulator.resources import model_object
from tests.support.clock import ManualClock
from tests.support.rows import O45, O55

GOOD: Live = [model_object(O55)]
MORE: Live = [{**model_object(O55), "max_tokens": 256_000}]
LARGER = Drift(O55.id, "max_output_tokens", "128000", "256000")


class Vendor:
    """What the vendor answers, what is shown of it, and who leads."""

    def __init__(self) -> None:
        self.clock = ManualClock(1000.0)
        self.catalogue = Catalogue([O55])
        self.answer: Live | GatewayError = GOOD
        self.asked = 0
        self.leads = True
        self.shown: list[tuple[list[str], list[Drift], float]] = []
        self.check = CatalogueCheck(
            self._ask,
            catalogue=lambda: self.catalogue,
            leads=lambda: self.leads,
            show=self._show,
            clock=self.clock,
        )

    async def _ask(self) -> Live:
        self.asked += 1
        if isinstance(self.answer, GatewayError):
            raise self.answer
        return self.answer

    def _show(self, ids: Iterable[str], drifts: Iterable[Drift], read_at: float) -> None:
        self.shown.append(([*ids], [*drifts], read_at))


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


def warnings(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.levelno == logging.WARNING]


async def test_who_leads_asks_at_the_start_and_once_a_day(vendor: Vendor) -> None:
    for _ in range(3):
        await vendor.check.tick()
    assert (vendor.asked, vendor.shown) == (1, [([O55.id], [], 1000.0)])
    vendor.clock.advance(AGAIN_S - 1)
    await vendor.check.tick()
    assert vendor.asked == 1
    vendor.clock.advance(1)
    vendor.answer = [*GOOD]
    await vendor.check.tick()
    assert (vendor.asked, vendor.shown[-1]) == (2, ([O55.id], [], 1000.0 + AGAIN_S))


async def test_nobody_else_asks_or_shows(vendor: Vendor) -> None:
    vendor.leads = False
    await vendor.check.tick()
    assert (vendor.asked, vendor.shown) == (0, [])


async def test_a_difference_is_shown_and_told_in_one_line(
    vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.answer = MORE
    for _ in range(3):
        await vendor.check.tick()
    assert vendor.shown == [([O55.id], [LARGER], 1000.0)]
    (line,) = warnings(caplog)
    assert line.differences == ["claude-opus-5-5: max_output_tokens: 128000 here, 256000 there"]


async def test_the_same_difference_is_not_told_again_the_next_day(
    vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    for answer in (MORE, [*MORE]):
        vendor.answer = answer
        await vendor.check.tick()
        vendor.clock.advance(AGAIN_S)
    assert (vendor.asked, len(vendor.shown), len(warnings(caplog))) == (2, 2, 1)


async def test_a_corrected_row_ends_the_alarm_at_once(vendor: Vendor) -> None:
    vendor.answer = [*GOOD, {"id": O45.id}]
    await vendor.check.tick()
    assert [drift.model for drift in vendor.shown[-1][1]] == [O45.id]
    vendor.catalogue = Catalogue([O55, O45])
    await vendor.check.tick()
    assert (vendor.asked, vendor.shown[-1]) == (1, ([O55.id, O45.id], [], 1000.0))


async def test_a_list_that_cannot_be_read_is_told_once_and_asked_for_again_within_the_hour(
    vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.answer = ConnectFailed("no connection to http://vendor")
    for _ in range(3):
        await vendor.check.tick()
        await vendor.check.tick()
        vendor.clock.advance(RETRY_S)
    assert (vendor.asked, vendor.shown) == (3, [])
    (line,) = warnings(caplog)
    assert line.problem == "no connection to http://vendor"
    vendor.answer = GOOD
    await vendor.check.tick()
    assert vendor.shown == [([O55.id], [], 1000.0 + 3 * RETRY_S)]


async def test_what_was_known_stays_while_the_list_cannot_be_read(vendor: Vendor) -> None:
    vendor.answer = MORE
    await vendor.check.tick()
    vendor.answer = ConnectFailed("away")
    vendor.clock.advance(AGAIN_S)
    await vendor.check.tick()
    assert (vendor.asked, vendor.shown) == (2, [([O55.id], [LARGER], 1000.0)])


async def test_who_leads_no_more_shows_nothing_and_who_leads_again_shows_what_it_knew(
    vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.answer = MORE
    await vendor.check.tick()
    vendor.leads = False
    for _ in range(2):
        await vendor.check.tick()
    assert vendor.shown[1:] == [([], [], 0.0)]
    vendor.leads = True
    await vendor.check.tick()
    assert (vendor.asked, vendor.shown[2:]) == (1, [([O55.id], [LARGER], 1000.0)])
    assert len(warnings(caplog)) == 1


async def test_a_line_in_the_log_does_not_grow_with_the_vendors_list(
    vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.answer = [*GOOD, *({"id": f"claude-{number:0500}"} for number in range(500))]
    await vendor.check.tick()
    (line,) = warnings(caplog)
    assert (line.count, len(line.differences)) == (500, TOLD)
    assert max(map(len, line.differences)) < 200
