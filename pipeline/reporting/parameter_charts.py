"""The charts of a study's parameters: how much each matters, and the objective over one, two and
all of them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.reporting.course_charts import (
    BOTTOM,
    HEIGHT,
    RIGHT,
    TOP,
    WIDTH,
    goal_axis,
    said,
)
from pipeline.reporting.regression import Regression, is_numeric
from pipeline.reporting.svg import (
    Axis,
    box,
    chart,
    dot,
    frame,
    line,
    parameter_axis,
    vertical_grid,
    words,
)
from pipeline.reporting.table import StudyTable, TrialRow

_MOST = 8  # parameters in a chart
_CELLS = 24  # of the smoothed surface, along each side
_KERNEL = 0.2  # standard deviation of the smoothing, of each parameter's range


def importances(regression: Regression) -> str:
    """Each parameter's importance as a bar with its 95 % interval."""
    rows = regression.shares
    left, height = 150.0, 26.0 * len(rows) + 50
    x = Axis(0.0, max(0.05, *(min(1.0, row[3]) for row in rows)), left, WIDTH - RIGHT, percent=True)
    parts = [vertical_grid(x, 8, height - 38)]
    for index, (name, share, low, high) in enumerate(rows):
        y = 12 + 26 * index
        parts.append(words(left - 8, y + 14, name, "label", "end"))
        size = (max(x(share) - left, 0.5), 18.0)
        told = f"{name}: {share:.1%}, 95 % interval {low:.1%} to {high:.1%}"
        parts.append(box((left, y), size, "bar", told))
        low_x, high_x = x(low), x(min(1.0, high))
        parts.append(
            f'<path class="whisker" d="M{low_x:g} {y + 9}H{high_x:g}'
            f'M{low_x:g} {y + 5}v8M{high_x:g} {y + 5}v8"/>'
        )
    parts.append(
        words((left + WIDTH) / 2, height - 4, "share of the objective's variance", "name", "middle")
    )
    told = "; ".join(
        f"{name} {share:.0%} (95 % interval {low:.0%} to {high:.0%})"
        for name, share, low, high in rows
    )
    return chart("".join(parts), (WIDTH, height), "Importance of each parameter", told)


def slices(table: StudyTable, names: Sequence[str]) -> str:
    """The objective against each parameter alone."""
    return f'<div class="grid-of-charts">{"".join(_slice(table, name) for name in names)}</div>'


def _slice(table: StudyTable, name: str) -> str:
    rows = [trial for trial in table.complete if name in trial.params]
    if not rows:
        return ""
    width, height = 340.0, 210.0
    x = parameter_axis([trial.params[name] for trial in rows], 58, width - 12)
    y = goal_axis(table, height - 42, 20)
    parts = [frame(x, y, name, "", x_most=4, y_most=4)]
    for trial in rows:
        if y.low <= trial.value <= y.high:
            # spread the trials of a category so that they do not overlap
            shift = 0.5 * ((0.618 * trial.number) % 1 - 0.5) if x.words else 0.0
            at = x(x.place(trial.params[name]) + shift)
            told = f"{said(trial)}; {name} = {trial.params[name]}"
            parts.append(dot(at, y(trial.value), "done", told, 2.6))
    title, told = f"Objective against {name}", f"{len(rows)} complete trials."
    return chart("".join(parts), (width, height), title, told)


