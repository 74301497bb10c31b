"""Who reads whose thinking: the reference's table, row by row."""

import pytest

from gateway.simulator.rules.bindings.readers import BINDING_ACCOUNT, CHECKING, STRIPPING, enforces, reads
from gateway.simulator.rules.switches import Platform, Switches
from tests.support.judged import catalogue

CURRENT = frozenset(row.id for row in catalogue().models if row.lifecycle.status != "retired")
O45, O46, O47, O48 = "claude-opus-4-5-20251101", "claude-opus-4-6", "claude-opus-4-7", "claude-opus-4-8"
O5, O55 = "claude-opus-5", "claude-opus-5-5"
S45, S46 = "claude-sonnet-4-5-20250929", "claude-sonnet-4-6"
S5, S55 = "claude-sonnet-5", "claude-sonnet-5-5"
H45, H55 = "claude-haiku-4-5-20251001", "claude-haiku-5-5"
F5, F51, F52 = "claude-fable-5", "claude-fable-5-1", "claude-fable-5-2"
M5, M51, M52, MP = "claude-mythos-5", "claude-mythos-5-1", "claude-mythos-5-2", "claude-mythos-preview"
FIRST = Switches()
EARLIER = {O45, O46, O47, O48, S45, S46, S5, H45}


@pytest.mark.parametrize(
    ("reader", "producers"),
    [
        (F52, {F52, M52, F51, M51, F5, M5, O55, S55, H55, O5} | EARLIER),
        (M52, {F52, M52, F51, M51, F5, M5, O55, S55, H55, O5} | EARLIER),
        (F51, {F51, M51, F5, M5, O55, O5} | EARLIER),
        (M51, {F51, M51, F5, M5, O55, O5} | EARLIER),
        (O55, {O55, O5, S55, H55} | EARLIER),
        (S55, {S55, H55} | EARLIER),
        (H55, {H55} | EARLIER),
        (O5, {O5} | EARLIER),
        (S5, EARLIER),
        (F5, {F5, M5} | EARLIER),
        (M5, {F5, M5} | EARLIER),
        (O48, EARLIER - {S5}),
        (O47, {O47, O46, O45, S46, S45, H45}),
        (H45, {H45, S45}),
        (S45, {S45}),
    ],
)
def test_each_model_reads_these(reader: str, producers: set[str]) -> None:
    assert {producer for producer in CURRENT if reads(reader, producer, FIRST)} == producers


def test_a_model_always_reads_itself() -> None:
    for model in (*CURRENT, "claude-unheard-of"):
        assert reads(model, model, Switches(older_read_own_only=True))
    assert not reads("claude-unheard-of", O45, FIRST)


def test_blocks_of_the_newest_are_read_by_no_older_model() -> None:
    for reader in (O5, S5, F5, M5, MP, O48, O47, O46, O45, S46, S45, H45):
        assert not any(reads(reader, producer, FIRST) for producer in CHECKING)


@pytest.mark.parametrize("platform", ["first_party", "vertex", "bedrock", "google", "aws", "foundry"])
def test_some_reading_is_known_from_the_vendor_and_vertex_only(platform: Platform) -> None:
    known = platform in ("first_party", "vertex")
    for reader, producer in ((O55, S55), (O55, H55), (S55, H55)):
        assert reads(reader, producer, Switches(platform=platform)) is known
    assert reads(F52, S55, Switches(platform=platform))
    assert reads(F51, O55, Switches(platform=platform)) is (platform == "first_party")
    assert reads(F51, O55, Switches(platform=platform, fable_5_1_reads_opus_5_5=True))


def test_older_models_may_be_taken_to_read_their_own_only() -> None:
    strict = Switches(older_read_own_only=True)
    assert not reads(O5, O48, strict)
    assert reads(F5, M5, strict)
    assert reads(O55, O48, strict)


@pytest.mark.parametrize(
    ("models", "always", "recent"),
    [
        ({F52, M52, M51}, True, True),
        ({F51, O55, S55, H55}, False, True),
        ({O5, S5, F5, M5, MP, O48}, False, False),
    ],
)
def test_who_enforces_an_unedited_history(models: set[str], always: bool, recent: bool) -> None:
    for model in models:
        assert enforces(model, FIRST, asked=False) is always
        assert enforces(model, FIRST, asked=True) is recent
        assert enforces(model, Switches(recent_account=True), asked=False) is recent
        assert (model in CHECKING) is recent


def test_who_binds_to_the_account_and_who_strips() -> None:
    assert {F52, M52, S55, H55} == BINDING_ACCOUNT
    assert {S45, H45} == STRIPPING & CURRENT
