"""The report on the search: what was searched, how it went, what mattered, what was stopped, what
it cost, every trial, and how the figures were computed.
"""

from html import escape
from typing import Any

from pipeline.reporting import course_charts, parameter_charts
from pipeline.reporting.effects import Unit, unit_of
from pipeline.reporting.facts import Facts
from pipeline.reporting.html import Cell, bullets, table, text
from pipeline.reporting.table import TrialRow, clock


def searched(facts: Facts) -> str:
    """The space, the sampler and the limits."""
    space = facts.config.get("space") or {}
    rows = [
        [name, entry.get("path", name), _range(entry), _when(entry)]
        for name, entry in space.items()
    ]
    if not rows:
        rows = [
            [name, name, str(distribution), ""]
            for name, distribution in facts.table.distributions.items()
        ]
    parts = [table(["name", "sets", "values", "only when"], rows, "The search space")]
    about = {
        name: facts.config.get(name, {})
        for name in ("sampler", "pruner", "slots", "train", "data", "study")
    }
    points = []
    if about["sampler"]:
        points.append(
            f"Sampler {about['sampler'].get('name')}, pruner {about['pruner'].get('name')}, seed "
            f"{about['study'].get('seed')}."
        )
    if about["train"]:
        points.append(
            f"At most {about['train'].get('epochs')} epochs a trial; data "
            f"{about['data'].get('name')}."
        )
    if facts.table.started is not None:
        tags = facts.table.started.tags
        machine = ", ".join(tags[key] for key in ("processor", "blas", "kernels") if tags.get(key))
        points.append(f"{facts.table.started.slots} slots{f' on {machine}' if machine else ''}.")
    return "".join(parts) + bullets([escape(point) for point in points])


def _range(entry: dict[str, Any]) -> str:
    for kind in ("choice", "group"):
        if kind in entry:
            return ", ".join(str(value) for value in entry[kind])
    for kind in ("int", "float"):
        if kind in entry:
            low, high = entry[kind]
            return (
                f"{low} to {high}"
                + (", by logarithm" if entry.get("log") else "")
                + (f", step {entry['step']}" if entry.get("step") else "")
            )
    return str(entry)


def _when(entry: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} is {value if not isinstance(value, list) else ' or '.join(map(str, value))}"
        for key, value in (entry.get("when") or {}).items()
    )


def course(facts: Facts) -> str:
    """History, learning curves, timeline."""
    study = facts.table
    parts = [course_charts.history(study), course_charts.curves(study)] if study.complete else []
    parts.append(course_charts.timeline(study))
    if study.ended is not None:
        share = study.ended.outside_training
        words = f"{share:.1%} of the slots' time was spent outside training."
        if (facts.config.get("study") or {}).get("deterministic"):
            words = (
                "Deterministic mode costs waiting: the trials of a round wait for each other. "
                f"{words}"
            )
        parts.append(text(words))
    retries = [(trial.number, reason) for trial in study.trials for reason in trial.retries]
    if retries:
        parts.append(
            text(
                f"{len(retries)} epochs were run again after a worker was lost: trials "
                f"{', '.join(str(n) for n, _ in retries[:12])}."
            )
        )
    return "".join(parts)


def planned_time(facts: Facts) -> str:
    """What time budgets were planned to hold, each plan made anew with its reason, and what came of
    it; empty without a budget.
    """
    if not facts.times:
        return ""
    rows: list[list[Cell]] = [
        [
            entry.stage,
            (f"{clock(entry.used_s)} of {clock(60 * entry.minutes)}", entry.used_s),
            entry.text,
            entry.reason,
        ]
        for entry in facts.times
    ]
    return table(["stage", "used", "plan or outcome", "why anew"], rows, "Time budgets")


def mattered(facts: Facts) -> str:
    """Importances and effects with their intervals, and the charts behind them."""
    study = facts.table
    if not study.complete:
        return ""
    parts = []
    if facts.regression is None:
        words = (
            f"{len(study.complete)} complete trials are too few to tell the parameters' effects "
            "apart"
        )
        rest = (
            "their nets' differences are below" if facts.effects else "the pictures show the rest"
        )
        parts.append(text(f"{words}; {rest}."))
    else:
        explained = f"{facts.regression.explained:.0%}"
        words = (
            f"A regression over {facts.regression.trials} complete trials explains {explained} of "
            "the objective's variance."
        )
        parts.append(
            text(
                f"{words} Effects are adjusted for the other parameters; ± is half of a 95 % "
                "interval."
            )
        )
    if facts.effects:
        clear = [f"<b>{escape(e.name)}</b>: {escape(e.text)}" for e in facts.effects if e.clear]
        unclear = [
            f'<span class="unclear"><b>{escape(e.name)}</b>: {escape(e.text)} (not clear)</span>'
            for e in facts.effects
            if not e.clear
        ]
        parts.append(bullets(clear + unclear))
    if facts.regression is not None:
        parts.append(parameter_charts.importances(facts.regression))
    parts.append(parameter_charts.slices(study, facts.names))
    parts.append(parameter_charts.parallel(study, facts.names))
    parts.append(parameter_charts.contour(study, facts.names))
    return "".join(parts)


