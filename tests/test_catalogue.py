"""The catalogue that ships says what the vendor's documents say, model by model."""

from datetime import date
from pathlib import Path

import pytest

from gateway.compat.catalog import EFFORTS, Catalogue, Model, Prices
from gateway.config import load_catalogue

CATALOGUE: Catalogue = load_catalogue(Path(__file__).parents[1] / "config" / "models.yaml")

FABLES = ["claude-fable-5", "claude-fable-5-1", "claude-fable-5-2"]
MYTHOSES = ["claude-mythos-5", "claude-mythos-5-1", "claude-mythos-5-2"]
O45, S45, H45 = "claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001"
O46, O47, O48, O5, O55 = (f"claude-opus-{number}" for number in ("4-6", "4-7", "4-8", "5", "5-5"))
S46, S5, S55 = (f"claude-sonnet-{number}" for number in ("4-6", "5", "5-5"))
H55, PREVIEW = "claude-haiku-5-5", "claude-mythos-preview"
CURRENT = [O45, O46, O47, O48, O5, O55, S45, S46, S5, S55, H45, H55, PREVIEW, *FABLES, *MYTHOSES]
RETIRED = {
    "claude-opus-4-1-20250805": date(2026, 8, 5),
    "claude-opus-4-20250514": date(2026, 6, 15),
    "claude-sonnet-4-20250514": date(2026, 6, 15),
    "claude-3-haiku-20240307": date(2026, 4, 20),
    "claude-3-7-sonnet-20250219": date(2026, 2, 19),
    "claude-3-5-haiku-20241022": date(2026, 2, 19),
    "claude-3-opus-20240229": date(2026, 1, 5),
    "claude-3-5-sonnet-20241022": date(2025, 10, 28),
    "claude-3-5-sonnet-20240620": date(2025, 10, 28),
    "claude-3-sonnet-20240229": date(2025, 7, 21),
    "claude-2.1": date(2025, 7, 21),
    "claude-2.0": date(2025, 7, 21),
}


def row(model_id: str) -> Model:
    model = CATALOGUE.find(model_id)
    assert model is not None, model_id
    return model


def ids_where(fact: object, of: str) -> set[str]:
    """The current models of which an attribute (dotted) has this value."""

    def value(model: Model) -> object:
        found: object = model
        for name in of.split("."):
            found = getattr(found, name)
        return found

    return {model.id for model in CATALOGUE.models if model.id in CURRENT and value(model) == fact}


def test_every_model_has_one_row() -> None:
    assert sorted(model.id for model in CATALOGUE.models) == sorted([*CURRENT, *RETIRED])


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("claude-opus-4-5", O45),
        ("claude-sonnet-4-5", S45),
        ("claude-haiku-4-5", H45),
        ("claude-opus-4-7-20260416", O47),
        ("claude-opus-4-6-20260205", O46),
    ],
)
def test_an_alias_means_the_row_whose_id_is_sent(asked: str, sent: str) -> None:
    assert row(asked).id == sent


@pytest.mark.parametrize(
    "unknown",
    [
        "claude-opus",
        "claude-opus-5-5-20260901",
        "claude-fable-5-20260615",
        "claude-opus-4-5 ",
        "Claude-opus-5",
        "anthropic.claude-opus-5",
        "",
    ],
)
def test_an_id_is_compared_whole(unknown: str) -> None:
    assert CATALOGUE.find(unknown) is None


@pytest.mark.parametrize("shorter", [O5, S5, "claude-fable-5", "claude-mythos-5"])
def test_an_id_that_begins_another_is_its_own_row(shorter: str) -> None:
    extended = [model.id for model in CATALOGUE.models if model.id.startswith(f"{shorter}-")]
    assert extended
    assert row(shorter).id == shorter


@pytest.mark.parametrize(("model_id", "day"), RETIRED.items())
def test_a_retired_model_has_its_day(model_id: str, day: date) -> None:
    assert (row(model_id).lifecycle.status, row(model_id).lifecycle.retires_on) == ("retired", day)


def test_of_the_others_two_are_deprecated() -> None:
    assert ids_where("deprecated", "lifecycle.status") == {S45, PREVIEW}
    assert row(S45).lifecycle.retires_on == date(2026, 11, 30)
    assert row(PREVIEW).lifecycle.retires_on is None
    assert ids_where("active", "lifecycle.status") == {*CURRENT} - {S45, PREVIEW}


