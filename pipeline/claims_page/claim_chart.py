"""The small picture of a claim: a dot for each seed of its configurations, and the limit."""

from collections.abc import Mapping
from typing import Any

from pipeline.claims_page.measured import Measured
from pipeline.reporting.svg import axis_of, chart, dot, line, standalone, vertical_grid, words

WIDTH, ROW, TOP, BOTTOM, LEFT, RIGHT = 420.0, 24.0, 10.0, 26.0, 190.0, 16.0
LONGEST = 30  # signs of a configuration's name


def draw(found: Measured) -> str:
    """Return the picture as the text of an SVG file."""
    claim = found.claim
    rows = [(named(claim.of), found.first)]
    if claim.over is not None:
        rows.append((named(claim.over), found.second))
    limits = [v for v in (claim.at_least, claim.at_most) if v is not None and claim.over is None]
    height = TOP + ROW * len(rows) + BOTTOM
    x = axis_of(
        [*limits, *(value for _, values in rows for value in values)],
        LEFT,
        WIDTH - RIGHT,
        pad=0.08,
        percent=claim.is_share,
    )
    parts = [vertical_grid(x, TOP, height - BOTTOM, 3)]
    ends = (TOP, height - BOTTOM)
    parts += [line([(x(v), y) for y in ends], "train", f"the claim's limit {v:g}") for v in limits]
    for number, (name, values) in enumerate(rows):
        y = TOP + ROW * (number + 0.5)
        short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        parts.append(words(LEFT - 10, y + 4, short, "label", "end"))
        parts += [dot(x(value), y, "done", f"{name}: {value:.4f}") for value in values]
        mean = sum(values) / len(values)
        parts.append(line([(x(mean), y - 9), (x(mean), y + 9)], "best", f"mean {mean:.4f}"))
    told = f"{len(found.first)} seeds of {' and '.join(name for name, _ in rows)}."
    return standalone(chart("".join(parts), (WIDTH, height), claim.claim, told))


def named(choice: Mapping[str, Any]) -> str:
    """Return a configuration in a few words: ``relu, he, [40, 20]``."""
    words_of = [
        f"{key.rpartition('.')[2]} {_value(value)}" if _bare(value) else str(value)
        for key, value in choice.items()
    ]
    return ", ".join(words_of)


def _bare(value: Any) -> bool:
    """Tell what says nothing without its key: numbers, null, truth values."""
    return value is None or isinstance(value, bool | int | float) or value == "none"


def _value(value: Any) -> str:
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
