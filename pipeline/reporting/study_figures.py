"""Pictures of a whole study: history, importances, parallel coordinates, slices, contour, timeline
of slots.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pipeline.reporting.colours import BLUE, GREY, INK, ORANGE, SKY, STATE_COLOURS
from pipeline.reporting.figures import new_figure, plain
from pipeline.reporting.table import StudyTable, TrialRow

_MOST_PARAMS = 8


class Scale:
    """Places a parameter's values on [0, 1]: numbers linearly or, over a wide range, by logarithm;
    words by rank.
    """

    def __init__(self, values: Sequence[object]) -> None:
        numbers = [
            float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)
        ]
        self.is_number = len(numbers) == len(values) and bool(numbers)
        self.is_log = self.is_number and min(numbers) > 0 and max(numbers) >= 20 * min(numbers)
        self.words = [] if self.is_number else sorted({str(v) for v in values})
        self.low, self.high = (
            (min(numbers), max(numbers))
            if self.is_number
            else (0.0, float(max(len(self.words) - 1, 1)))
        )

    def number(self, value: object) -> float:
        """A number's value; raises TypeError for anything else."""
        if not isinstance(value, int | float):
            raise TypeError(f"Scale: must be a number, got {value!r}")
        return float(value)

    def place(self, value: object) -> float:
        """Position in [0, 1]."""
        if not self.is_number:
            return self.words.index(str(value)) / self.high if len(self.words) > 1 else 0.5
        low, high, x = self.low, self.high, self.number(value)
        if self.is_log:
            low, high, x = np.log(low), np.log(high), np.log(x)
        return 0.5 if high == low else (x - low) / (high - low)

    def ticks(self) -> list[tuple[float, str]]:
        """(position, text) of a few marks."""
        if not self.is_number:
            return [(self.place(word), word) for word in self.words]
        at = (
            np.geomspace(self.low, self.high, 4)
            if self.is_log
            else np.linspace(self.low, self.high, 4)
        )
        return [(self.place(value), f"{value:.3g}") for value in at]


def optimisation_history(table: StudyTable) -> Figure:
    """Objective of each complete trial in the order of trials, and the best so far."""
    figure = new_figure(7.2, 3.0)
    axes = plain(figure.subplots(), f"{table.name}: optimisation history", "trial", "objective")
    done = table.complete
    numbers, values = [t.number for t in done], [t.value for t in done]
    best = (
        np.maximum.accumulate(values)
        if table.directions[0] == "maximize"
        else np.minimum.accumulate(values)
    )
    axes.scatter(
        numbers, values, s=18, color=SKY, edgecolor=BLUE, linewidth=0.6, label="trial", zorder=3
    )
    if len(values):
        axes.step(
            numbers,
            best,
            where="post",
            color=INK,
            linewidth=1.2,
            label=f"best so far: {best[-1]:.4g}",
        )
    for state, marker in (("PRUNED", "|"), ("FAIL", "x")):
        stopped = [t.number for t in table.trials if t.state == state]
        if stopped and values:
            colour = STATE_COLOURS[state]
            axes.plot(
                stopped,
                [min(values)] * len(stopped),
                marker,
                color=colour,
                markersize=6,
                linestyle="",
                label=state.lower(),
            )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _limit(axes, values, table.directions[0])
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1.0, 0.99))
    return figure


def _limit(axes: Axes, values: Sequence[float], direction: str) -> None:
    """Cuts off disasters, which would press all good trials into one line."""
    if len(values) < 5:
        return
    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
    spread = np.quantile(values, 0.9) - np.quantile(values, 0.25)
    if direction == "maximize" and spread > 0 and middle - low > 6 * spread:
        axes.set_ylim(max(low, middle - 5 * spread), high + 0.6 * spread)


