"""A clock that stands still until a test moves it."""


class ManualClock:
    """A `gateway.tasks.Clock` that starts at `now` and moves only by `advance`."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._start = now
        self._elapsed_s = 0.0

    def now(self) -> float:
        return self._start + self._elapsed_s

    def monotonic(self) -> float:
        return self._elapsed_s

    def advance(self, seconds: float) -> None:
        """Move both readings forward."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._elapsed_s += seconds
