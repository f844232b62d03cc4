"""Charts as SVG text: linear, logarithmic and categorical axes that map values to pixels; colours
by CSS class, so that they follow dark mode and print; a title and a description for screen readers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import count


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
    """Powers of ten, with their multiples by 2 and 5 where they are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [10.0**d for d in decades if low <= 10.0**d <= high]
    if len(found) < 3:
        found = [f * 10.0**d for d in decades for f in (1, 2, 5) if low <= f * 10.0**d <= high]
    return found or [low, high]


@dataclass
class Axis:
    """Maps values to pixels. Words are placed by rank."""

    low: float
    high: float
    first: float  # pixel of low
    last: float  # pixel of high
    log: bool = False
    words: tuple[str, ...] = ()
    percent: bool = False
    whole: bool = False  # of whole numbers: ticks only at them

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low * 1e-3))
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.first + share * (self.last - self.first), 1)

    def place(self, value: object) -> float:
        """The coordinate of `value` on this axis: a number itself, a word's rank."""
        if self.words:
            return float(self.words.index(str(value)))
        if not isinstance(value, int | float):
            raise TypeError(f"axis: must be a number, got {value!r}")
        return float(value)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """The ticks as (pixel, text)."""
        if self.words:
            return [(self(index), word) for index, word in enumerate(self.words)]
        values = (
            log_ticks(self.low, self.high) if self.log else nice_ticks(self.low, self.high, most)
        )
        if self.whole:
            values = [value for value in values if value == int(value)]
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


def parameter_axis(
    values: Sequence[object], first: float, last: float, *, pad: float = 0.05
) -> Axis:
    """An axis for a parameter: numbers linearly or, over a wide range, logarithmically; words in
    alphabetical order.
    """
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values) or not numbers:
        words = tuple(sorted({str(value) for value in values}))
        return Axis(-0.6, len(words) - 0.4, first, last, words=words)
    wide = min(numbers) > 0 and max(numbers) >= 20 * min(numbers)
    return axis_of(numbers, first, last, log=wide, pad=pad)


_ids = count(1)


def frame(x: Axis, y: Axis, x_name: str, y_name: str, *, x_most: int = 6, y_most: int = 5) -> str:
    """Grid lines, tick labels and names of both axes."""
    left, right = min(x.first, x.last), max(x.first, x.last)
    top, bottom = min(y.first, y.last), max(y.first, y.last)
    parts = []
    for at, text in y.ticks(y_most):
        parts.append(f'<path class="grid" d="M{left:g} {at:g}H{right:g}"/>')
        parts.append(words(left - 6, at + 3.5, text, "tick", "end"))
    for at, text in x.ticks(x_most):
        parts.append(words(at, bottom + 16, text, "tick", "middle"))
        parts.append(f'<path class="grid" d="M{at:g} {bottom:g}v4"/>')
    parts.append(f'<path class="axis" d="M{left:g} {bottom:g}H{right:g}"/>')
    parts.append(words((left + right) / 2, bottom + 34, x_name, "name", "middle"))
    if y_name:
        parts.append(words(left - 46, top - 10, y_name, "name"))
    return "".join(parts)


def vertical_grid(x: Axis, top: float, bottom: float, most: int = 6) -> str:
    """Vertical grid lines with their labels below, for bars."""
    parts = []
    for at, text in x.ticks(most):
        parts.append(f'<path class="grid" d="M{at:g} {top:g}V{bottom:g}"/>')
        parts.append(words(at, bottom + 16, text, "tick", "middle"))
    return "".join(parts)


def dot(x: float, y: float, kind: str, title: str, radius: float = 3.5) -> str:
    """A point with a tooltip."""
    return (
        f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" '
        f'r="{radius:g}"><title>{escape(title)}</title></circle>'
    )


def line(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> str:
    """A polyline."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<polyline class="{kind}" points="{path}">{told}</polyline>'


def box(
    corner: tuple[float, float],
    size: tuple[float, float],
    kind: str,
    title: str = "",
    strength: float | None = None,
) -> str:
    """A rectangle from its upper left corner, with a tooltip; `strength` of its colour from 0 to
    1.
    """
    place = f'x="{corner[0]:.5g}" y="{corner[1]:.5g}" width="{size[0]:.4g}" height="{size[1]:.4g}"'
    opacity = "" if strength is None else f' fill-opacity="{strength:.2f}"'
    told = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect class="{kind}" {place}{opacity}>{told}</rect>'


def words(x: float, y: float, text: str, kind: str = "label", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def shortened(name: str, most: int) -> str:
    """Return a name of at most `most` signs."""
    return name if len(name) <= most else name[: most - 1] + "…"


def chart(
    body: str, size: tuple[float, float], title: str, description: str, caption: str = ""
) -> str:
    """A figure of `size` (width, height) in pixels: the SVG with its title and description, and a
    caption below.
    """
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    svg = _svg(body, size, title, description)
    return f'<figure class="chart" style="--w:{size[0]:g}px">{svg}{told}</figure>'


def standalone(figure: str) -> str:
    """A figure's SVG as a standalone file, with its own style and background."""
    start, end = figure.index("<svg "), figure.index("</svg>") + len("</svg>")
    drawing = figure[start:end]
    box = drawing.split('viewBox="', 1)[1].split('"', 1)[0]
    width, height = box.split()[2:]
    paper = f'<rect class="paper" width="{width}" height="{height}"/>'
    at = drawing.index(">") + 1
    head = drawing[: at - 1].replace(
        "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" ', 1
    )
    return f"{head}><style>{chart_style()}</style>{paper}{drawing[at:]}\n"


def chart_style() -> str:
    """The style sheet of the charts: colours for light, dark and print."""
    return files("pipeline.reporting").joinpath("charts.css").read_text(encoding="utf-8")


def _svg(body: str, size: tuple[float, float], title: str, description: str) -> str:
    number = next(_ids)
    head = (
        f'<title id="ct{number}">{escape(title)}</title>'
        f'<desc id="cd{number}">{escape(description)}</desc>'
    )
    return (
        f'<svg viewBox="0 0 {size[0]:g} {size[1]:g}" role="img" '
        f'aria-labelledby="ct{number} cd{number}">{head}{body}</svg>'
    )