def importances(rows: Sequence[tuple[str, float, float, float]], title: str) -> Figure:
    """Bars of (name, share, low, high), the most important on top, with their intervals."""
    figure = new_figure(6.4, 0.34 * max(len(rows), 2) + 1.0)
    axes = plain(figure.subplots(), title, "share of the objective's variance explained")
    at = np.arange(len(rows))[::-1]
    shares = np.array([row[1] for row in rows])
    spans = (
        np.array([[max(0.0, row[1] - row[2]), max(0.0, row[3] - row[1])] for row in rows])
        .reshape(-1, 2)
        .T
    )
    axes.barh(
        at,
        shares,
        height=0.62,
        color=SKY,
        xerr=spans,
        ecolor=INK,
        capsize=3,
        error_kw={"linewidth": 0.9},
    )
    axes.set_yticks(at, [row[0] for row in rows])
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(False, axis="y")
    return figure


def parallel_coordinates(table: StudyTable, names: Sequence[str]) -> Figure:
    """A line per complete trial through its parameters to its objective; the best are drawn last
    and darkest.
    """
    names = list(names)[:_MOST_PARAMS]
    figure = new_figure(max(6.0, 1.15 * (len(names) + 1) + 1.0), 3.6)
    axes = plain(figure.subplots(), f"{table.name}: parallel coordinates")
    rows = table.best_first[::-1]
    scales = {name: Scale([t.params[name] for t in rows if name in t.params]) for name in names}
    goal = Scale([t.value for t in rows])
    lines, ranks = [], np.linspace(0.0, 1.0, max(len(rows), 1))
    for row in rows:
        points = [
            (i, scales[n].place(row.params[n])) for i, n in enumerate(names) if n in row.params
        ]
        lines.append(np.array([*points, (len(names), goal.place(row.value))]))
    axes.add_collection(
        LineCollection(
            lines, array=ranks, cmap="viridis_r", linewidths=0.6 + 1.2 * ranks**3, alpha=0.85
        )
    )
    for position, scale in enumerate([*scales.values(), goal]):
        axes.axvline(position, color="#bbbbbb", linewidth=0.8, zorder=0)
        for at, text in scale.ticks():
            axes.text(
                position + 0.03,
                at,
                text,
                fontsize=7,
                color=INK,
                va="center",
                bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.6},
            )
    axes.set_xticks(range(len(names) + 1), [*names, "objective"], rotation=18, ha="right")
    axes.set_yticks([])
    axes.set_xlim(-0.15, len(names) + 0.45)
    axes.set_ylim(-0.05, 1.05)
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def slices(table: StudyTable, names: Sequence[str]) -> Figure:
    """Objective against each parameter alone; lighter points are earlier trials."""
    names = list(names)[:_MOST_PARAMS] or ["(nothing varied)"]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(2.6 * columns + 0.4, 2.3 * rows + 0.2)
    for index, axes in enumerate(
        figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    ):
        if index >= len(names):
            axes.axis("off")
            continue
        name = names[index]
        plain(axes, "", name, "objective" if index % columns == 0 else "")
        chosen = [t for t in table.complete if name in t.params]
        if chosen:
            _slice(axes, name, chosen)
            _limit(axes, [t.value for t in table.complete], table.directions[0])
    return figure


def _slice(axes: Axes, name: str, chosen: Sequence[TrialRow]) -> None:
    scale = Scale([t.params[name] for t in chosen])
    x: list[float] = [
        scale.number(t.params[name])
        if scale.is_number
        else float(scale.words.index(str(t.params[name])))
        for t in chosen
    ]
    if scale.is_log:
        axes.set_xscale("log")
    if not scale.is_number:
        axes.set_xticks(range(len(scale.words)), scale.words)
        axes.set_xlim(-0.5, len(scale.words) - 0.5)
        x = [
            at + 0.3 * ((0.618 * t.number) % 1.0 - 0.5) for at, t in zip(x, chosen, strict=True)
        ]  # side by side, not on top of each other
    axes.scatter(
        x,
        [t.value for t in chosen],
        s=16,
        c=[t.number for t in chosen],
        cmap="Blues",
        vmin=-0.5 * len(chosen),
        edgecolor=GREY,
        linewidth=0.4,
    )


