"""A trial's learning curves drawn with Pillow alone: ten times cheaper than Matplotlib, for a
picture that each trial of a sweep gets.

Matplotlib's version (`figures.learning_curves`) takes 0.1 s of a core; thirty of them would be half
of what tracking may cost.
"""

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from pipeline.reporting.colours import BLUE, INK, SKY
from pipeline.reporting.svg import Axis, axis_of

WIDTH, HEIGHT = 760, 290
_FINE = 2  # drawn larger, then reduced: smooth lines
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 34, 42
_GRID, _SOFT = "#e4e6e8", "#5b6168"
_PARTS = (("train", "training", SKY), ("valid", "validation", BLUE))

History = Mapping[int, Mapping[str, float]]


def learning_curves_png(history: History, title: str = "") -> bytes:
    """Loss and accuracy of training and validation over epochs as PNG bytes.

    history: epoch (from 1) -> metrics. Values that are missing or not finite leave a gap.
    """
    picture = Image.new("RGB", (WIDTH * _FINE, HEIGHT * _FINE), "white")
    draw = ImageDraw.Draw(picture)
    for index, what in enumerate(("loss", "accuracy")):
        _panel(draw, history, what, index * WIDTH / 2)
    _write(draw, (_LEFT, 8), title, 13, INK, "la")
    small = picture.reduce(_FINE)
    buffer = io.BytesIO()
    small.quantize(64, dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()


def _panel(draw: ImageDraw.ImageDraw, history: History, what: str, left: float) -> None:
    epochs = sorted(history)
    curves = {
        part: [history[epoch].get(f"{part}_{what}", math.nan) for epoch in epochs]
        for part, _, _ in _PARTS
    }
    finite = [value for values in curves.values() for value in values if math.isfinite(value)]
    low, high = left + _LEFT, left + WIDTH / 2 - _RIGHT
    is_log = what == "loss" and bool(finite) and min(finite) > 0 and max(finite) > 20 * min(finite)
    x = axis_of([float(epoch) for epoch in epochs], low, high, pad=0.04)
    y = axis_of(finite, HEIGHT - _BOTTOM, _TOP, log=is_log, percent=what == "accuracy")
    for at, text in y.ticks(5):
        draw.line(_fine([(low, at), (high, at)]), fill=_GRID, width=_FINE)
        _write(draw, (low - 6, at), text, 11, _SOFT, "rm")
    for at, text in x.ticks(8):
        if "." not in text:  # epochs are whole
            _write(draw, (at, HEIGHT - _BOTTOM + 5), text, 11, _SOFT, "ma")
    draw.line(_fine([(low, HEIGHT - _BOTTOM), (high, HEIGHT - _BOTTOM)]), fill=_SOFT, width=_FINE)
    _write(draw, ((low + high) / 2, HEIGHT - 20), f"{what} by epoch", 12, INK, "ma")
    for row, (part, name, colour) in enumerate(_PARTS):
        _curve(draw, x, y, epochs, curves[part], colour)
        below = what == "accuracy"
        place = HEIGHT - _BOTTOM - 34 + 16 * row if below else _TOP + 2 + 16 * row
        _write(draw, (high - 4, place), f"{name} {_last(curves[part], what)}", 11, colour, "ra")


def _curve(
    draw: ImageDraw.ImageDraw,
    x: Axis,
    y: Axis,
    epochs: Sequence[int],
    values: Sequence[float],
    colour: str,
) -> None:
    run: list[tuple[float, float]] = []
    for epoch, value in [*zip(epochs, values, strict=True), (0, math.nan)]:
        if math.isfinite(value):
            run.append((x(epoch), y(value)))
            continue
        if len(run) > 1:
            draw.line(_fine(run), fill=colour, width=2 * _FINE, joint="curve")
        for px, py in _fine(run):
            draw.ellipse(
                (px - 2.5 * _FINE, py - 2.5 * _FINE, px + 2.5 * _FINE, py + 2.5 * _FINE),
                fill=colour,
            )
        run = []


def _last(values: Sequence[float], what: str) -> str:
    value = values[-1] if values else math.nan
    return f"{value:.4f}" if what == "loss" else f"{value:.2%}"


def _fine(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(px * _FINE, py * _FINE) for px, py in points]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _FINE)


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    colour: str,
    anchor: str,
) -> None:
    draw.text((at[0] * _FINE, at[1] * _FINE), text, fill=colour, font=_font(size), anchor=anchor)