def test_limits_and_tokenizers_are_as_listed() -> None:
    assert ids_where(200_000, "context_tokens") == ids_where(64_000, "max_output_tokens") == {O45, S45, H45}
    assert ids_where(1_000_000, "context_tokens") == {*CURRENT} - {O45, S45, H45}
    assert ids_where(128_000, "max_output_tokens") == {*CURRENT} - {O45, S45, H45}
    assert ids_where("old", "tokenizer") == {O45, O46, S45, S46, H45}
    assert ids_where("newer", "tokenizer") == {H55}
    assert ids_where(4096, "min_cacheable_tokens") == {O45, O46, H45}
    assert ids_where(2048, "min_cacheable_tokens") == {O47, PREVIEW}
    assert ids_where(1024, "min_cacheable_tokens") == {O48, S5, S46, S45}


def test_mythos_is_for_verified_organisations() -> None:
    assert ids_where(True, "verified_orgs_only") == {*MYTHOSES}


@pytest.mark.parametrize(
    ("model_ids", "types", "omitted", "display", "off_max_effort"),
    [
        ([O45, S45, H45], {"enabled", "disabled"}, "off", "summarized", None),
        ([O46, S46], {"enabled", "adaptive", "disabled"}, "off", "summarized", None),
        ([O47, O48], {"adaptive", "disabled"}, "off", "omitted", None),
        ([S5], {"adaptive", "disabled"}, "adaptive", "omitted", None),
        ([O5, H55], {"adaptive", "disabled"}, "adaptive", "omitted", "high"),
        ([S55], {"adaptive", "between_tools"}, "adaptive", "omitted", "high"),
        ([O55, *FABLES, *MYTHOSES], {"adaptive"}, "adaptive", "omitted", None),
        ([PREVIEW], {"enabled", "adaptive"}, "adaptive", "omitted", None),
    ],
)
def test_thinking_is_as_the_matrix_has_it(
    model_ids: list[str], types: set[str], omitted: str, display: str, off_max_effort: str | None
) -> None:
    for thinking in (row(model_id).thinking for model_id in model_ids):
        assert thinking.types == types
        assert (thinking.omitted, thinking.display_default) == (omitted, display)
        assert thinking.off_max_effort == off_max_effort


def test_progress_updates_are_for_the_newest_families() -> None:
    assert ids_where(True, "thinking.updates") == {O55, S55, *FABLES, *MYTHOSES}


@pytest.mark.parametrize(
    ("model_ids", "levels", "default"),
    [
        ([S45, H45, *RETIRED], (), None),
        ([O45], ("low", "medium", "high"), "high"),
        ([O46, S46, PREVIEW], ("low", "medium", "high", "max"), "high"),
        ([O47, O48, S5, O5, S55, *FABLES, *MYTHOSES], EFFORTS, "high"),
        ([O55, H55], EFFORTS, "medium"),
    ],
)
def test_effort_is_as_the_matrix_has_it(
    model_ids: list[str], levels: tuple[str, ...], default: str | None
) -> None:
    for model_id in model_ids:
        assert (row(model_id).effort.levels, row(model_id).effort.default) == (levels, default)


def test_sampling_is_as_the_matrix_has_it() -> None:
    assert ids_where("any", "sampling.accepts") == {O45, O46, S45, S46, H45}
    assert ids_where("defaults", "sampling.accepts") == {S5, S55, H55}
    assert ids_where({"temperature": 1, "top_p": 0.99}, "sampling.defaults") == {S5, S55, H55}
    assert ids_where(False, "sampling.both") == {O45, O46, S45, S46, H45, S5, S55, H55}
    assert row("claude-sonnet-4-20250514").sampling.both is False
    assert row("claude-3-7-sonnet-20250219").sampling.both is True


def test_the_other_capabilities_are_as_the_matrix_has_them() -> None:
    assert ids_where(True, "prefill") == {O45, S45, H45}
    assert ids_where("never", "forced_tool") == {
        O55, S55, PREVIEW, "claude-fable-5-1", "claude-fable-5-2", "claude-mythos-5-1", "claude-mythos-5-2",
    }  # fmt: skip
    assert ids_where("always", "forced_tool") == {O5, S5, H55, "claude-fable-5", "claude-mythos-5"}
    assert ids_where(True, "mid_conversation_system") == {O48, O5, O55, S55, H55, *FABLES, *MYTHOSES}
    assert ids_where("yes", "fast_mode") == {O55, "claude-fable-5-2", "claude-mythos-5-2"}
    assert ids_where("beta", "fast_mode") == {O5, O48}
    assert ids_where("ignored", "fast_mode") == {O46}


F5, F51, F52 = FABLES
M5, M51, M52 = MYTHOSES
COVERED = {*FABLES, *MYTHOSES}
OLDEST = {O45, S45, H45}
FROM_4_7 = {O47, O48, O5, O55, S55, H55, *COVERED}


def having(feature: str) -> set[str]:
    """The current models with a feature."""
    return {model.id for model in CATALOGUE.models if model.id in CURRENT and feature in model.features}


