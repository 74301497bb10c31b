"""Which sink hears of what, and how little of its address is ever shown."""

import pytest

from gateway.control.notify.sinks import CHANGES, ChangeKind, Sink
from gateway.core.spec import MigrationSpec, OnRollback, Stage

SPEC = MigrationSpec(
    "m",
    "old",
    "new",
    ("old",),
    (Stage("canary", 5.0),),
    notify=("everything",),
    on_rollback=OnRollback(notify=("rollbacks",)),
)


def sink(name: str, **more: object) -> Sink:
    return Sink(name, "webhook", "https://user:word@hooks.example:8443/T0/B0/path-is-a-key?token=t", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", CHANGES)
def test_a_sink_of_the_migration_hears_of_every_change(change: ChangeKind) -> None:
    assert sink("everything").hears(SPEC, change)


@pytest.mark.parametrize("change", CHANGES)
def test_a_sink_of_rollbacks_hears_of_rollbacks_alone(change: ChangeKind) -> None:
    assert sink("rollbacks").hears(SPEC, change) == (change == "rolled_back")


def test_a_sink_that_nobody_named_hears_nothing() -> None:
    other = sink("other")
    assert not other.listens(SPEC)
    assert not any(other.hears(SPEC, change) for change in CHANGES)
    assert sink("everything").listens(SPEC)
    assert sink("rollbacks").listens(SPEC)


def test_a_sink_may_want_some_changes_only() -> None:
    choosy = sink("everything", events=("stage", "completed"))
    assert [change for change in CHANGES if choosy.hears(SPEC, change)] == ["stage", "completed"]
    assert not sink("rollbacks", events=("stage",)).hears(SPEC, "rolled_back")


def test_neither_the_path_nor_the_password_nor_the_key_is_shown() -> None:
    shown = sink("everything", secret="key")
    assert shown.place == "https://hooks.example:8443"
    for secret in ("path-is-a-key", "word", "token", "key'"):
        assert secret not in repr(shown) + shown.place
