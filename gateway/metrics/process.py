"""What one process counts: of requests, of rollouts, and which version it is."""

import platform
from collections.abc import Iterable

from gateway import __version__
from gateway.core.types import Arm, MigrationState
from gateway.metrics.requests import RequestSeries
from gateway.metrics.rollout import RolloutSeries
from gateway.series import Page


class Metrics(RequestSeries, RolloutSeries):
    """What this process counts, and the page that says it for all workers."""

    def __init__(self, migrations: Iterable[str] = ()) -> None:
        """Start at zero; `migrations` are the configured names."""
        self._page = Page()
        self._names: set[str] = set(migrations)
        self._make_request_series(self._page, self._names)
        self._make_rollout_series(self._page, self._names)
        self._begin()
        build = {"version": __version__, "python": platform.python_version()}
        allowed = {name: {value} for name, value in build.items()}
        self._page.gauge("build_info", "The version that runs.", "livemax", **allowed)(*build.values()).set(1)

    def _begin(self) -> None:
        """Let counters begin at zero, so that the first event is an increase and not merely a new series."""
        self._begin_requests(self._names)
        self._begin_rollouts(self._names)

    def configured(self, migrations: Iterable[str]) -> None:
        """The configuration was read again; what is no longer in it is shown at rest."""
        names = set(migrations)
        for gone in self._names - names:
            self.rollout(MigrationState(gone))
            self.retirement(gone, dict.fromkeys(Arm))
        self._names |= names
        self._begin()

    def render(self) -> tuple[bytes, str]:
        """Return the page for all workers, and its content type."""
        return self._page.render()