@pytest.mark.parametrize(
    ("feature", "models"),
    [
        ("structured_outputs", {*CURRENT}),
        ("output_format", OLDEST),
        ("task_budgets", FROM_4_7),
        ("compaction", {*CURRENT} - OLDEST),
        ("compaction_on_demand", {O55, S55, H55, *COVERED}),
        ("programmatic_tools", {*CURRENT} - {H45}),
        ("inference_geo", {*CURRENT} - OLDEST - {PREVIEW}),
        ("priority_tier", {O45, O46, O47, O48, S45, S46, H45, F5}),
        ("per_message_effort", {O5, O55, S55, H55, F51, M51, F52, M52}),
        ("tool_changes", {O48, O5, O55, S55, H55, *COVERED}),
        ("fallbacks", {O5, O55, S55, PREVIEW, *COVERED}),
        ("fallbacks_default", {O5, O55, S55, H55, PREVIEW, *COVERED}),
        ("batch_300k", {O55, S55, H55}),
        ("dynamic_search", {*CURRENT} - OLDEST),
        ("unthinking_calls", {H55}),
    ],
)
def test_features_are_as_the_matrix_has_them(feature: str, models: set[str]) -> None:
    assert having(feature) == models


def test_tools_change_where_turns_of_role_system_are_taken() -> None:
    assert having("tool_changes") == ids_where(True, "mid_conversation_system")
    assert having("per_message_effort") < having("tool_changes")


def taking(tool: str) -> set[str]:
    """The current models that take a tool type."""
    return {model.id for model in CATALOGUE.models if model.id in CURRENT and tool not in model.rejects_tools}


@pytest.mark.parametrize(
    ("tool", "models"),
    [
        ("computer_20250124", {S45, H45}),
        ("computer_20251124", {O45, O46, O47, O48, O5, S46, S5, F5, F51, M5, M51}),
        ("computer_toolset_20260801", {O5, O55, S55, H55, F51, F52, M51, M52}),
        ("browser_toolset_20260801", {O55, H55, *COVERED}),
        ("text_editor_20250124", set()),
        ("text_editor_20250728", {*CURRENT}),
        ("web_search_20250305", {*CURRENT}),
        ("web_search_20260318", {*CURRENT} - OLDEST),
        ("web_fetch_20260209", {*CURRENT} - OLDEST),
        ("code_execution_20250825", {*CURRENT}),
        ("code_execution_20260120", {*CURRENT} - {H45}),
        ("bash_20250124", {*CURRENT}),
        ("something_20300101", {*CURRENT}),
    ],
)
def test_tool_types_are_taken_as_the_table_has_them(tool: str, models: set[str]) -> None:
    assert taking(tool) == models


def test_the_text_editor_had_another_name_before_claude_4() -> None:
    older, newer = row("claude-3-7-sonnet-20250219").rejects_tools, row(O45).rejects_tools
    assert ("text_editor_20250728" in older, "text_editor_20250124" in older) == (True, False)
    assert ("text_editor_20250728" in newer, "text_editor_20250124" in newer) == (False, True)


@pytest.mark.parametrize(
    ("executors", "advisors"),
    [
        ([F52, M52], {F52, M52}),
        ([F51, M51], {F51, M51, F52, M52}),
        ([O5, O55, F5, M5], {*COVERED, O5, O55}),
        ([O47, O48], {*COVERED, O5, O55, O47, O48, S55}),
        ([S55], {*COVERED, O5, O55, S55}),
        ([S5, H55], {*COVERED, O47, O48, O5, O55, S5, S55, H55}),
        ([O46], {*COVERED, O46, O47, O48, O5, O55, S5, S55, H55}),
        ([H45, S46], {*COVERED, O46, O47, O48, O5, O55, S46, S5, S55, H55}),
        ([O45, S45, PREVIEW, *RETIRED], set()),
    ],
)
def test_advisors_are_as_the_pairing_has_them(executors: list[str], advisors: set[str]) -> None:
    for executor in map(row, executors):
        assert {*executor.advisors} == advisors
        assert len(executor.advisors) == len(advisors)
        assert advisors == set() or F52 in executor.advisors


def test_the_first_advisor_is_one_that_everybody_may_use() -> None:
    firsts = {model.advisors[0] for model in CATALOGUE.models if model.advisors}
    assert firsts == {O55, F52}
    assert not any(row(first).verified_orgs_only for first in firsts)


def test_fallbacks_name_older_models() -> None:
    assert {model.id for model in CATALOGUE.models if model.fallbacks} == having("fallbacks")
    assert row(S55).fallbacks == (S5,)
    assert row(O5).fallbacks == (O48,)
    for model_id in {O55, PREVIEW, *COVERED}:
        assert row(model_id).fallbacks == (O5, O48)


