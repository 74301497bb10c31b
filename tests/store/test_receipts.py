"""Ids that say where their request is booked, and cannot be made to say anything else."""

import base64
import re
from dataclasses import replace

import pytest

from gateway.core.booking import Place
from gateway.core.types import Arm
from gateway.errors import BadRequest
from gateway.store.receipts import AHEAD_S, VALID_S, Receipt, Receipts

SHORT = "gw_0123456789abcdef01234567"
UNIT = "AbCdEfGhIjKlMnOpQrStUw"
PLACE = Place(Arm.candidate, 3, 2, UNIT, True)
AT = 1_800_000_000.75
RECEIPTS = Receipts(b"the fleet's")


def sealed(place: Place = PLACE, *, migration: str = "m", counted: bool = True) -> str:
    return RECEIPTS.seal(SHORT, migration, place, counted=counted, at=AT)


def read(text: str, *, receipts: Receipts = RECEIPTS, now: float = AT + 60) -> Receipt:
    return receipts.read(text, migrations=("l", "m"), now=now)


@pytest.mark.parametrize(
    "place",
    [
        PLACE,
        replace(PLACE, arm=Arm.control),
        replace(PLACE, unit_key=None, enrolled=False),
        Place(Arm.control, 0, 0, None, False),
        replace(PLACE, run=70_000, entry=65_535),
    ],
)
@pytest.mark.parametrize("counted", [True, False])
def test_an_id_says_where_its_request_is_booked(place: Place, counted: bool) -> None:
    assert read(sealed(place, counted=counted)) == Receipt(SHORT, "m", place, counted)


def test_the_id_of_the_log_is_the_beginning_of_the_one_that_is_told() -> None:
    assert sealed().startswith(f"{SHORT}.")
    assert re.fullmatch(r"[\w.-]{88}", sealed(), re.ASCII), "safe in a header and in a URL"


def test_any_replica_of_the_fleet_reads_it() -> None:
    assert read(sealed(), receipts=Receipts(b"the fleet's")).place == PLACE


def test_an_id_without_a_seal_is_that_of_a_request_that_nothing_governs() -> None:
    assert read(SHORT) == Receipt(SHORT)


def test_a_migration_that_is_gone_is_not_mistaken_for_another() -> None:
    assert read(sealed(migration="gone")).migration == ""


@pytest.mark.parametrize("text", ["", "x", "gw_1", SHORT.upper(), f"{SHORT}.", f"{sealed()}A", f" {SHORT}"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="all of it"):
        read(text)


def test_no_bit_of_it_can_be_changed() -> None:
    told = sealed()
    seal = bytearray(base64.urlsafe_b64decode(told.partition(".")[2]))
    for at in range(len(seal)):
        changed = bytearray(seal)
        changed[at] ^= 1
        with pytest.raises(BadRequest, match=r"changed on its way|another key"):
            read(f"{SHORT}.{base64.urlsafe_b64encode(changed).decode()}")
    with pytest.raises(BadRequest, match="changed on its way"):
        read(told.replace("gw_0", "gw_1"))


def test_an_id_from_before_the_fleets_secret_was_known_is_told_apart() -> None:
    receipts = Receipts()
    told = receipts.seal(SHORT, "m", PLACE, counted=True, at=AT)
    assert read(told, receipts=receipts).place == PLACE
    receipts.renew(b"the fleet's")
    with pytest.raises(BadRequest, match="another key"):
        read(told, receipts=receipts)
    assert read(sealed(), receipts=receipts).place == PLACE


@pytest.mark.parametrize("after", [VALID_S, -AHEAD_S + 1])
def test_an_id_is_good_for_a_day(after: float) -> None:
    assert read(sealed(), now=int(AT) + after).place == PLACE


@pytest.mark.parametrize("after", [VALID_S + 1, -AHEAD_S - 1])
def test_an_id_is_not_good_for_longer(after: float) -> None:
    with pytest.raises(BadRequest, match="24 hours"):
        read(sealed(), now=int(AT) + after)
