"""Who reads whose thinking, who keeps a record of the conversation, who binds to an account (§6.1, §6.2).

A model always reads its own blocks. A model that stands in no list is a stranger: it reads its own only.
"""

from collections.abc import Mapping

from gateway.simulator.rules.lineup import (
    BY_AGE,
    COVERED_5,
    COVERED_5_1,
    FABLE_5,
    FABLE_5_1,
    HAIKU_5_5,
    MYTHOS_5,
    MYTHOS_5_1,
    MYTHOS_PREVIEW,
    NEWEST,
    NEWEST_COVERED,
    OPUS_5,
    OPUS_5_5,
    SONNET_5,
    SONNET_5_5,
)
from gateway.simulator.rules.switches import Switches

ALWAYS_CHECKING = NEWEST_COVERED | {MYTHOS_5_1}
"""They refuse an edited history on every account."""
CHECKING_RECENT = NEWEST | {FABLE_5_1}
"""They do so on accounts from 2026-08-31 on, and where the request asks for it."""
CHECKING = ALWAYS_CHECKING | CHECKING_RECENT
"""They keep a record of the conversation in their blocks, and look at the records of others'."""
BINDING_ACCOUNT = NEWEST_COVERED | {SONNET_5_5, HAIKU_5_5}
STRIPPING = frozenset(BY_AGE[: BY_AGE.index("claude-haiku-4-5-20251001") + 1])
"""They see no thinking of turns before the user's last question."""

_OLDER = frozenset(BY_AGE)
_UP_TO_4_8 = _OLDER - {SONNET_5}

READS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(NEWEST_COVERED, NEWEST_COVERED | COVERED_5_1 | COVERED_5 | NEWEST | {OPUS_5} | _OLDER),
    **dict.fromkeys(COVERED_5_1, COVERED_5_1 | COVERED_5 | {OPUS_5_5, OPUS_5} | _OLDER),
    OPUS_5_5: frozenset({OPUS_5_5, OPUS_5, SONNET_5_5, HAIKU_5_5}) | _OLDER,
    SONNET_5_5: frozenset({SONNET_5_5, HAIKU_5_5}) | _OLDER,
    HAIKU_5_5: frozenset({HAIKU_5_5}) | _OLDER,
    OPUS_5: frozenset({OPUS_5}) | _OLDER,
    **dict.fromkeys(COVERED_5, COVERED_5 | _OLDER),
    MYTHOS_PREVIEW: _UP_TO_4_8 | {MYTHOS_PREVIEW},
    **{name: frozenset(BY_AGE[: age + 1]) for age, name in enumerate(BY_AGE)},
}
"""The producers whose blocks a model reads, on the vendor's own platform."""

_VENDOR_AND_VERTEX = {(OPUS_5_5, SONNET_5_5), (OPUS_5_5, HAIKU_5_5), (SONNET_5_5, HAIKU_5_5)}
"""Reader and producer where other platforms are not known to let the one read the other."""
_UNPUBLISHED = frozenset({OPUS_5, FABLE_5, MYTHOS_5, MYTHOS_PREVIEW, *BY_AGE})
"""Readers whose exact list is not published."""


def reads(reader: str, producer: str, switches: Switches) -> bool:
    """Whether `reader` is shown the thinking of `producer`."""
    if reader == producer:
        return True
    if switches.older_read_own_only and reader in _UNPUBLISHED:
        return {reader, producer} <= COVERED_5
    if (reader, producer) in _VENDOR_AND_VERTEX and not switches.on("first_party", "vertex"):
        return False
    if reader in COVERED_5_1 and producer == OPUS_5_5 and not switches.on("first_party"):
        return switches.fable_5_1_reads_opus_5_5
    return producer in READS.get(reader, frozenset())


def enforces(model_id: str, switches: Switches, *, asked: bool) -> bool:
    """Whether a model refuses an edited history; `asked`: the request says what to do about one."""
    if model_id == MYTHOS_5_1 and switches.on("bedrock"):
        return asked
    return model_id in ALWAYS_CHECKING or (model_id in CHECKING_RECENT and (asked or switches.recent_account))
