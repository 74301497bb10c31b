"""How the live view says numbers, and how it makes a sentence fit: short, and never cut inside a word."""

from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size

from gateway.cli import view

MEANS_IN = {"ttft": "s", "cost": "usd", "output_tokens": "n"}
"""What a row of the metrics is told in; every other one is a share."""
DAY_S = 86_400.0


def fit(text: str, width: int) -> str:
    """Return the text in at most `width` columns; what is left out is left out after a word."""
    if cell_len(text) <= width:
        return text
    kept = set_cell_size(text, max(width - 1, 0))
    head, space, _ = kept.rpartition(" ")
    # A long word is better cut than left out together with everything after it.
    return (head if space and cell_len(head) > width // 2 else kept).rstrip(" ,;:") + "…"


def folded(text: str, width: int, most: int) -> list[str]:
    """Return the text in at most `most` lines of `width` columns."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    rest = " ".join(lines[most - 1 :])
    return [fit(line, width) for line in (*lines[: most - 1], rest) if line]


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return the text in exactly `width` columns."""
    text = fit(text, width)
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def share(part: float | None) -> str:
    """0.0102 → `1.02 %`."""
    if part is None:
        return "-"
    percent = part * 100
    digits = 0 if percent >= 100 or percent == 0 else 1 if percent >= 10 else 2
    return f"{percent:.{digits}f} %"


def count(number: float) -> str:
    """1204 → `1,204`; with a unit from a hundred thousand on."""
    if number >= 1e6:
        return f"{number / 1e6:.3g}M"
    return f"{number / 1e3:.0f}k" if number >= 1e5 else f"{number:,.0f}"


def seconds(value: float) -> str:
    """0.81 → `810 ms`; 1.24 → `1.24 s`."""
    return f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.3g} s"


def measured(name: str, value: float | None) -> str:
    """Return a number of a metric in that metric's unit."""
    if value is None:
        return "-"
    match MEANS_IN.get(name):
        case "s":
            return seconds(value)
        case "usd":
            return view.money(value)
        case "n":
            return count(value)
        case _:
            return share(value)


def clock(at: float, now: float) -> str:
    """Return a time of day, with the date in place of the seconds where that is another day; UTC."""
    same_day = int(at // DAY_S) == int(now // DAY_S)
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S" if same_day else "%m-%d %H:%M")
