"""The models by name, and the groups that the rules speak of: the reference's lists, by hand.

The judge keeps its own lists where the catalogue has none, and where the gateway reads such facts from the
catalogue it judges by these: a row that is wrong there is found here. Ids are compared whole.
"""

FABLE_5_2, MYTHOS_5_2 = "claude-fable-5-2", "claude-mythos-5-2"
FABLE_5_1, MYTHOS_5_1 = "claude-fable-5-1", "claude-mythos-5-1"
FABLE_5, MYTHOS_5 = "claude-fable-5", "claude-mythos-5"
MYTHOS_PREVIEW = "claude-mythos-preview"
OPUS_5_5, OPUS_5 = "claude-opus-5-5", "claude-opus-5"
OPUS_4_8, OPUS_4_7 = "claude-opus-4-8", "claude-opus-4-7"
OPUS_4_6, OPUS_4_5 = "claude-opus-4-6", "claude-opus-4-5-20251101"
SONNET_5_5, SONNET_5 = "claude-sonnet-5-5", "claude-sonnet-5"
SONNET_4_6, SONNET_4_5 = "claude-sonnet-4-6", "claude-sonnet-4-5-20250929"
HAIKU_5_5, HAIKU_4_5 = "claude-haiku-5-5", "claude-haiku-4-5-20251001"

NEWEST_COVERED = frozenset({FABLE_5_2, MYTHOS_5_2})
COVERED_5_1 = frozenset({FABLE_5_1, MYTHOS_5_1})
COVERED_5 = frozenset({FABLE_5, MYTHOS_5})
COVERED_FROM_5_1 = NEWEST_COVERED | COVERED_5_1
COVERED = COVERED_FROM_5_1 | COVERED_5
"""Fable and Mythos from 5 on, without the preview."""

OLDEST = frozenset({OPUS_4_5, SONNET_4_5, HAIKU_4_5})
"""The 4.5 generation, the oldest that answers."""
FROM_4_6 = frozenset({OPUS_4_6, OPUS_4_7, OPUS_4_8, OPUS_5, OPUS_5_5, SONNET_4_6, SONNET_5, SONNET_5_5,
                      HAIKU_5_5, MYTHOS_PREVIEW}) | COVERED  # fmt: skip
NEWEST = frozenset({OPUS_5_5, SONNET_5_5, HAIKU_5_5})
"""The default model of each line."""

BY_AGE = (
    "claude-2.0", "claude-2.1", "claude-3-sonnet-20240229", "claude-3-opus-20240229",
    "claude-3-haiku-20240307", "claude-3-5-sonnet-20240620", "claude-3-5-sonnet-20241022",
    "claude-3-5-haiku-20241022", "claude-3-7-sonnet-20250219", "claude-sonnet-4-20250514",
    "claude-opus-4-20250514", "claude-opus-4-1-20250805", SONNET_4_5, HAIKU_4_5, OPUS_4_5, OPUS_4_6,
    SONNET_4_6, OPUS_4_7, OPUS_4_8, SONNET_5,
)  # fmt: skip
"""The models before Opus 5, Haiku 5.5 and Fable 5, oldest first."""
