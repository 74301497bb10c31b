"""The keys of one migration share a slot, and no two meanings share a key."""

import re

import pytest

from gateway.core.types import Arm
from gateway.store.backends import keys

OF_A_MIGRATION = [
    keys.state("m"),
    keys.events("m"),
    keys.pin("m", "state"),
    keys.note("m", "state"),
    keys.enrolled("m", 1, Arm.control),
    keys.enrolled("m", 1, Arm.candidate),
    keys.enrolled("m", 11, Arm.control),
    keys.claims("m", 1),
    keys.claims("m", 11),
    keys.tally("m", "1"),
    keys.tally("m", "1.1"),
    keys.documents("m"),
    keys.document("m", "evidence"),
    keys.counting("m"),
    keys.counts("m", "replica"),
]
OF_THE_FLEET = [
    keys.MIGRATIONS,
    keys.REPLICAS,
    keys.replica("replica"),
    keys.LEASE,
    keys.EPOCH,
    keys.SECRET,
    keys.CHANGED,
]


@pytest.mark.parametrize(("group", "tag"), [(OF_A_MIGRATION, "m"), (OF_THE_FLEET, "@fleet")])
def test_keys_that_are_written_together_share_a_hash_tag(group: list[str], tag: str) -> None:
    assert {key: re.findall(r"\{(.*?)\}", key) for key in group} == {key: [tag] for key in group}


def test_no_two_meanings_share_a_key() -> None:
    everything = [*OF_A_MIGRATION, *OF_THE_FLEET]
    assert len(set(everything)) == len(everything)


def test_no_two_first_failures_share_a_field() -> None:
    pairs = [
        ("a", "b:c"),
        ("a:b", "c"),
        ("", "a:b:c"),
        ("1:a", "b"),
        ("check:json", "u"),
        ("check", "json:u"),
    ]
    assert len({keys.claimed(*pair) for pair in pairs}) == len(pairs)


def test_migrations_share_no_key() -> None:
    assert keys.state("m") != keys.state("n")
    assert not {keys.state("@fleet"), keys.events("@fleet"), keys.counting("@fleet")} & set(OF_THE_FLEET)
