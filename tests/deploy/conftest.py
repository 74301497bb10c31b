"""What the tests of the deployment share: the image's contents, and a stream that outlasts them all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.long_stream import LongStream
from tests.support.stack import build_image


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What /app is in the image."""
    path = tmp_path_factory.mktemp("image") / "app"
    build_image(path)
    return path


@pytest.fixture(scope="session")
def long_stream(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LongStream]:
    """The stream, which runs from here on."""
    stream = LongStream(tree, tmp_path_factory.mktemp("long-stream"))
    stream.start()
    yield stream
    stream.end()


@pytest.fixture(scope="session", autouse=True)
def _begun_before_all_others(request: pytest.FixtureRequest) -> None:
    if any(_waits_for_it(item) for item in request.session.items):
        request.getfixturevalue("long_stream")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let who waits for the stream be the last."""
    items.sort(key=_waits_for_it)


def _waits_for_it(item: pytest.Item) -> bool:
    return "long_stream" in getattr(item, "fixturenames", ())
