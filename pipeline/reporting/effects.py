"""What mattered, in sentences: differences between choices, the best value of a number, with 95 %
intervals.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from optuna.distributions import CategoricalDistribution

from pipeline.reporting.comparison import paired_difference
from pipeline.reporting.regression import Floats, Group, Regression, design_row, value_at
from pipeline.reporting.table import StudyTable, TrialRow

_FEWEST = 5  # trials needed on each side to compare within a branch
_CLEAR_Z = 2.58  # for 99 %, since many pairs are compared


@dataclass(frozen=True)
class Effect:
    """One finding: `text` states it, `clear` says whether its interval excludes zero."""

    name: str
    text: str
    size: float
    half_width: float

    @property
    def clear(self) -> bool:
        return abs(self.size) > self.half_width


@dataclass(frozen=True)
class Unit:
    """How the objective and its differences are written: accuracies in per cent and percentage
    points, other values plainly.
    """

    factor: float
    word: str

    def difference(self, size: float, half_width: float) -> str:
        """A difference, such as ``+0.21 ± 0.05 points``."""
        digits = self._digits(half_width)
        return (
            f"{size * self.factor:+.{digits}f} ± {half_width * self.factor:.{digits}f}{self.word}"
        )

    def estimate(self, value: float, half_width: float) -> str:
        """A value with half its interval, such as ``98.71 ± 0.05 %``."""
        digits, sign = self._digits(half_width), " %" if self.factor == 100.0 else ""
        scaled, half = value * self.factor, half_width * self.factor
        return f"{scaled:.{digits}f} ± {half:.{digits}f}{sign}"

    def value(self, value: float) -> str:
        """A value, such as ``98.71 %``."""
        return f"{value * 100:.2f} %" if self.factor == 100.0 else f"{value:.4g}"

    def _digits(self, half_width: float) -> int:
        scaled = abs(half_width * self.factor)
        return 2 if scaled == 0 else int(np.clip(1 - np.floor(np.log10(scaled)), 0, 4))


SHARE, VALUE = Unit(100.0, " points"), Unit(1.0, "")


def unit_of(table: StudyTable) -> Unit:
    """The unit of the objective: per cent for accuracies (between 0 and 1, to be maximised)."""
    values = [trial.value for trial in table.complete]
    is_share = table.directions[0] == "maximize" and all(0.0 <= value <= 1.0 for value in values)
    return SHARE if is_share else VALUE


def effects(table: StudyTable, regression: Regression) -> list[Effect]:
    """All findings, the clear and large ones first."""
    unit, sign = unit_of(table), 1.0 if table.directions[0] == "maximize" else -1.0
    found: list[Effect] = []
    for group in regression.groups:
        found += (
            _choices(group, regression, unit, sign)
            if group.words
            else [_number(group, regression, unit, sign)]
        )
    found.sort(key=lambda effect: (not effect.clear, -abs(effect.size)))
    return found + interactions(table, regression, unit)


def _choices(group: Group, regression: Regression, unit: Unit, sign: float) -> list[Effect]:
    own = regression.coefficients[group.columns]
    best = group.words[int(np.argmax(sign * own))]
    found = []
    for other in group.words:
        if other != best:
            size, half = regression.contrast(group.name, best, other)
            found.append(
                Effect(
                    group.name, f"{best} over {other}: {unit.difference(size, half)}", size, half
                )
            )
    return found


def _number(group: Group, regression: Regression, unit: Unit, sign: float) -> Effect:
    places = np.linspace(0.0, 1.0, 101)
    basis = np.stack([group.encode(value_at(group.distribution, float(place))) for place in places])
    curves = sign * (regression.resampled[:, group.columns] @ basis.T)
    curve = sign * (basis @ regression.coefficients[group.columns])
    best = int(curve.argmax())
    inner = curve[10:91]  # few trials lie near the ends of a range
    worst = 10 + int(inner.argmin())
    low, high = np.quantile(places[curves.argmax(axis=1)], [0.025, 0.975])
    spread = curves[:, best] - curves[:, worst]
    size = float(curve[best] - curve[worst])
    half = float(np.subtract(*np.quantile(spread, [0.975, 0.025]))) / 2

    def said(place: float) -> str:
        return f"{value_at(group.distribution, place):.3g}"

    text = (
        f"best near {said(float(places[best]))} (95 % interval {said(float(low))} to "
        f"{said(float(high))}); "
        f"against {said(float(places[worst]))}: {unit.difference(size, half)}"
    )
    return Effect(group.name, text, size, half)


def interactions(table: StudyTable, regression: Regression, unit: Unit) -> list[Effect]:
    """Differences between two choices that depend on another parameter; only clear ones (99 %) are
    reported.
    """
    rows = table.complete
    residuals, weights = _residuals(rows, regression)
    categorical = [group for group in regression.groups if group.words]
    found = []
    for group, other in permutations(categorical, 2):
        if len(group.words) != 2:
            continue
        levels = _levels(group, other, rows, regression, residuals, weights)
        if len(levels) >= 2:
            found += _told(group, levels, unit)
    return found


def paired_effects(table: StudyTable) -> list[Effect]:
    """Differences between choices that were tried with several seeds (or folds) each and all else
    equal: net by net, by the paired test. Empty where trials have one net.
    """
    unit, sign = unit_of(table), 1.0 if table.directions[0] == "maximize" else -1.0
    found: list[Effect] = []
    free = {name for name, values in table.distributions.items() if not values.single()}
    for name, distribution in table.distributions.items():
        if name in free and isinstance(distribution, CategoricalDistribution):
            found += _paired_choices(name, free - {name}, table.complete, unit, sign)
    return sorted(found, key=lambda effect: (not effect.clear, -abs(effect.size)))


def _paired_choices(
    name: str, others: Set[str], rows: Sequence[TrialRow], unit: Unit, sign: float
) -> Iterator[Effect]:
    """Yield the best choice over each other one that it shares settings of the others with.

    A net's difference is the mean over these settings: its seed may be the same in all of them, so
    they are no more nets.
    """
    settings: dict[str, dict[str, list[float]]] = {}  # the rest of a trial -> choice -> its nets
    for row in rows:
        if name in row.suggested and len(row.nets) > 1:
            rest = {key: value for key, value in row.suggested.items() if key in others}
            settings.setdefault(repr(sorted(rest.items())), {})[str(row.suggested[name])] = row.nets
    means: dict[str, list[float]] = {}
    most = max(map(len, settings.values()), default=0)
    for choices in settings.values():
        for word, nets in choices.items() if len(choices) == most else ():
            means.setdefault(word, []).append(sign * float(np.mean(nets)))
    best = max(sorted(means), key=lambda word: float(np.mean(means[word])), default="")
    for word in sorted(means.keys() - {best}):
        both = [each for each in settings.values() if best in each and word in each]
        if both:
            over, under = (np.mean([each[w] for each in both], axis=0) for w in (best, word))
            found = paired_difference(over.tolist(), under.tolist())
            text = f"{best} over {word}: {unit.difference(found.mean, found.half_width)}"
            yield Effect(name, text, found.mean, found.half_width)


Level = tuple[str, float, float]  # word of the other parameter, difference, its standard error


def _levels(
    group: Group,
    other: Group,
    rows: Sequence[TrialRow],
    regression: Regression,
    residuals: Floats,
    weights: Floats,
) -> list[Level]:
    main = float(np.subtract(*regression.coefficients[group.columns]))
    levels: list[Level] = []
    for word in other.words:
        sides = []
        for own in group.words:
            index = [
                i
                for i, row in enumerate(rows)
                if _has(row, other.name, word) and _has(row, group.name, own)
            ]
            if len(index) < _FEWEST:
                break
            w = weights[index]
            mean = float(np.average(residuals[index], weights=w))
            variance = float(np.average((residuals[index] - mean) ** 2, weights=w)) / max(
                float(w.sum()) - 1, 1
            )
            sides.append((mean, variance))
        if len(sides) == 2:
            levels.append(
                (word, main + sides[0][0] - sides[1][0], float(np.sqrt(sides[0][1] + sides[1][1])))
            )
    return levels


def _told(group: Group, levels: Sequence[Level], unit: Unit) -> list[Effect]:
    low, high = min(levels, key=lambda level: level[1]), max(levels, key=lambda level: level[1])
    error = float(np.hypot(low[2], high[2]))
    if high[1] - low[1] <= _CLEAR_Z * error:
        return []
    parts = [f"with {word} {unit.difference(size, 1.96 * se)}" for word, size, se in (high, low)]
    text = f"{group.words[0]} over {group.words[1]} depends: {', '.join(parts)}"
    return [Effect(group.name, text, high[1] - low[1], 1.96 * error)]


def _has(row: TrialRow, name: str, word: str) -> bool:
    return str(row.suggested.get(name)) == word


def _residuals(rows: Sequence[TrialRow], regression: Regression) -> tuple[Floats, Floats]:
    x = np.stack([design_row(regression.groups, row) for row in rows])
    residuals = np.array([row.value for row in rows]) - x @ regression.coefficients
    residuals -= np.median(residuals)
    weights = np.minimum(1.0, 1.345 * regression.scale / np.maximum(np.abs(residuals), 1e-12))
    return residuals, weights
