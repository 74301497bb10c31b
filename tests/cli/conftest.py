from collections.abc import Iterator

import pytest

from tests.support import admin_api
from tests.support.admin_api import AdminApi


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdminApi]:
    """A scripted admin API, and the environment in which the command finds it."""
    with admin_api.serve() as server:
        monkeypatch.setenv("GATEWAY_URL", server.url)
        monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", admin_api.TOKEN)
        yield server
