"""What this process has counted of one migration: lately, in its present run, and in the run's last entries.

The data path books what ended and forgets; about once a second somebody asks what to claim, settles it, and
writes down what has changed (`control.autopilot.flusher`). Nothing here waits for anybody.

Everything belongs to one run. The first thing of a newer run begins anew with nothing, and what is left of
earlier runs is dropped: it may still end, but nothing is made of it any more. Of the entries of the run the
last few are kept, because a request is booked to the entry in which it began, however late it ends. Run 0 is
what was before the first one: it tells what control is like, and has no entries.
"""

from collections.abc import Iterable

from gateway.core.booking import TOOL_ERROR, Booking, Checked, Place
from gateway.core.counts.book import ISSUE, RunBook, StageBook
from gateway.core.counts.risk import Claim
from gateway.core.gates.window import Window
from gateway.core.tally import Case, Doc
from gateway.core.types import Arm

ENTRIES = 3
"""Entries of the run that are still booked to; what began before them has no place of its own any more."""
TASK_CHARS = 100
"""What is kept of a task's name: callers write it, and cases are written down every second."""
REQUEST_KINDS = ("error", "fallback", "refusal", "incomplete")
"""Failures that every request can be; the others need somebody who has looked into the answer."""


class Counts:
    """Of one migration, by one process. Times are epoch seconds of one clock."""

    def __init__(self) -> None:
        self.window = Window()
        """What breakers judge."""
        self.run = 0
        """The run that everything belongs to; 0: none has begun."""
        self._book = RunBook()
        self._entries: dict[int, StageBook] = {}

    # --- what happens

    def ended(self, booking: Booking, now: float) -> None:
        """Book a request that has ended."""
        self.window.add(booking, now)
        place, book = booking.place, self._book_of(booking.place)
        if book is None or not booking.telling:
            return
        book.ended(booking)
        entry = self._entry(place.entry) if place.run else None
        if entry is not None:
            entry.ended(booking)
        failures = booking.failures
        if place.enrolled and place.unit_key:
            book.risk.active(place.arm, place.unit_key, REQUEST_KINDS, now)
            for failure in failures:
                book.risk.failing(failure, place.unit_key, place, now)
        for failure in failures:
            book.keep(_case(place, booking.request_id, booking.task, failure, at=now))

    def checked(self, checked: Checked, now: float) -> None:
        """Book what the online checks found in an answer; at risk is who was judged."""
        place, book = checked.place, self._book_of(checked.place)
        if book is None:
            return
        book.checked(checked)
        kinds = {name if name == TOOL_ERROR else f"check:{name}": ok for name, ok in checked.passed.items()}
        failed = [kind for kind, ok in kinds.items() if not ok]
        if place.enrolled and place.unit_key:
            book.risk.active(place.arm, place.unit_key, tuple(kinds), now)
            for kind in failed:
                book.risk.failing(kind, place.unit_key, place, now)
        for kind in failed:
            book.keep(_case(place, checked.request_id, checked.task, kind, at=now))

    def complained(self, place: Place, request_id: str, now: float) -> None:
        """Take a complaint; it counts once per unit and run, and as soon as it is settled."""
        book = self._book_of(place)
        if book is not None and book.risk.failing(ISSUE, place.unit_key or request_id, place, now):
            book.keep(_case(place, request_id, "", ISSUE, at=now))

    def rated(self, place: Place, score: float) -> None:
        """Book a rating."""
        book = self._book_of(place)
        if book is not None:
            book.rated(place, score)

    # --- what is written down

    def due(self, now: float) -> list[Claim]:
        """Return the (failure, unit) pairs of `run` to claim; `settle` what comes of that."""
        return self._book.risk.due(now)

    def settle(self, answers: Iterable[bool]) -> None:
        """Book what was due, with the store's word for each claim; dropped if another run has begun since."""
        for (kind, _), claimant in self._book.risk.settle(answers).items():
            if kind == ISSUE:
                self.window.complained(claimant.place, claimant.at)
            self._book.dirty = True

    def docs(self) -> dict[str, Doc]:
        """Return, by scope, what has changed since it was last asked for."""
        books = {scope: book for scope, book in self._books().items() if book.dirty}
        for book in books.values():
            book.dirty = False
        return {scope: book.to_doc() for scope, book in books.items()}

    def unwritten(self) -> None:
        """Everything is to be written again: it did not arrive, or may have been lost."""
        for book in self._books().values():
            book.dirty = True

    def mean_cost(self, arm: Arm, run: int) -> float | None:
        """Return the mean micro-dollars per priced request that an arm has cost here in a run."""
        return self._book.mean_cost(arm) if run == self.run else None

    def _books(self) -> dict[str, RunBook | StageBook]:
        entries = {f"{self.run}.{entry}": book for entry, book in self._entries.items()}
        return {str(self.run): self._book, **entries}

    def _book_of(self, place: Place) -> RunBook | None:
        """Return where something of this run is booked; a newer run begins with nothing."""
        if place.run > self.run:
            self.run = place.run
            self._book, self._entries = RunBook(), {}
        return self._book if place.run == self.run else None

    def _entry(self, entry: int) -> StageBook | None:
        book = self._entries.get(entry)
        if book is None and (len(self._entries) < ENTRIES or entry > min(self._entries)):
            book = self._entries[entry] = StageBook()
            if len(self._entries) > ENTRIES:
                del self._entries[min(self._entries)]
        return book


def _case(place: Place, request_id: str, task: str, failure: str, *, at: float) -> Case:
    return Case(at, place.arm.value, request_id, task[:TASK_CHARS], failure)
