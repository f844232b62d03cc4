"""Curves in a terminal, of characters that every terminal has."""

import math
from collections.abc import Mapping, Sequence


def text_plot(series: Mapping[str, Sequence[float]], *, width: int = 60, height: int = 10) -> list[str]:
    """Return lines of a plot of several series over epochs 1, 2, ...; key: the mark, one character, in the order drawn.

    Values that are not finite leave a gap; nothing finite at all gives no lines.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if not finite:
        return []
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    epochs = max(map(len, series.values()))
    width = min(width, max(epochs, 2) * 3)
    grid = [[" "] * width for _ in range(height)]
    for mark, values in series.items():
        for number, value in enumerate(values):
            if math.isfinite(value):
                column = 0 if epochs == 1 else round(number * (width - 1) / (epochs - 1))
                grid[height - 1 - round((value - low) / span * (height - 1))][column] = mark
    lines = []
    for row, cells in enumerate(grid):
        label = f"{high:9.4g}" if row == 0 else f"{low:9.4g}" if row == height - 1 else " " * 9
        lines.append(f"{label} |{''.join(cells).rstrip()}")
    lines.append(f"{'':9} +{'-' * width}")
    lines.append(f"{'':9}  1{str(epochs).rjust(width - 1)}  epoch")
    return lines
