"""The report's charts of parameters: importances, slices, parallel coordinates."""

from collections.abc import Sequence
from html import escape

from pipeline.reporting.charts import BOTTOM, HEIGHT, RIGHT, TOP, WIDTH, goal_axis, said
from pipeline.reporting.regression import Regression
from pipeline.reporting.svg import Axis, axis_of, chart, dot, frame, line, vertical_grid, word_axis
from pipeline.tracking.study_figures import Scale
from pipeline.tracking.table import StudyTable


def importances(regression: Regression) -> str:
    """Bars with 95 % intervals."""
    rows = regression.shares
    left, height = 150.0, 26.0 * len(rows) + 50
    x = Axis(0.0, max(0.05, *(min(1.0, row[3]) for row in rows)), left, WIDTH - RIGHT, percent=True)
    parts = [vertical_grid(x, 8, height - 38)]
    for index, (name, share, low, high) in enumerate(rows):
        y = 12 + 26 * index
        parts.append(f'<text class="label" x="{left - 8:g}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        place = f'x="{left:g}" y="{y}" width="{max(x(share) - left, 0.5):.1f}" height="18"'
        parts.append(f'<rect class="bar" {place}><title>{escape(name)}: {share:.1%}</title></rect>')
        parts.append(
            f'<path class="whisker" d="M{x(low):g} {y + 9}H{x(min(1.0, high)):g}M{x(low):g} {y + 5}v8M{x(min(1.0, high)):g} {y + 5}v8"/>'
        )
    parts.append(
        f'<text class="name" x="{(left + WIDTH) / 2:g}" y="{height - 4:g}" text-anchor="middle">share of the objective\'s variance</text>'
    )
    told = "; ".join(f"{name} {share:.0%} (95 % interval {low:.0%} to {high:.0%})" for name, share, low, high in rows)
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
        places = [scale.words.index(str(t.params[name])) + 0.5 * ((0.618 * t.number) % 1 - 0.5) for t in rows]
        x = word_axis(scale.words, 58, width - 12)
    y = goal_axis(table, height - 42, 20)
    parts = [frame(x, y, name, "", x_most=4, y_most=4)]
    for trial, at in zip(rows, places, strict=True):
        if y.low <= trial.value <= y.high:
            parts.append(dot(x(at), y(trial.value), "done", f"{said(trial)}; {name} = {trial.params[name]}", 2.6))
    return chart("".join(parts), width, height, f"Objective against {name}", f"{len(rows)} complete trials.")


def parallel(table: StudyTable, names: Sequence[str]) -> str:
    """A line per complete trial through its parameters to the objective; the best tenth stands out."""
    rows, names = table.best_first[::-1], list(names)[:8]
    if len(rows) < 2 or not names:
        return ""
    scales = {name: Scale([t.params[name] for t in rows if name in t.params]) for name in names}
    goal = goal_axis(table, HEIGHT - BOTTOM, TOP)
    at = {name: round(40 + (WIDTH - 100) * index / len(names), 1) for index, name in enumerate([*names, "objective"])}
    leaders = {t.number for t in table.best_first[: max(3, len(rows) // 10)]}
    parts = []
    for trial in rows:
        if trial.value >= goal.low:
            points = [(at[n], _height(scales[n].place(trial.params[n]))) for n in names if n in trial.params]
            kind = "curve lead" if trial.number in leaders else "curve"
            parts.append(line([*points, (at["objective"], goal(trial.value))], kind, said(trial)))
    marks = {name: [(_height(place), text) for place, text in scales[name].ticks()] for name in names}
    marks["objective"] = goal.ticks(4)
    for index, (name, x) in enumerate(at.items()):
        parts.append(f'<path class="axis" d="M{x:g} {TOP:g}V{HEIGHT - BOTTOM:g}"/>')
        parts += [f'<text class="tick halo" x="{x + 4:g}" y="{y + 3:g}">{escape(text)}</text>' for y, text in marks[name]]
        anchor, shift = ("start", -30) if index == 0 else ("end", 50) if name == "objective" else ("middle", 0)
        low = HEIGHT - BOTTOM + (18 if index % 2 == 0 else 34)
        parts.append(f'<text class="label" x="{x + shift:g}" y="{low:g}" text-anchor="{anchor}">{escape(name)}</text>')
    told = f"Parameters of {len(rows)} complete trials; the best tenth is in colour."
    return chart("".join(parts), WIDTH, HEIGHT, "Parallel coordinates", told, "One line a trial; the best tenth in colour.")


def _height(place: float) -> float:
    return round(HEIGHT - BOTTOM - place * (HEIGHT - BOTTOM - TOP), 1)