def stopped(facts: Facts) -> str:
    """Paused, pruned and failed trials by reason."""
    parts = []
    for state, heading in (("PAUSED", "Paused"), ("PRUNED", "Pruned"), ("FAIL", "Failed")):
        found = facts.stopped.get(state)
        if found:
            total = sum(count for _, count in found)
            parts.append(f"<h3>{heading}: {total} of {len(facts.table.trials)}</h3>")
            parts.append(bullets([f"{escape(reason)}: {count}" for reason, count in found[:12]]))
    if parts:
        saved = sum(
            trial.epochs_wanted - trial.epochs
            for trial in facts.table.trials
            if trial.state in ("PRUNED", "PAUSED") and trial.epochs_wanted
        )
        if saved > 0:
            parts.append(text(f"Pruning saved {saved} epochs of those trials."))
    return "".join(parts) or text("Every trial ran to its end.")


def cost(facts: Facts) -> str:
    """Pareto fronts over training time and size."""
    study = facts.table
    by_time = course_charts.pareto(study, lambda trial: trial.duration_s, "training seconds")
    by_size = course_charts.pareto(
        study, lambda trial: trial.extra.get("parameters", 0.0), "parameters"
    )
    if not by_time and not by_size:
        return ""
    parts = [
        "<p>The line joins the trials that no other beats in both: what more accuracy costs.</p>"
    ]
    parts.append(f'<div class="grid-of-charts">{by_time}{by_size}</div>')
    unit = unit_of(study)
    front = course_charts.pareto_front(
        study.complete, lambda trial: trial.duration_s, maximize=study.directions[0] == "maximize"
    )
    rows: list[list[Cell]] = [
        [
            t.name,
            (unit.value(t.value), t.value),
            (f"{t.duration_s:.1f}", t.duration_s),
            (f"{t.extra.get('parameters', 0):,.0f}", t.extra.get("parameters", 0.0)),
        ]
        for t in front
    ]
    parts.append(
        table(["trial", "objective", "seconds", "parameters"], rows, "The front over training time")
    )
    return "".join(parts)


def trials(facts: Facts) -> str:
    """Every trial, in a sortable table."""
    study, names = facts.table, facts.names
    taken = ["prior"] if any(trial.prior for trial in study.trials) else []
    heads = ["trial", "state", "objective", "epochs", "seconds", *taken, *names]
    unit = unit_of(study)
    order = {trial.number: place for place, trial in enumerate(study.best_first)}
    rows: list[list[Cell]] = []
    for trial in sorted(study.trials, key=lambda t: (order.get(t.number, len(order)), t.number)):
        value: Cell = (_with_spread(trial, unit), trial.value) if trial.objective else ""
        cells: list[Cell] = [
            (str(trial.number), float(trial.number)),
            trial.state.lower() + (f" ({trial.foreign})" if trial.foreign else ""),
            value,
            (str(trial.epochs), trial.epochs),
        ]
        cells.append((f"{trial.duration_s:.1f}", trial.duration_s))
        cells += [trial.prior for _ in taken]
        cells += [_parameter(trial.params.get(name)) for name in names]
        rows.append(cells)
    return table(
        heads,
        rows,
        f"{len(rows)} trials, best first; click a column heading to sort",
        sortable=True,
    )


def _with_spread(trial: TrialRow, unit: Unit) -> str:
    spread = "" if trial.std is None else f" ± {trial.std * unit.factor:.2g}{unit.word}"
    return unit.value(trial.value) + spread


def _parameter(value: Any) -> Cell:
    if value is None:
        return ""
    return (
        (f"{value:.4g}", float(value))
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value)
    )


def methods(facts: Facts) -> str:
    """How the statistics were computed, so that they can be checked."""
    return bullets(
        [
            "Effects and importances: a regression of the objective on all searched parameters (an "
            "offset for each choice, a parabola over "
            "each number's range), fitted with Huber's weights so that a few disasters do not "
            "decide; intervals from 300 bootstrap "
            "resamples of the trials. Pruned and failed trials have no objective and are left out, "
            "which favours the ranges where "
            "trials survive. The sampler chose the trials, so effects are adjusted associations, "
            "not proofs.",
            "Where a choice was tried with several seeds or folds a trial and all else equal, its "
            "effect is the mean difference, net by net, with the interval of Student's paired test "
            "instead.",
            "Importance is each parameter's part in the explained variance (Pratt's measure); what "
            "is missing to 100 % is noise and what "
            "the model cannot say.",
            "Selection optimism: true values are estimated by shrinking the better half of the "
            "observed ones towards their mean, as far "
            "as the noise demands; 2,000 replays with fresh noise tell how far a winner's value "
            "lies above its truth. Without repeated "
            "seeds the noise is taken to be the sampling error of the validation images; since all "
            "trials share those images, this is an "
            "upper estimate.",
            "What more time would bring: the trials (where the sampler has clearly learnt, those "
            "of the later half) are taken as draws of one distribution, whose upper tail is fitted "
            "(generalised Pareto, L-moments); the part of the improvement that the noise of a "
            "value explains is left out. After ± stands one standard deviation, of the estimate "
            "and of luck together.",
            "Validation images were used for choosing; the test images were not opened for this "
            "page.",
        ]
    )
