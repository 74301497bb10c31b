"""The vendor's list and the catalogue held against each other; what cannot be understood is no alarm."""

from copy import deepcopy
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.catalog import Catalogue, Lifecycle
from gateway.compat.drift import FIELDS, Drift, compare
from gateway.simulator.resources import model_object
from tests.support.rows import CATALOGUE, O45, O55

Entry = dict[str, Any]

YES, NO = {"supported": True}, {"supported": False}
LIVE: Entry = {
    "type": "model",
    "id": "claude-opus-5-5",
    "lifecycle": "active",
    "retires_at": None,
    "max_input_tokens": 1_000_000,
    "max_tokens": 128_000,
    "capabilities": {
        "code_execution": YES,
        "context_management": {"supported": True, "compact_20260112": YES},
        "effort": {"supported": True, "low": YES, "medium": YES, "high": YES, "xhigh": YES, "max": YES},
        "structured_outputs": YES,
        "thinking": {
            "supported": True,
            "types": {"adaptive": YES, "enabled": NO, "disabled": NO, "between_tools": NO},
        },
    },
}
"""Opus 5.5 as the vendor shows it."""
ONE = Catalogue([O55])


def live(path: str, value: object) -> Entry:
    """The live object with another value at a dotted path."""
    entry = deepcopy(LIVE)
    *way, last = path.split(".")
    inner = entry
    for name in way:
        inner = inner[name]
    inner[last] = value
    return entry


def test_what_agrees_is_no_drift() -> None:
    assert compare(ONE, [LIVE]) == ()


def test_the_shipped_catalogue_agrees_with_what_the_simulator_lists() -> None:
    assert compare(CATALOGUE, [model_object(model) for model in CATALOGUE.models]) == ()


@pytest.mark.parametrize(
    ("path", "value", "field", "catalogue", "said"),
    [
        ("lifecycle", "deprecated", "lifecycle", "active", "deprecated"),
        ("lifecycle", "sunset", "lifecycle", "active", "sunset"),
        ("retires_at", "2027-03-01T00:00:00Z", "retires_on", "no date", "2027-03-01"),
        ("max_input_tokens", 500_000, "context_tokens", "1000000", "500000"),
        ("max_tokens", 64_000, "max_output_tokens", "128000", "64000"),
        ("capabilities.thinking.types.disabled", YES, "thinking", "adaptive", "adaptive disabled"),
        ("capabilities.thinking.types.hybrid", YES, "thinking", "adaptive", "adaptive hybrid"),
        ("capabilities.thinking.types", {}, "thinking", "adaptive", "none"),
        ("capabilities.effort.max", NO, "effort", "low medium high xhigh max", "low medium high xhigh"),
        ("capabilities.effort.supported", False, "effort", "low medium high xhigh max", "none"),
        (
            "capabilities.effort.ultra",
            YES,
            "effort",
            "low medium high xhigh max",
            "low medium high xhigh max ultra",
        ),
        ("capabilities.structured_outputs", NO, "structured_outputs", "yes", "no"),
        ("capabilities.context_management.compact_20260112", NO, "compaction", "yes", "no"),
        ("capabilities.code_execution", NO, "programmatic_tools", "yes", "no"),
    ],
)
def test_each_field_that_differs_is_told(
    path: str, value: object, field: str, catalogue: str, said: str
) -> None:
    (drift,) = compare(ONE, [live(path, value)])
    assert (drift.model, drift.field, drift.catalogue, drift.live) == (O55.id, field, catalogue, said)


