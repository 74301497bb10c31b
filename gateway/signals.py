"""What is said of answers, by checks and by users: wired to where it is counted.

The online checks are the data path's tap; the feedback endpoint is a door of its own. Both end in the counts
of this process, booked to the place of the request that they are about.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.control.feedback import Feedback
from gateway.control.reader import Obeyed
from gateway.control.status import WATCHED, Explanation
from gateway.core.booking import Checked, Place
from gateway.core.spec import Check
from gateway.evals.online import OnlineChecks
from gateway.proxy.call import Plane
from gateway.proxy.caller import admit


class Explains(Protocol):
    """Who knows the arm of a unit."""

    async def explain(self, name: str, unit: str, *, task: str | None = None) -> Explanation:
        """Return what a first message from `unit` would get; raises NotFound."""
        ...


class Signals:
    """The tap and the door of one process."""

    def __init__(
        self,
        plane: Plane,
        *,
        reader: Explains,
        obeyed: Callable[[], Obeyed],
        operator_named: Callable[[str], str | None],
    ) -> None:
        """`plane` gets the tap; `obeyed` says what this process serves by."""
        self._plane, self._reader, self._obeyed = plane, reader, obeyed
        plane.tap = OnlineChecks(
            checks_of=self._checks_of,
            checked=self._book,
            dropped=lambda name, arm: plane.metrics.check(name, arm, "dropped"),
            tasks=plane.tasks,
        )
        self.feedback = Feedback(
            receipts=plane.receipts,
            tallies=plane.counts,
            admit=lambda headers: admit(headers, plane),
            operator_named=operator_named,
            place_now=self._place_now,
            over=self._is_over,
            told=plane.metrics.feedback,
            clock=plane.clock,
        )

    def _checks_of(self, migration: str) -> tuple[Check, ...]:
        governed = self._plane.table.by_name.get(migration)
        return governed.spec.checks if governed is not None else ()

    def _book(self, migration: str, checked: Checked) -> None:
        counts = self._plane.counts.get(migration)
        if counts is not None:
            counts.checked(checked, self._plane.clock.now())
        for passed in checked.passed.values():
            self._plane.metrics.check(migration, checked.place.arm, "passed" if passed else "failed")

    def _is_over(self, migration: str, run: int) -> bool:
        """Tell whether nobody counts what comes of a run any more; one that is newer than what is obeyed
        here has begun elsewhere."""
        state = self._obeyed().state(migration)
        return run < state.run or (run == state.run and state.phase not in WATCHED)

    async def _place_now(self, migration: str, unit: str) -> Place:
        shown = await self._reader.explain(migration, unit)
        entry = self._obeyed().state(migration).entry
        return Place(shown.arm, shown.run, entry, self._plane.ledger.key(unit), shown.enrolled)