def contour(table: StudyTable, x_name: str, y_name: str) -> Figure:
    """Objective over two numeric parameters, smoothed between the trials (a Gaussian kernel of a
    fifth of each range).
    """
    figure = new_figure(5.4, 4.0)
    axes = plain(
        figure.subplots(), f"{table.name}: objective over the two strongest numbers", x_name, y_name
    )
    rows = [t for t in table.complete if x_name in t.params and y_name in t.params]
    x_scale, y_scale = (
        Scale([t.params[x_name] for t in rows]),
        Scale([t.params[y_name] for t in rows]),
    )
    at = np.array(
        [[x_scale.place(t.params[x_name]), y_scale.place(t.params[y_name])] for t in rows]
    )
    values = np.array([t.value for t in rows])
    low = float(np.quantile(values, 0.1))
    shown = np.clip(values, low, None) if table.directions[0] == "maximize" else values
    grid = np.linspace(-0.03, 1.03, 60)
    surface = smooth(at, shown, grid)
    filled = axes.contourf(grid, grid, surface, levels=12, cmap="Blues")
    figure.colorbar(filled, ax=axes, shrink=0.85).ax.tick_params(labelsize=8)
    axes.scatter(at[:, 0], at[:, 1], s=14, color="white", edgecolor=INK, linewidth=0.7)
    best = int(values.argmax() if table.directions[0] == "maximize" else values.argmin())
    axes.scatter(
        at[best, 0],
        at[best, 1],
        s=70,
        marker="*",
        color=ORANGE,
        edgecolor=INK,
        linewidth=0.7,
        label="best",
    )
    axes.set_xticks(*_tick_lists(x_scale))
    axes.set_yticks(*_tick_lists(y_scale))
    axes.grid(False)
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0.0, -0.12))
    return figure


def _tick_lists(scale: Scale) -> tuple[list[float], list[str]]:
    marks = scale.ticks()
    return [at for at, _ in marks], [text for _, text in marks]


def smooth(
    at: NDArray[np.floating], values: NDArray[np.floating], grid: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Kernel-weighted mean of values at points `at` (n, 2) on a square grid; Gaussian, standard
    deviation 0.2.
    """
    x, y = np.meshgrid(grid, grid)
    distance = (x[..., None] - at[:, 0]) ** 2 + (y[..., None] - at[:, 1]) ** 2
    weights = np.exp(-distance / (2 * 0.2**2)) + 1e-12
    return np.asarray((weights * values).sum(axis=-1) / weights.sum(axis=-1))


def timeline(table: StudyTable) -> Figure:
    """Which trial ran in which slot when: one bar a stay in a slot, coloured by how the trial
    ended.
    """
    spans = [(trial, *span) for trial in table.trials for span in trial.spans]
    slots = sorted({slot for _, slot, _, _ in spans})
    figure = new_figure(8.4, 0.42 * max(len(slots), 1) + 1.3)
    axes = plain(
        figure.subplots(), f"{table.name}: timeline of slots", "seconds since the start", "slot"
    )
    start = min((span[2] for span in spans), default=0.0)
    length = max((span[3] for span in spans), default=1.0) - start
    for trial, slot, begin, end in spans:
        axes.barh(
            slots.index(slot),
            end - begin,
            left=begin - start,
            height=0.7,
            color=STATE_COLOURS.get(trial.state, GREY),
            edgecolor="white",
        )
        if end - begin > 0.03 * length:
            axes.text(
                (begin + end) / 2 - start,
                slots.index(slot),
                str(trial.number),
                ha="center",
                va="center",
                fontsize=7,
                color="white",
            )
    axes.set_yticks(range(len(slots)), [str(slot) for slot in slots])
    axes.grid(False, axis="y")
    seen = [state for state in STATE_COLOURS if any(trial.state == state for trial, *_ in spans)]
    handles = [
        axes.barh([0], [0], color=STATE_COLOURS[state], label=state.lower()) for state in seen
    ]
    axes.legend(
        handles=handles,
        fontsize=8,
        frameon=False,
        ncols=5,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
    )
    return figure