def test_a_date_that_the_vendor_took_back_is_told() -> None:
    ending = replace(O55, lifecycle=Lifecycle("deprecated", date(2027, 3, 1)))
    same = {**LIVE, "lifecycle": "deprecated", "retires_at": "2027-03-01T12:00:00Z"}
    assert compare(Catalogue([ending]), [same]) == ()
    (drift,) = compare(Catalogue([ending]), [{**same, "retires_at": None}])
    assert (drift.field, drift.catalogue, drift.live) == ("retires_on", "2027-03-01", "no date")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("capabilities", None),
        ("capabilities", []),
        ("capabilities.thinking", None),
        ("capabilities.thinking.types", "adaptive"),
        ("capabilities.effort", "high"),
        ("capabilities.structured_outputs", True),
        ("capabilities.structured_outputs", {"supported": "no"}),
        ("max_tokens", None),
        ("max_tokens", True),
        ("max_input_tokens", "many"),
        ("lifecycle", None),
        ("retires_at", "soon"),
    ],
)
def test_what_is_not_said_or_not_understood_is_no_drift(path: str, value: object) -> None:
    assert compare(ONE, [live(path, value)]) == ()


def test_an_object_that_says_nothing_but_its_name_is_no_drift() -> None:
    assert compare(ONE, [{"id": O55.id}]) == ()


@pytest.mark.parametrize("model_id", ["claude-opus-5-5", "claude-opus-5-5-20260901"])
def test_a_live_id_is_found_with_its_date_and_without_it(model_id: str) -> None:
    assert compare(ONE, [{**LIVE, "id": model_id}]) == ()


def test_an_id_that_merely_begins_like_another_is_not_that_model() -> None:
    longer = {**LIVE, "id": "claude-opus-5-5-1"}
    assert compare(ONE, [LIVE, longer]) == (
        Drift("claude-opus-5-5-1", "listed", "not in the catalogue", "listed"),
    )


def test_a_difference_that_two_spellings_of_one_model_share_is_told_once() -> None:
    entries = [{**LIVE, "id": name, "max_tokens": 1} for name in (O55.id, "claude-opus-5-5-20260901")]
    assert [drift.field for drift in compare(ONE, entries)] == ["max_output_tokens"]


def test_a_model_that_is_listed_no_more_is_told() -> None:
    assert compare(Catalogue([O45, O55]), [LIVE]) == (Drift(O45.id, "listed", "active", "not listed"),)


def test_models_that_may_be_missing_are_not_missed() -> None:
    hidden = replace(O55, verified_orgs_only=True)
    retired = replace(O45, lifecycle=Lifecycle("retired", date(2026, 8, 5)))
    assert compare(Catalogue([hidden, retired]), []) == ()


def test_new_models_come_last_and_retired_ones_are_not_news() -> None:
    entries = [{"id": "claude-z"}, {"id": "claude-a"}, {"id": "claude-1", "lifecycle": "retired"}, LIVE]
    assert [drift.model for drift in compare(ONE, entries)] == ["claude-a", "claude-z"]


def test_of_a_model_that_both_hold_retired_only_the_end_is_compared() -> None:
    retired = Catalogue([replace(O55, lifecycle=Lifecycle("retired", date(2026, 8, 5)))])
    gone = {**LIVE, "lifecycle": "retired", "retires_at": "2026-08-05T00:00:00Z", "max_tokens": 1}
    assert compare(retired, [gone]) == ()
    (back, *_) = compare(retired, [{**gone, "lifecycle": "active"}])
    assert (back.field, back.catalogue, back.live) == ("lifecycle", "retired", "active")


def test_every_field_is_one_that_can_be_told() -> None:
    told = {drift.field for path, value in CHANGES for drift in compare(ONE, [live(path, value)])}
    assert told | {"listed"} == set(FIELDS)


CHANGES = [
    ("lifecycle", "deprecated"),
    ("retires_at", "2027-03-01"),
    ("max_input_tokens", 1),
    ("max_tokens", 1),
    ("capabilities.thinking.types", {}),
    ("capabilities.effort.supported", False),
    ("capabilities.structured_outputs", NO),
    ("capabilities.context_management.compact_20260112", NO),
    ("capabilities.code_execution", NO),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys([*LIVE, "other"], json_values)), max_size=4))
def test_nothing_that_a_list_may_hold_breaks_the_comparison(entries: list[Entry]) -> None:
    assert all(isinstance(drift, Drift) for drift in compare(CATALOGUE, entries))
