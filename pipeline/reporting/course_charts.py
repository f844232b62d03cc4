"""The charts of a study's course: objectives, learning curves, costs, and which trial ran in which
slot; and the learning curves of one trial.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pipeline.reporting.svg import Axis, axis_of, box, chart, dot, frame, line, vertical_grid, words
from pipeline.reporting.table import StudyTable, TrialRow

WIDTH, HEIGHT = 720.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 14.0, 26.0, 44.0
_CURVES = 8  # best trials whose learning curves are highlighted
_PARTS = {"train": "training", "valid": "validation"}

History = Mapping[int, Mapping[str, float]]  # epoch (from 1) -> metrics


def goal_axis(table: StudyTable, first: float, last: float) -> Axis:
    """The objective's axis, cut so that very bad trials do not squeeze the good ones together."""
    values = sorted(trial.value for trial in table.complete)
    share = table.directions[0] == "maximize" and all(0 <= value <= 1 for value in values)
    if len(values) >= 8:
        low, quarter, high = values[0], values[len(values) // 4], values[-1]
        if table.directions[0] == "maximize" and quarter - low > 2 * (high - quarter) > 0:
            values = [value for value in values if value >= quarter - 2 * (high - quarter)]
    return axis_of(values, first, last, percent=share)


def said(trial: TrialRow) -> str:
    """A trial in one line, for a tooltip."""
    value = f"{trial.value:.4f}" if trial.objective else trial.state.lower()
    return f"{trial.name}: {value}, {trial.epochs} epochs, {trial.duration_s:.1f} s"


def history(table: StudyTable) -> str:
    """Objective of each trial in turn, and the best so far."""
    x = axis_of([trial.number for trial in table.trials], LEFT, WIDTH - RIGHT, pad=0.02)
    x.whole = True
    y = goal_axis(table, HEIGHT - BOTTOM, TOP)
    parts = [frame(x, y, "trial", "objective")]
    better: Callable[[float, float], float] = max if table.directions[0] == "maximize" else min
    best: float | None = None
    steps: list[tuple[float, float]] = []
    hidden = 0
    for trial in table.complete:
        now = trial.value if best is None else better(best, trial.value)
        if best is not None:
            steps.append((x(trial.number), y(best)))
        steps.append((x(trial.number), y(now)))
        best = now
        if not y.low <= trial.value <= y.high:
            hidden += 1
            continue
        parts.append(dot(x(trial.number), y(trial.value), "done", said(trial)))
    stopped = [trial for trial in table.trials if trial.state in ("PAUSED", "PRUNED", "FAIL")]
    parts += [
        dot(x(trial.number), HEIGHT - BOTTOM, trial.state.lower(), said(trial), 3)
        for trial in stopped
    ]
    floor = HEIGHT - BOTTOM  # for a best so far that lies outside the chart
    parts.append(line([(left, min(height, floor)) for left, height in steps], "best"))
    told = (
        f"{len(table.complete)} complete trials; the best reaches {best:.4f}."
        if best is not None
        else "No complete trial."
    )
    caption = (
        "Each point a complete trial; the line is the best so far. On the axis: pruned (orange) "
        "and failed (red) trials."
    )
    if any(trial.state == "PAUSED" for trial in stopped):
        caption += " Grey: paused trials, which may still go on."
    if hidden:
        caption += f" {hidden} far worse trials lie outside the picture."
    return chart("".join(parts), (WIDTH, HEIGHT), "Optimisation history", told, caption)


def curves(table: StudyTable) -> str:
    """Validation accuracy, or the contest's measure, over epochs, the best trials in front."""
    metric = table.metric
    rows = [t for t in table.trials if any(metric in m for m in t.history.values())]
    leaders = {t.number for t in table.best_first[:_CURVES]}
    values = [
        m[metric]
        for t in rows
        for m in t.history.values()
        if metric in m and np.isfinite(m[metric])
    ]
    if not values:
        return ""
    falls = table.directions[0] == "minimize"
    edge = float(np.quantile(values, 0.85 if falls else 0.15))
    x = axis_of([e for t in rows for e in t.history], LEFT, WIDTH - RIGHT, pad=0.03)
    x.whole = True
    shown = [v for v in values if (v <= edge if falls else v >= edge)]
    y = axis_of(shown, HEIGHT - BOTTOM, TOP, percent=not falls)
    measure = metric.replace("valid", "validation").replace("_", " ")
    parts = [frame(x, y, "epoch", measure)]
    for trial in sorted(rows, key=lambda t: t.number in leaders):
        points = [
            (x(e), y(m[metric]))
            for e, m in sorted(trial.history.items())
            if metric in m and y.low <= m[metric] <= y.high
        ]
        if points:
            kind = "curve lead" if trial.number in leaders else "curve"
            parts.append(
                line(points, kind, said(trial))
                if len(points) > 1
                else dot(*points[0], kind="faint", title=said(trial), radius=2)
            )
    best = table.best_first[0].name if table.complete else "none"
    told = f"{measure.capitalize()} over epochs of {len(rows)} trials; the best is {best}."
    return chart(
        "".join(parts),
        (WIDTH, HEIGHT),
        "Learning curves",
        told,
        f"The {min(_CURVES, len(leaders))} best trials in colour, the others in grey.",
    )


def pareto_front(
    rows: Sequence[TrialRow], cost: Callable[[TrialRow], float], *, maximize: bool
) -> list[TrialRow]:
    """Trials that no other dominates in cost (less is better) and objective, cheapest first."""
    front: list[TrialRow] = []
    sign = 1.0 if maximize else -1.0
    for trial in sorted(rows, key=lambda t: (cost(t), -sign * t.value)):
        if not front or sign * trial.value > sign * front[-1].value:
            front.append(trial)
    return front


def pareto(table: StudyTable, cost: Callable[[TrialRow], float], name: str) -> str:
    """Objective against a cost, with the Pareto front."""
    rows = [trial for trial in table.complete if cost(trial) > 0]
    if len(rows) < 2:
        return ""
    width, height = 480.0, 280.0
    costs = [cost(trial) for trial in rows]
    x = axis_of(costs, LEFT, width - RIGHT, log=max(costs) > 8 * min(costs))
    y = goal_axis(table, height - BOTTOM, TOP)
    front = pareto_front(rows, cost, maximize=table.directions[0] == "maximize")
    shown = {trial.number for trial in front}
    parts = [frame(x, y, name, "objective", x_most=5)]
    parts += [
        dot(x(cost(t)), y(t.value), "faint", f"{said(t)}; {name} {cost(t):.4g}", 3)
        for t in rows
        if t.number not in shown and y.low <= t.value
    ]
    inside = [t for t in front if t.value >= y.low]
    parts.append(line([(x(cost(t)), y(t.value)) for t in inside], "best"))
    parts += [
        dot(x(cost(t)), y(t.value), "done", f"{said(t)}; {name} {cost(t):.4g}", 4.5) for t in inside
    ]
    told = "; ".join(f"{t.name}: {t.value:.4f} for {cost(t):.4g}" for t in front)
    return chart("".join(parts), (width, height), f"Objective against {name}", told)


def timeline(table: StudyTable) -> str:
    """Which trial ran when, and in which slot."""
    spans = [(trial, *span) for trial in table.trials for span in trial.spans]
    if not spans:
        return ""
    slots = sorted({slot for _, slot, _, _ in spans})
    start, end = min(span[2] for span in spans), max(span[3] for span in spans)
    height = 26.0 * len(slots) + 50
    x = Axis(0.0, max(end - start, 1e-3), LEFT, WIDTH - RIGHT)
    parts = [vertical_grid(x, 6, height - 38, 8)]
    for index, slot in enumerate(slots):
        parts.append(words(LEFT - 8, 22 + 26 * index, f"slot {slot}", "label", "end"))
    for trial, slot, begin, finish in spans:
        left = x(begin - start)
        width = max(x(finish - start) - left - 0.8, 0.6)
        corner = (left, 8.0 + 26 * slots.index(slot))
        parts.append(box(corner, (width, 20.0), trial.state.lower(), said(trial)))
    parts.append(words((LEFT + WIDTH) / 2, height - 4, "seconds since the start", "name", "middle"))
    told = f"{len(spans)} stays of trials in {len(slots)} slots over {end - start:.0f} seconds."
    return chart(
        "".join(parts),
        (WIDTH, height),
        "Timeline of slots",
        told,
        "Blue: complete; orange: pruned; red: failed; grey: interrupted.",
    )


def learning_curves(history: History, title: str = "") -> str:
    """Loss and accuracy of training and validation over epochs, of one trial.

    Values that are missing or not finite leave a gap.
    """
    parts = [words(8, 14, title, "name")]
    for what, left in (("loss", LEFT), ("accuracy", LEFT + WIDTH / 2)):
        parts.append(_panel(history, what, left, left + WIDTH / 2 - LEFT - RIGHT))
    ends = "; ".join(
        f"{name} {what} {_last(history, f'{part}_{what}')}"
        for what in ("loss", "accuracy")
        for part, name in _PARTS.items()
    )
    told = f"After {max(history, default=0)} epochs: {ends}."
    return chart("".join(parts), (WIDTH, HEIGHT), f"Learning curves {title}".strip(), told)


def _panel(history: History, what: str, left: float, right: float) -> str:
    top = TOP + 12
    found = {
        part: [(epoch, history[epoch].get(f"{part}_{what}", math.nan)) for epoch in sorted(history)]
        for part in _PARTS
    }
    finite = [v for points in found.values() for _, v in points if math.isfinite(v)]
    is_log = what == "loss" and bool(finite) and min(finite) > 0 and max(finite) > 20 * min(finite)
    x = axis_of([float(epoch) for epoch in history], left, right, pad=0.04)
    x.whole = True
    y = axis_of(finite, HEIGHT - BOTTOM, top, log=is_log, percent=what == "accuracy")
    parts = [frame(x, y, f"{what} by epoch", "")]
    for row, (part, points) in enumerate(found.items()):
        for run in _runs(points):
            parts.append(line([(x(epoch), y(value)) for epoch, value in run], part))
            parts += [
                dot(x(e), y(v), part, f"epoch {e}: {_PARTS[part]} {what} {_text(v, what)}", 2.5)
                for e, v in run
            ]
        at = top + 8 + 16 * row if what == "loss" else HEIGHT - BOTTOM - 24 + 16 * row
        last = _last(history, f"{part}_{what}")
        parts.append(words(right - 4, at, f"{_PARTS[part]} {last}", part, "end"))
    return "".join(parts)


def _runs(points: Sequence[tuple[int, float]]) -> list[list[tuple[int, float]]]:
    """The points split into runs without a gap."""
    runs: list[list[tuple[int, float]]] = [[]]
    for epoch, value in points:
        if math.isfinite(value):
            runs[-1].append((epoch, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _last(history: History, metric: str) -> str:
    value = history[max(history)].get(metric, math.nan) if history else math.nan
    return _text(value, metric.partition("_")[2])


def _text(value: float, what: str) -> str:
    return f"{value:.4f}" if what == "loss" else f"{value:.2%}"
