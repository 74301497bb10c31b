"""How gates say numbers to people: the same everywhere, short enough for a line of a terminal."""

_SPANS = ((3 * 86_400, 86_400, "d"), (2 * 3600, 3600, "h"), (120, 60, "min"), (0, 1, "s"))
"""From so many seconds on: a unit, and its name."""


def spoken(seconds: float) -> str:
    """Return a span of time: `90 s`, `45 min`, `36 h`, `2.5 d`."""
    whole = max(seconds, 0.0)
    unit, name = next((unit, name) for least, unit, name in _SPANS if whole >= least)
    return f"{_short(whole / unit)} {name}"


def progress(done: float, whole: float) -> str:
    """Return how much of a span is over, in its own unit: `36 h of 48 h`; never more than there is."""
    unit, name = next((unit, name) for least, unit, name in _SPANS if whole >= least)
    shown = int(min(max(done, 0.0), whole) / unit * 10) / 10
    return f"{_short(shown)} {name} of {_short(whole / unit)} {name}"


def percent(share: float) -> str:
    """Return a share as a percentage: `5 %`, `2.5 %`, `0.1 %`."""
    return f"{_short(share * 100, places=3 if 0 < abs(share) < 0.001 else 1)} %"


def counted(number: int, thing: str) -> str:
    """Return a number of things: `1 request`, `2 requests`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def joined(names: tuple[str, ...] | list[str], most: int = 3) -> str:
    """Return names with commas, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _short(value: float, places: int = 1) -> str:
    return f"{value:.{places}f}".rstrip("0").rstrip(".") if round(value, places) % 1 else f"{value:.0f}"
