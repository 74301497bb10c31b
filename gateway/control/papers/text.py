"""How papers say numbers, times and tables: Markdown that reads well where it is not rendered, too.

A moment is UTC in ISO form, a length of time in the two units that matter, money in dollars. What was written
by people (names, reasons, notes) goes through `said`: it never breaks a table and never marks anything up.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from math import inf

DAY_S = 86_400.0
UNKNOWN = "not known"

_UNITS = ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*[]<>|#"})
_SAID_LENGTH = 1000


def iso(at: float) -> str:
    """Return a moment, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(at: float) -> str:
    """Return the date of a moment, in UTC."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def days_until(when: date, now: float) -> int:
    """Return the days from now to a date; below zero once it has passed."""
    return (when - datetime.fromtimestamp(now, UTC).date()).days


def span(seconds: float) -> str:
    """Return a length of time: `340 ms`, `42 s`, `12 min`, `5 h 10 min`, `3 d`."""
    if seconds == inf:
        return "never"
    if 0.0005 <= seconds < 1:
        return f"{round(seconds * 1000)} ms"
    for size, name, smaller, smaller_name in _UNITS:
        whole, rest = divmod(round(seconds / smaller), size // smaller)
        if whole:
            return f"{whole} {name} {rest} {smaller_name}" if rest else f"{whole} {name}"
    return f"{round(seconds)} s"


def later(at: float, start: float, what: str) -> str:
    """Return where a moment lies beside another: `3 min after the stage began`."""
    return f"{span(at - start)} after {what}" if at >= start else f"{span(start - at)} before {what}"


def usd(microusd: float) -> str:
    """Return money: cents where there are dollars, more digits where there are only cents."""
    dollars = abs(microusd) / 1e6
    digits = 2 if dollars >= 1 else 3 if dollars >= 0.1 else 6
    whole, _, cents = f"{dollars:,.{digits}f}".partition(".")
    return f"{'-' if microusd < 0 else ''}${whole}.{cents.rstrip('0').ljust(2, '0')}"


def beside(microusd: float, what: str) -> str:
    """Return a difference in money: `$2.40 more than …`."""
    return f"{usd(abs(microusd))} {'less' if microusd < 0 else 'more'} than {what}"


def share(part: float) -> str:
    """Return a share (0-1) in per cent."""
    percent = part * 100
    digits = 0 if abs(percent - round(percent)) < 0.005 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"


def number(value: float) -> str:
    """Return a count."""
    return f"{value:,.0f}"


def times(ratio: float) -> str:
    """Return a ratio: `1.25 ×`."""
    return f"{ratio:.3g} ×"


def said(text: str) -> str:
    """Return what a person wrote as plain words on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return (line if len(line) <= _SAID_LENGTH else line[: _SAID_LENGTH - 1] + "…").translate(_MARKS)


def code(text: str) -> str:
    """Return a name that comes from outside as code."""
    plain = "".join(c for c in text if c.isprintable() and c not in "`|")
    return f"`{plain[:_SAID_LENGTH]}`"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; nothing without rows."""
    lines = [" | ".join(row) for row in rows]
    if not lines:
        return ""
    head = [" | ".join(header), " | ".join("---" for _ in header)]
    return "\n".join(f"| {line} |" for line in (*head, *lines))


def bullets(lines: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {line}" for line in lines)


def section(title: str, *blocks: str) -> str:
    """Return a section; nothing without a block that says something."""
    filled = [block for block in blocks if block]
    return "\n\n".join((f"## {title}", *filled)) if filled else ""


def page(title: str, *blocks: str) -> str:
    """Return a whole paper."""
    return "\n\n".join((f"# {title}", *(block for block in blocks if block))) + "\n"


def listed(names: Iterable[str], nothing: str = "none") -> str:
    """Return names in a row, as code."""
    return ", ".join(f"`{name}`" for name in names) or nothing