def parallel(table: StudyTable, names: Sequence[str]) -> str:
    """Complete trials as lines through parameters to the objective; the best tenth stands out."""
    rows, names = table.best_first[::-1], list(names)[:_MOST]
    if len(rows) < 2 or not names:
        return ""
    bottom = HEIGHT - BOTTOM
    axes = {
        name: parameter_axis([t.params[name] for t in rows if name in t.params], bottom, TOP, pad=0)
        for name in names
    }
    axes["objective"] = goal = goal_axis(table, bottom, TOP)
    at = {
        name: round(40 + (WIDTH - 100) * index / len(names), 1) for index, name in enumerate(axes)
    }
    leaders = {t.number for t in table.best_first[: max(3, len(rows) // 10)]}
    parts = []
    for trial in rows:
        if trial.value >= goal.low:
            points = [
                (at[n], axes[n](axes[n].place(trial.params[n]))) for n in names if n in trial.params
            ]
            kind = "curve lead" if trial.number in leaders else "curve"
            told = ", ".join([said(trial), *(f"{n} = {trial.params.get(n)}" for n in names)])
            parts.append(line([*points, (at["objective"], goal(trial.value))], kind, told))
    parts += [
        _upright(name, axis, at[name], index) for index, (name, axis) in enumerate(axes.items())
    ]
    told = f"Parameters of {len(rows)} complete trials; the best tenth is in colour."
    caption = "One line a trial; the best tenth in colour."
    return chart("".join(parts), (WIDTH, HEIGHT), "Parallel coordinates", told, caption)


def _upright(name: str, axis: Axis, x: float, index: int) -> str:
    """One of the parallel axes, with its labels beside it and its name below."""
    bottom = HEIGHT - BOTTOM
    parts = [f'<path class="axis" d="M{x:g} {TOP:g}V{bottom:g}"/>']
    parts += [words(x + 4, y + 3, text, "tick halo") for y, text in axis.ticks(4)]
    anchor, shift = "middle", 0
    if index == 0:
        anchor, shift = "start", -30
    elif name == "objective":
        anchor, shift = "end", 50
    parts.append(words(x + shift, bottom + (18 if index % 2 == 0 else 34), name, "label", anchor))
    return "".join(parts)


def contour(table: StudyTable, names: Sequence[str]) -> str:
    """The objective over the two strongest numeric parameters, smoothed between the trials; "" with
    fewer than five trials or two such parameters.
    """
    numbers = [name for name in names if is_numeric(table, name)][:2]
    if len(numbers) < 2:
        return ""
    rows = [t for t in table.complete if all(name in t.params for name in numbers)]
    if len(rows) < 5:
        return ""
    width, height = 480.0, 360.0
    x = parameter_axis([t.params[numbers[0]] for t in rows], 64, width - 14)
    y = parameter_axis([t.params[numbers[1]] for t in rows], height - BOTTOM, TOP)
    sides = [(x(x.place(t.params[numbers[0]])), y(y.place(t.params[numbers[1]]))) for t in rows]
    parts = [_surface(rows, np.array(sides), (x, y), maximize=table.directions[0] == "maximize")]
    parts.append(frame(x, y, numbers[0], numbers[1], x_most=5))
    best = next(t for t in table.best_first if t in rows)
    for trial, (left, top) in zip(rows, sides, strict=True):
        told = "; ".join([said(trial), *(f"{name} = {trial.params[name]}" for name in numbers)])
        is_best = trial is best
        parts.append(dot(left, top, "winner" if is_best else "done", told, 6 if is_best else 3.5))
    title = "Objective over the two strongest numbers"
    told = f"{len(rows)} complete trials over {numbers[0]} and {numbers[1]}."
    caption = "Each point a complete trial, the best in orange; the darker, the better around it."
    return chart("".join(parts), (width, height), title, told, caption)


def _surface(
    rows: Sequence[TrialRow], at: NDArray[np.float64], axes: tuple[Axis, Axis], *, maximize: bool
) -> str:
    """Cells whose colour strength is the smoothed objective; the worst tenth of trials is clipped
    to one value, so that a very bad trial does not hide the rest.
    """
    sign = 1.0 if maximize else -1.0
    values = sign * np.array([trial.value for trial in rows])
    values = np.maximum(values, np.quantile(values, 0.1))
    first = np.array([axis.first for axis in axes])
    span = np.array([axis.last - axis.first for axis in axes])
    middle = (np.arange(_CELLS) + 0.5) / _CELLS
    surface = smooth((at - first) / span, values, middle)
    low, high = float(surface.min()), float(surface.max())
    size = np.abs(span) / _CELLS
    cells = []
    for row, column in np.ndindex(surface.shape):
        left = first[0] + size[0] * column
        top = first[1] - size[1] * (row + 1)
        share = float(surface[row, column] - low) / (high - low) if high > low else 0.5
        told = f"about {sign * surface[row, column]:.4g}"
        cells.append(
            box((left, top), (size[0] + 0.3, size[1] + 0.3), "heat", told, 0.05 + 0.6 * share)
        )
    return "".join(cells)


def smooth(
    at: NDArray[np.float64], values: NDArray[np.float64], grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Kernel-weighted mean of values at points `at` (n, 2) on a square grid, its rows along the
    second coordinate; Gaussian, standard deviation 0.2.
    """
    x, y = np.meshgrid(grid, grid)
    distance = (x[..., None] - at[:, 0]) ** 2 + (y[..., None] - at[:, 1]) ** 2
    weights = np.exp(-distance / (2 * _KERNEL**2)) + 1e-12
    return np.asarray((weights * values).sum(axis=-1) / weights.sum(axis=-1))