def test_thinking_is_held_to_its_conversation_and_account_as_listed() -> None:
    assert ids_where("always", "checks_prefix") == {F52, M52, M51}
    assert ids_where("recent_accounts", "checks_prefix") == {F51, O55, S55, H55}
    assert ids_where(True, "binds_account") == {S55, H55, F52, M52}


@pytest.mark.parametrize(
    ("reader", "read", "unread"),
    [
        (F52, {M52, F51, M51, F5, M5, O55, S55, H55, O5, O45, S45, H45}, {PREVIEW}),
        (F51, {M51, O55, O5, F5, M5, O48, O45, S5, S45, H45}, {PREVIEW, S55, H55, F52, M52}),
        (O55, {O5, O48, O45, S5, S45, H45, S55, H55}, COVERED | {PREVIEW}),
        (S55, {S5, O48, H45, O45, S45, H55}, COVERED | {O5, O55, PREVIEW}),
        (H55, {S5, O48, H45, O45}, COVERED | {O5, O55, S55, PREVIEW}),
        (O5, {O48, S5}, COVERED | {O55, S55, H55}),
        (O45, {S45}, COVERED | {O46, O5, O55}),
        (PREVIEW, set(), {*CURRENT} - {PREVIEW}),
    ],
)
def test_a_model_reads_the_thinking_of_those_before_it(reader: str, read: set[str], unread: set[str]) -> None:
    assert row(reader).reads >= read
    assert not row(reader).reads & unread


def test_every_model_that_a_row_names_has_a_row() -> None:
    for model in CATALOGUE.models:
        for named in {*model.advisors, *model.fallbacks, *model.reads}:
            assert row(named).id == named


CARDS = [
    (card, model.id)
    for model in CATALOGUE.models
    for card in (model.prices, model.long_prices and model.long_prices.prices)
    if card is not None
]


@pytest.mark.parametrize(
    ("model_id", "rates"),
    [
        ("claude-fable-5-2", (8, 40, 10, 16, 0.20, 4, 20)),
        ("claude-mythos-5-1", (10, 50, 12.5, 20, 0.25, 5, 25)),
        ("claude-fable-5", (10, 50, 12.5, 20, 1, 5, 25)),
        (PREVIEW, (10, 50, 12.5, 20, 1, 5, 25)),
        (O55, (4, 20, 5, 8, 0.20, 2, 10)),
        (O5, (5, 25, 6.25, 10, 0.5, 2.5, 12.5)),
        (O45, (5, 25, 6.25, 10, 0.5, 2.5, 12.5)),
        (S55, (2, 10, 2.5, 4, 0.1, 1, 5)),
        (S5, (2, 10, 2.5, 4, 0.2, 1, 5)),
        (S45, (3, 15, 3.75, 6, 0.3, 1.5, 7.5)),
        (H55, (0.1, 0.5, 0.125, 0.2, 0.01, 0.05, 0.25)),
        (H45, (1, 5, 1.25, 2, 0.1, 0.5, 2.5)),
    ],
)
def test_prices_are_the_list_prices(model_id: str, rates: tuple[float, ...]) -> None:
    card = row(model_id).prices
    assert card is not None
    batch = (card.batch_input, card.batch_output)
    writes = (card.cache_write_5m, card.cache_write_1h)
    assert (card.input, card.output, *writes, card.cache_read, *batch) == rates


@pytest.mark.parametrize(("card", "model_id"), CARDS)
def test_the_vendors_price_rules_hold(card: Prices, model_id: str) -> None:
    cheap_reads = {O55: 0.05, S55: 0.05} | {
        f"claude-{line}-5-{minor}": 0.025 for line in ("fable", "mythos") for minor in (1, 2)
    }
    assert card.cache_write_5m == pytest.approx(card.input * 1.25)
    assert card.cache_write_1h == pytest.approx(card.input * 2)
    assert card.cache_read == pytest.approx(card.input * cheap_reads.get(model_id, 0.1))
    assert (card.batch_input, card.batch_output) == pytest.approx((card.input / 2, card.output / 2))


def test_haiku_5_5_alone_has_a_card_for_long_prompts() -> None:
    tiers = {model.id: model.long_prices for model in CATALOGUE.models if model.long_prices is not None}
    assert tiers.keys() == {H55}
    assert tiers[H55].above_prompt_tokens == 100_000
    assert (tiers[H55].prices.input, tiers[H55].prices.output) == (0.5, 2.5)


def test_whoever_has_fast_mode_has_its_price_and_nobody_else() -> None:
    priced = {model.id for model in CATALOGUE.models if model.prices and model.prices.fast_input is not None}
    assert priced == ids_where("yes", "fast_mode") | ids_where("beta", "fast_mode")


def test_every_current_model_is_priced_and_names_its_source() -> None:
    assert {model.id for model in CATALOGUE.models if model.prices is None} == RETIRED.keys()
    assert [model.id for model in CATALOGUE.models if "§" not in model.source] == []
