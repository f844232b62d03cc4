"""Values onto pixels: axes of numbers, of logarithms and of words, with round numbers as ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


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
    whole: bool = False  # of whole numbers: no ticks between them

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low * 1e-3))
        share = 0.5 if high == low else (value - low) / (high - low)
        return round(self.first + share * (self.last - self.first), 1)

    def place(self, value: object) -> float:
        """What `value` is on this axis: a number itself, a word its rank."""
        if self.words:
            return float(self.words.index(str(value)))
        if not isinstance(value, int | float):
            raise TypeError(f"axis: must be a number, got {value!r}")
        return float(value)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """(pixel, text)."""
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
    """An axis for a parameter: numbers linearly or, over a wide range, by logarithm; words side by
    side in alphabetical order.
    """
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values) or not numbers:
        words = tuple(sorted({str(value) for value in values}))
        return Axis(-0.6, len(words) - 0.4, first, last, words=words)
    wide = min(numbers) > 0 and max(numbers) >= 20 * min(numbers)
    return axis_of(numbers, first, last, log=wide, pad=pad)
