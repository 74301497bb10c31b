"""STORE_URL names a store, or is refused at start without repeating what it holds."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.store.backends.factory import make_store
from gateway.store.backends.redis_store import RedisStore
from gateway.store.backends.sqlite_store import SqliteStore
from tests.support.clock import ManualClock
from tests.support.stores import event, state


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis://:s3cret@10.0.0.1:6380/2", "rediss://u:p@host/1"]
)
def test_redis_urls_name_a_redis_store(url: str) -> None:
    assert isinstance(make_store(url, clock=ManualClock()), RedisStore)


async def test_three_slashes_name_a_path_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await _write_something("sqlite:///data/deep/gateway.db")
    assert (tmp_path / "data" / "deep" / "gateway.db").is_file()


async def test_four_slashes_name_an_absolute_path(tmp_path: Path) -> None:
    await _write_something(f"sqlite:///{tmp_path}/gateway.db")
    assert (tmp_path / "gateway.db").is_file()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3cret",
        "postgres://u:s3cret@host/db",
        "sqlite://s3cret.db",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///:memory:",
        "redis://u:s3cret/9@host:6379",
        "redis://u:s3cret#9@host:6379",
        "redis://host:s3cret",
        "redis://host/0?socket_timeout=s3cret",
        "redis://host/0?s3cret=1",
        "rediss://host:s3cret/0",
    ],
)
def test_anything_else_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match="STORE_URL") as refusal:
        make_store(url, clock=ManualClock())
    assert "s3cret" not in "".join(str(line) for line in _story(refusal.value))


def _story(error: BaseException | None) -> list[str]:
    """Everything that a traceback of the error could show."""
    told: list[str] = []
    while error is not None:
        told += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return told


async def _write_something(url: str) -> None:
    store = make_store(url, clock=ManualClock())
    assert isinstance(store, SqliteStore)
    await store.open()
    await store.commit(state(), event(), expected=(0, 0))
    await store.close()
