"""The catalogue held against the vendor's own list of models: at the start and once a day, by who leads.

Nothing is taken over. A difference becomes a gauge, for as long as it lasts, and one line in the log; the
rest is for people. A catalogue that changed is held against the list that was read last, so a corrected row
ends its alarm at once. A list that cannot be read is told once and asked for again every hour; what is known
of it stays. A process that leads no more shows nothing: its successor does.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from gateway.compat.catalog import Catalogue
from gateway.compat.drift import Drift, compare
from gateway.errors import GatewayError
from gateway.tasks import Clock

logger = logging.getLogger(__name__)

AGAIN_S = 24 * 3600.0
RETRY_S = 3600.0
TOLD = 20
"""So many differences are told in one line of the log; `gateway models sync` tells all."""

Live = Sequence[Mapping[str, Any]]
Show = Callable[[Iterable[str], Iterable[Drift], float], None]
"""Takes the ids of the catalogue, the differences, and when the list was read (0: it was not)."""


class CatalogueCheck:
    """Asks, compares and tells, while this process leads. `tick` it every few seconds."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Live]],
        *,
        catalogue: Callable[[], Catalogue],
        leads: Callable[[], bool],
        show: Show,
        clock: Clock,
    ) -> None:
        """`ask` returns the vendor's list or raises GatewayError."""
        self._ask = ask
        self._catalogue = catalogue
        self._leads = leads
        self._show = show
        self._clock = clock
        self._due_at = clock.monotonic()
        self._live: Live | None = None
        self._read_at = 0.0
        self._failing = False
        self._shown: tuple[Drift, ...] | None = None
        """None: nothing is shown."""
        self._compared: tuple[Catalogue, Live] | None = None

    async def tick(self) -> None:
        """Do what is due. Never raises for a list that cannot be read."""
        if not self._leads():
            self._fall_silent()
            return
        if self._clock.monotonic() >= self._due_at:
            await self._read()
        if self._live is not None:
            self._compare(self._catalogue(), self._live)

    async def _read(self) -> None:
        self._due_at = self._clock.monotonic() + RETRY_S
        try:
            self._live = await self._ask()
        except GatewayError as error:
            if not self._failing:
                logger.warning("the vendor's list of models cannot be read", extra={"problem": error.message})
            self._failing = True
            return
        self._failing = False
        self._due_at = self._clock.monotonic() + AGAIN_S
        self._read_at = self._clock.now()

    def _compare(self, catalogue: Catalogue, live: Live) -> None:
        before = self._compared
        if before is not None and before[0] is catalogue and before[1] is live:
            return
        self._compared = (catalogue, live)
        drifts = compare(catalogue, live)
        self._show([row.id for row in catalogue.models], drifts, self._read_at)
        if drifts and drifts != self._shown:
            logger.warning(
                "the catalogue differs from the vendor's list of models",
                extra={"differences": [_sentence(each) for each in drifts[:TOLD]], "count": len(drifts)},
            )
        self._shown = drifts

    def _fall_silent(self) -> None:
        if self._compared is not None:
            self._show((), (), 0.0)
            self._compared = None


def _sentence(drift: Drift) -> str:
    return f"{drift.model[:80]}: {drift.field}: {drift.catalogue} here, {drift.live[:80]} there"
