"""What all tests of the deployment share: the image's contents, built once."""

from pathlib import Path

import pytest

from tests.support.stack import build_image


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What /app is in the image."""
    path = tmp_path_factory.mktemp("image") / "app"
    build_image(path)
    return path
