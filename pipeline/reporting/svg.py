"""Charts as SVG text: colours by CSS class, so that they follow dark mode and print; a title and a
description for screen readers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import count

_ids = count(1)


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between low and high: steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 between them where there are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [10.0**d for d in decades if low <= 10.0**d <= high]
    if len(found) < 3:
        found = [f * 10.0**d for d in decades for f in (1, 2, 5) if low <= f * 10.0**d <= high]
    return found or [low, high]


@dataclass
class Axis:
    """Values onto pixels. Words are placed by rank."""

    low: float
    high: float
    first: float  # pixel of low
    last: float  # pixel of high
    log: bool = False
    words: tuple[str, ...] = ()
    percent: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low * 1e-3))
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.first + share * (self.last - self.first), 1)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """(pixel, text)."""
        if self.words:
            return [(self(index), word) for index, word in enumerate(self.words)]
        values = (
            log_ticks(self.low, self.high) if self.log else nice_ticks(self.low, self.high, most)
        )
        return [(self(value), self.text(value, values)) for value in values]

    def text(self, value: float, among: Sequence[float]) -> str:
        """A tick's text, with as many digits as its neighbours need."""
        if not self.percent or self.log:
            plain = value == 0 or 1e-3 <= abs(value) < 1e5
            return (
                f"{value:g}" if plain else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
            )
        step = (among[1] - among[0]) * 100 if len(among) > 1 else 1.0
        return f"{value * 100:.{max(0, -math.floor(math.log10(step)))}f} %"


def axis_of(
    values: Sequence[float],
    first: float,
    last: float,
    *,
    log: bool = False,
    pad: float = 0.05,
    percent: bool = False,
) -> Axis:
    """An axis around the values, with a margin; `log` is dropped where a value is not positive."""
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    log = log and low > 0 and high > low
    if low == high:
        low, high = low - (abs(low) * 0.05 or 0.5), high + (abs(high) * 0.05 or 0.5)
    if log:
        ratio = (high / low) ** pad
        return Axis(low / ratio, high * ratio, first, last, log=True, percent=percent)
    margin = (high - low) * pad
    return Axis(low - margin, high + margin, first, last, percent=percent)


def word_axis(words: Sequence[str], first: float, last: float) -> Axis:
    """Words side by side."""
    return Axis(-0.6, len(words) - 0.4, first, last, words=tuple(words))


def frame(x: Axis, y: Axis, x_name: str, y_name: str, *, x_most: int = 6, y_most: int = 5) -> str:
    """Grid lines, tick texts and names of both axes."""
    left, right, bottom, top = (
        min(x.first, x.last),
        max(x.first, x.last),
        max(y.first, y.last),
        min(y.first, y.last),
    )
    parts = []
    for at, text in y.ticks(y_most):
        parts.append(f'<path class="grid" d="M{left:g} {at:g}H{right:g}"/>')
        parts.append(
            f'<text class="tick" x="{left - 6:g}" y="{at + 3.5:g}" '
            f'text-anchor="end">{escape(text)}</text>'
        )
    for at, text in x.ticks(x_most):
        parts.append(
            f'<text class="tick" x="{at:g}" y="{bottom + 16:g}" '
            f'text-anchor="middle">{escape(text)}</text>'
        )
        parts.append(f'<path class="grid" d="M{at:g} {bottom:g}v4"/>')
    parts.append(f'<path class="axis" d="M{left:g} {bottom:g}H{right:g}"/>')
    if x_name:
        parts.append(
            f'<text class="name" x="{(left + right) / 2:g}" y="{bottom + 34:g}" '
            f'text-anchor="middle">{escape(x_name)}</text>'
        )
    if y_name:
        parts.append(
            f'<text class="name" x="{left - 46:g}" y="{top - 10:g}">{escape(y_name)}</text>'
        )
    return "".join(parts)


def vertical_grid(x: Axis, top: float, bottom: float, most: int = 6) -> str:
    """Vertical lines with their texts below, for bars."""
    parts = []
    for at, text in x.ticks(most):
        parts.append(f'<path class="grid" d="M{at:g} {top:g}V{bottom:g}"/>')
        parts.append(
            f'<text class="tick" x="{at:g}" y="{bottom + 16:g}" '
            f'text-anchor="middle">{escape(text)}</text>'
        )
    return "".join(parts)


def dot(x: float, y: float, kind: str, title: str, radius: float = 3.5) -> str:
    """A point with its explanation on hovering."""
    return (
        f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" '
        f'r="{radius:g}"><title>{escape(title)}</title></circle>'
    )


def line(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> str:
    """A polyline."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<polyline class="{kind}" points="{path}">{told}</polyline>'


def chart(
    body: str, width: float, height: float, title: str, description: str, caption: str = ""
) -> str:
    """A figure: the SVG with its title and description, and a caption below."""
    number = next(_ids)
    head = (
        f'<title id="ct{number}">{escape(title)}</title><desc '
        f'id="cd{number}">{escape(description)}</desc>'
    )
    svg = (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="ct{number} '
        f'cd{number}">{head}{body}</svg>'
    )
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="chart" style="--w:{width:g}px">{svg}{told}</figure>'
