"""The charts of a study: its course and cost, and its parameters."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from pipeline.reporting.regression import Regression
from pipeline.reporting.study_figures import Scale
from pipeline.reporting.svg import Axis, axis_of, chart, dot, frame, line, vertical_grid, word_axis
from pipeline.reporting.table import StudyTable, TrialRow

WIDTH, HEIGHT = 720.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 14.0, 26.0, 44.0
_CURVES = 8  # best trials whose learning curves stand out


def goal_axis(table: StudyTable, first: float, last: float) -> Axis:
    """The objective's axis, without the disasters that would press good trials into one line."""
    values = sorted(trial.value for trial in table.complete)
    share = table.directions[0] == "maximize" and all(0 <= value <= 1 for value in values)
    if len(values) >= 8:
        low, quarter, high = values[0], values[len(values) // 4], values[-1]
        if table.directions[0] == "maximize" and quarter - low > 2 * (high - quarter) > 0:
            values = [value for value in values if value >= quarter - 2 * (high - quarter)]
    return axis_of(values, first, last, percent=share)


def said(trial: TrialRow) -> str:
    """A trial in one line, for hovering."""
    value = f"{trial.value:.4f}" if trial.objective else trial.state.lower()
    return f"{trial.name}: {value}, {trial.epochs} epochs, {trial.duration_s:.1f} s"


def history(table: StudyTable) -> str:
    """Objective of each trial in turn, and the best so far."""
    x = axis_of([trial.number for trial in table.trials], LEFT, WIDTH - RIGHT, pad=0.02)
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
    stopped = [trial for trial in table.trials if trial.state in ("PRUNED", "FAIL")]
    parts += [
        dot(x(trial.number), HEIGHT - BOTTOM, trial.state.lower(), said(trial), 3)
        for trial in stopped
    ]
    parts.append(line(steps, "best"))
    told = (
        f"{len(table.complete)} complete trials; the best reaches {best:.4f}."
        if best is not None
        else "No complete trial."
    )
    caption = (
        "Each point a complete trial; the line is the best so far. On the axis: pruned (orange) "
        "and failed (red) trials."
    )
    if hidden:
        caption += f" {hidden} far worse trials lie outside the picture."
    return chart("".join(parts), WIDTH, HEIGHT, "Optimisation history", told, caption)


def curves(table: StudyTable) -> str:
    """Validation accuracy over epochs, the best trials in front."""
    metric = "valid_accuracy"
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
    low = float(np.quantile(values, 0.15))
    x = axis_of([e for t in rows for e in t.history], LEFT, WIDTH - RIGHT, pad=0.03)
    y = axis_of([v for v in values if v >= low], HEIGHT - BOTTOM, TOP, percent=True)
    parts = [frame(x, y, "epoch", "validation accuracy")]
    for trial in sorted(rows, key=lambda t: t.number in leaders):
        points = [
            (x(e), y(m[metric]))
            for e, m in sorted(trial.history.items())
            if metric in m and m[metric] >= y.low
        ]
        if points:
            kind = "curve lead" if trial.number in leaders else "curve"
            parts.append(
                line(points, kind, said(trial))
                if len(points) > 1
                else dot(*points[0], kind="faint", title=said(trial), radius=2)
            )
    best = table.best_first[0].name if table.complete else "none"
    told = f"Validation accuracy over epochs of {len(rows)} trials; the best is {best}."
    return chart(
        "".join(parts),
        WIDTH,
        HEIGHT,
        "Learning curves",
        told,
        f"The {min(_CURVES, len(leaders))} best trials in colour, the others in grey.",
    )


def pareto_front(
    rows: Sequence[TrialRow], cost: Callable[[TrialRow], float], *, maximize: bool
) -> list[TrialRow]:
    """Trials that no other beats in both cost (less is better) and objective, cheapest first."""
    front: list[TrialRow] = []
    sign = 1.0 if maximize else -1.0
    for trial in sorted(rows, key=lambda t: (cost(t), -sign * t.value)):
        if not front or sign * trial.value > sign * front[-1].value:
            front.append(trial)
    return front


def pareto(table: StudyTable, cost: Callable[[TrialRow], float], name: str) -> str:
    """Objective against a cost, with the front of trials that are best for what they cost."""
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
    return chart("".join(parts), width, height, f"Objective against {name}", told)


def timeline(table: StudyTable) -> str:
    """Which trial ran in which slot when."""
    spans = [(trial, *span) for trial in table.trials for span in trial.spans]
    if not spans:
        return ""
    slots = sorted({slot for _, slot, _, _ in spans})
    start, end = min(span[2] for span in spans), max(span[3] for span in spans)
    height = 26.0 * len(slots) + 50
    x = Axis(0.0, max(end - start, 1e-3), LEFT, WIDTH - RIGHT)
    parts = [vertical_grid(x, 6, height - 38, 8)]
    for index, slot in enumerate(slots):
        parts.append(
            f'<text class="label" x="{LEFT - 8:g}" y="{22 + 26 * index}" text-anchor="end">slot '
            f"{slot}</text>"
        )
    for trial, slot, begin, finish in spans:
        left = x(begin - start)
        width = max(x(finish - start) - left - 0.8, 0.6)
        place = f'x="{left:g}" y="{8 + 26 * slots.index(slot)}" width="{width:.1f}" height="20"'
        parts.append(
            f'<rect class="{trial.state.lower()}" '
            f"{place}><title>{escape(said(trial))}</title></rect>"
        )
    parts.append(
        f'<text class="name" x="{(LEFT + WIDTH) / 2:g}" y="{height - 4:g}" '
        'text-anchor="middle">seconds since the start</text>'
    )
    told = f"{len(spans)} stays of trials in {len(slots)} slots over {end - start:.0f} seconds."
    return chart(
        "".join(parts),
        WIDTH,
        height,
        "Timeline of slots",
        told,
        "Blue: complete; orange: pruned; red: failed; grey: interrupted.",
    )


def importances(regression: Regression) -> str:
    """Bars with 95 % intervals."""
    rows = regression.shares
    left, height = 150.0, 26.0 * len(rows) + 50
    x = Axis(0.0, max(0.05, *(min(1.0, row[3]) for row in rows)), left, WIDTH - RIGHT, percent=True)
    parts = [vertical_grid(x, 8, height - 38)]
    for index, (name, share, low, high) in enumerate(rows):
        y = 12 + 26 * index
        parts.append(
            f'<text class="label" x="{left - 8:g}" y="{y + 14}" '
            f'text-anchor="end">{escape(name)}</text>'
        )
        place = f'x="{left:g}" y="{y}" width="{max(x(share) - left, 0.5):.1f}" height="18"'
        parts.append(f'<rect class="bar" {place}><title>{escape(name)}: {share:.1%}</title></rect>')
        parts.append(
            f'<path class="whisker" d="M{x(low):g} {y + 9}H{x(min(1.0, high)):g}M{x(low):g} '
            f'{y + 5}v8M{x(min(1.0, high)):g} {y + 5}v8"/>'
        )
    parts.append(
        f'<text class="name" x="{(left + WIDTH) / 2:g}" y="{height - 4:g}" '
        'text-anchor="middle">share of the objective\'s variance</text>'
    )
    told = "; ".join(
        f"{name} {share:.0%} (95 % interval {low:.0%} to {high:.0%})"
        for name, share, low, high in rows
    )
    return chart("".join(parts), WIDTH, height, "Importance of each parameter", told)


def slices(table: StudyTable, names: Sequence[str]) -> str:
    """The objective against each parameter alone."""
    return f'<div class="grid-of-charts">{"".join(_slice(table, name) for name in names)}</div>'


def _slice(table: StudyTable, name: str) -> str:
    rows = [trial for trial in table.complete if name in trial.params]
    if not rows:
        return ""
    scale = Scale([trial.params[name] for trial in rows])
    width, height = 340.0, 210.0
    if scale.is_number:
        places = [scale.number(trial.params[name]) for trial in rows]
        x = axis_of(places, 58, width - 12, log=scale.is_log)
    else:  # beside each other, not on top of each other
        places = [
            scale.words.index(str(t.params[name])) + 0.5 * ((0.618 * t.number) % 1 - 0.5)
            for t in rows
        ]
        x = word_axis(scale.words, 58, width - 12)
    y = goal_axis(table, height - 42, 20)
    parts = [frame(x, y, name, "", x_most=4, y_most=4)]
    for trial, at in zip(rows, places, strict=True):
        if y.low <= trial.value <= y.high:
            parts.append(
                dot(
                    x(at),
                    y(trial.value),
                    "done",
                    f"{said(trial)}; {name} = {trial.params[name]}",
                    2.6,
                )
            )
    return chart(
        "".join(parts), width, height, f"Objective against {name}", f"{len(rows)} complete trials."
    )


def parallel(table: StudyTable, names: Sequence[str]) -> str:
    """Complete trials as lines through parameters to the objective; the best tenth stands out."""
    rows, names = table.best_first[::-1], list(names)[:8]
    if len(rows) < 2 or not names:
        return ""
    scales = {name: Scale([t.params[name] for t in rows if name in t.params]) for name in names}
    goal = goal_axis(table, HEIGHT - BOTTOM, TOP)
    at = {
        name: round(40 + (WIDTH - 100) * index / len(names), 1)
        for index, name in enumerate([*names, "objective"])
    }
    leaders = {t.number for t in table.best_first[: max(3, len(rows) // 10)]}
    parts = []
    for trial in rows:
        if trial.value >= goal.low:
            points = [
                (at[n], _height(scales[n].place(trial.params[n])))
                for n in names
                if n in trial.params
            ]
            kind = "curve lead" if trial.number in leaders else "curve"
            parts.append(line([*points, (at["objective"], goal(trial.value))], kind, said(trial)))
    marks = {
        name: [(_height(place), text) for place, text in scales[name].ticks()] for name in names
    }
    marks["objective"] = goal.ticks(4)
    for index, (name, x) in enumerate(at.items()):
        parts.append(f'<path class="axis" d="M{x:g} {TOP:g}V{HEIGHT - BOTTOM:g}"/>')
        parts += [
            f'<text class="tick halo" x="{x + 4:g}" y="{y + 3:g}">{escape(text)}</text>'
            for y, text in marks[name]
        ]
        anchor, shift = (
            ("start", -30) if index == 0 else ("end", 50) if name == "objective" else ("middle", 0)
        )
        low = HEIGHT - BOTTOM + (18 if index % 2 == 0 else 34)
        parts.append(
            f'<text class="label" x="{x + shift:g}" y="{low:g}" '
            f'text-anchor="{anchor}">{escape(name)}</text>'
        )
    told = f"Parameters of {len(rows)} complete trials; the best tenth is in colour."
    return chart(
        "".join(parts),
        WIDTH,
        HEIGHT,
        "Parallel coordinates",
        told,
        "One line a trial; the best tenth in colour.",
    )


def _height(place: float) -> float:
    return round(HEIGHT - BOTTOM - place * (HEIGHT - BOTTOM - TOP), 1)
