"""A dark sheet to draw panels on: rectangles, lines, text, and what numbers look like in their unit.

Everything is drawn at twice its size and scaled down once, which smooths lines and letters alike.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SCALE = 2
SHEET, PANEL, BORDER, GRID, TEXT, MUTED = "#111217", "#181B1F", "#2C3235", "#2A2E33", "#D8D9DA", "#8E9197"

Point = tuple[float, float]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

FONTS = Path("/usr/share/fonts/truetype/dejavu")
"""Where Debian keeps a font that reads well; elsewhere Pillow's own is used."""

_LONG = ((86400 * 7, "weeks"), (86400, "days"), (3600, "h"), (60, "min"), (1, "s"))


class Canvas:
    """A sheet of so many pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width * SCALE, height * SCALE), SHEET)
        self._draw = ImageDraw.Draw(self._image)
        self._fonts: dict[tuple[int, bool], ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}

    def box(self, box: Box, fill: str, outline: str | None = None) -> None:
        """Fill a rectangle."""
        self._draw.rectangle([round(each * SCALE) for each in box], fill=fill, outline=outline, width=SCALE)

    def line(self, points: Sequence[Point], color: str, *, width: float = 1.5, dashed: bool = False) -> None:
        """Draw through the points."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        thick = max(1, round(width * SCALE))
        if not dashed:
            self._draw.line(scaled, fill=color, width=thick, joint="curve")
            return
        for start, end in _dashes(scaled, 6 * SCALE):
            self._draw.line([start, end], fill=color, width=thick)

    def area(self, points: Sequence[Point], color: str, *, opacity: float) -> None:
        """Fill what the points surround, mixed with the panel behind it."""
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=_mixed(color, PANEL, opacity))

    def text(
        self,
        at: Point,
        text: str,
        *,
        color: str = TEXT,
        size: int = 12,
        anchor: str = "lm",
        bold: bool = False,
    ) -> None:
        """Write at a point; `anchor` is Pillow's (l m r, t m b)."""
        font = self._font(size, bold)
        self._draw.text((at[0] * SCALE, at[1] * SCALE), text, fill=color, font=font, anchor=anchor)

    def width_of(self, text: str, size: int = 12, bold: bool = False) -> float:
        """Return how wide a text is."""
        return self._draw.textlength(text, font=self._font(size, bold)) / SCALE

    def fitting(self, text: str, width: float, size: int = 12) -> str:
        """Return the text, cut where it would be wider than that."""
        if self.width_of(text, size) <= width:
            return text
        while text and self.width_of(text + "…", size) > width:
            text = text[:-1]
        return text + "…" if text else ""

    def save(self, path: Path) -> None:
        """Write a PNG of the sheet's own size."""
        small = self._image.resize(
            (self._image.width // SCALE, self._image.height // SCALE), Image.Resampling.LANCZOS
        )
        few = small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        few.save(path, optimize=True)

    def _font(self, size: int, bold: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        if (size, bold) not in self._fonts:
            file = FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
            known = file.exists()
            font = ImageFont.truetype(file, size * SCALE) if known else ImageFont.load_default(size * SCALE)
            self._fonts[size, bold] = font
        return self._fonts[size, bold]


def spoken(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a number as people read it in that unit."""
    if unit == "percentunit":
        return f"{_short(100 * value, decimals)} %"
    if unit == "percent":
        return f"{_short(value, decimals)} %"
    if unit == "currencyUSD":
        return f"${_short(value, decimals)}"
    if unit in {"reqps", "cps"}:
        return f"{_short(value, decimals)}/s"
    if unit == "s":
        return _duration(value, decimals)
    return _short(value, decimals)


def _duration(value: float, decimals: int | None) -> str:
    if value == 0:
        return "0 s"
    if abs(value) < 0.001:
        return f"{_short(value * 1e6, decimals)} us"
    if abs(value) < 1:
        return f"{_short(value * 1e3, decimals)} ms"
    for seconds, unit in _LONG:
        if abs(value) >= seconds:
            return f"{_short(value / seconds, decimals)} {unit}"
    return f"{_short(value, decimals)} s"


def _short(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if value and abs(value) < 10:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:,.1f}".rstrip("0").rstrip(".") if abs(value) < 100 else f"{value:,.0f}"


def _mixed(color: str, ground: str, opacity: float) -> tuple[int, int, int]:
    front, back = _rgb(color), _rgb(ground)
    red, green, blue = (round(b + (f - b) * opacity) for f, b in zip(front, back, strict=True))
    return red, green, blue


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _dashes(points: Sequence[Point], length: float) -> list[tuple[Point, Point]]:
    """Cut a line into dashes of that length with gaps as long between them."""
    dashes: list[tuple[Point, Point]] = []
    walked = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        distance = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        along = 0.0
        while along < distance:
            step = min(length - walked % length, distance - along)
            if (walked // length) % 2 == 0:
                begin, end = along / distance, (along + step) / distance
                dashes.append(
                    (
                        (x0 + (x1 - x0) * begin, y0 + (y1 - y0) * begin),
                        (x0 + (x1 - x0) * end, y0 + (y1 - y0) * end),
                    )
                )
            along += step
            walked += step
    return dashes
