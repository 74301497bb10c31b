"""Betas go where they are of use; what nobody here knows always goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.compat.catalog import Model
from gateway.compat.envelope import Headers
from gateway.compat.request import Context, rewrite
from gateway.compat.rules.headers.betas import FINE_GRAINED, KNOWN, OTHERS, apply, violations
from tests.support.requests import KEEP, Json, asked, draft_of
from tests.support.rows import (
    CATALOGUE,
    EVERY_PAIR,
    H45,
    H55,
    O5,
    O45,
    O46,
    O47,
    O48,
    O55,
    S5,
    S45,
    S46,
    S55,
    name,
)

OLD, NEW = "computer-use-2025-01-24", "computer-use-2025-11-24"


def sent(source: Model, target: Model, *betas: str) -> tuple[str, ...]:
    return apply(draft_of(asked(source), source, target).but(betas=betas)).betas


@pytest.mark.parametrize(
    ("source", "target", "before", "after"),
    [
        (O47, S5, ("task-budgets-2026-03-13",), ()),
        (O46, O45, ("compact-2026-01-12", "context-1m-2025-08-07"), ("context-1m-2025-08-07",)),
        (O55, O46, ("compact-2026-09-04",), ()),
        (O5, O48, ("mid-conversation-output-config-2026-07-01",), ()),
        (O5, O48, ("mid-conversation-effort-2026-08-01", "per-turn-control-2026-07-01"), ()),
        (O5, S5, ("mid-conversation-system-clear-at-2026-08-21", "inline-tools-2026-09-15"), ()),
        (O48, O47, ("mid-conversation-tool-changes-2026-07-01",), ()),
        (O5, O47, ("server-side-fallback-2026-06-01",), ()),
        (O5, O47, ("server-side-fallback-2026-07-01",), ()),
        (O46, O45, ("advisor-tool-2026-03-01",), ()),
        (H55, O5, ("output-300k-2026-03-24",), ()),
        (O48, O55, ("fast-mode-2026-02-01",), ()),
        (O48, O47, ("fast-mode-2026-02-01",), ()),
        (O55, O5, ("thinking-display-updates-2026-08-18",), ()),
        (S45, S46, (OLD,), (NEW,)),
        (H45, O46, ("a", OLD, "b"), ("a", NEW, "b")),
        (O46, S45, (NEW,), (OLD,)),
        (O46, S45, (NEW, OLD), (OLD,)),
        (S45, S55, (OLD,), ()),
    ],
    ids=name,
)
def test_a_beta_goes_where_it_is_of_use(
    source: Model, target: Model, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert sent(source, target, *before) == after


@pytest.mark.parametrize(
    ("source", "target", "beta"),
    [
        (O5, O55, "task-budgets-2026-03-13"),
        (S46, S5, "task-budgets-2026-03-13"),  # the source has no use for it either
        (O5, O48, "fast-mode-2026-02-01"),
        (O55, O48, "fast-mode-2026-02-01"),
        (O45, O46, NEW),
        (O5, S5, "fine-grained-tool-streaming-2025-05-14"),
        (O5, S5, "interleaved-thinking-2025-05-14"),
        (O5, S5, "thinking-binding-controls-2026-08-01"),
        (O5, S5, "something-new-2030-01-01"),
        (O5, S5, ""),
    ],
    ids=name,
)
def test_every_other_value_goes_on(source: Model, target: Model, beta: str) -> None:
    draft = draft_of(asked(source), source, target).but(betas=("x", beta, "x"))
    assert apply(draft) is draft


def test_what_is_left_out_is_said_and_sent() -> None:
    done = rewrite(asked(O47), O47, S5, KEEP, Context(betas=("task-budgets-2026-03-13", "x")))
    assert done.betas == ("x",)
    (change,) = (change for change in done.changes if change.rule == "betas")
    assert (change.rewrite_class, change.sentence) == (
        "L",
        "anthropic-beta goes without task-budgets-2026-03-13: claude-sonnet-5 has no use for it.",
    )
    assert rewrite(asked(O47), O47, S5, KEEP, Context(betas=("x",))).betas is None


def test_every_beta_has_a_model_that_knows_it_and_one_that_does_not() -> None:
    current = [model for model in CATALOGUE.models if model.lifecycle.status != "retired"]
    for knows in KNOWN.values():
        assert {knows(model) for model in current} == {True, False}
    assert OTHERS.keys() <= KNOWN.keys()


VALUES = st.lists(st.sampled_from([*KNOWN, "x", "context-1m-2025-08-07"]), max_size=6).map(tuple)


@given(VALUES, st.sampled_from(EVERY_PAIR))
def test_it_depends_on_the_models_alone_and_happens_once(
    betas: tuple[str, ...], pair: tuple[Model, Model]
) -> None:
    source, target = pair
    once = sent(source, target, *betas)
    assert sent(source, target, *once) == once
    assert [value for value in once if value not in KNOWN] == [value for value in betas if value not in KNOWN]
    full = draft_of(asked(source, tools=[], speed="fast"), source, target).but(betas=betas)
    assert apply(full).betas == once


TOOLSET: Json = {"type": "computer_toolset_20260801"}


@pytest.mark.parametrize(
    ("betas", "tools", "wrong"),
    [((FINE_GRAINED,), [TOOLSET], True), ((), [TOOLSET], False), ((FINE_GRAINED,), [{"name": "n"}], False)],
)
def test_a_toolset_beside_the_older_streaming_is_named(
    betas: tuple[str, ...], tools: list[Json], wrong: bool
) -> None:
    found = list(violations(asked(O5, tools=tools), O5, Headers(betas)))
    assert [change.rule for change in found] == ["betas"] * wrong
