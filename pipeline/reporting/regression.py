"""How much each parameter matters: a robust regression over a study's trials, with bootstrap
intervals. NumPy alone.

Model: ``y = a + sum_g f_g(x_g) + e``, one group g for each suggested parameter: an offset for each
word of a categorical one, ``b z + c (z^2 - 1/3)`` for a number, z its place in the searched range
scaled to [-1, 1] (by logarithm where the space says so). A parameter of a branch that a trial did
not take contributes nothing: the branch's own offset stands for it. Fitted by iteratively
reweighted least squares with Huber's weights (k = 1.345; Huber 1964), so that a few very bad trials
do not dominate, and a slight ridge, so that coefficients from few trials do not explode. Intervals:
the trials are resampled with replacement.

This is no designed experiment: the sampler chose the trials, so effects are associations adjusted
for the other parameters, not proof of causes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from pipeline.events import Scalar
from pipeline.reporting.table import StudyTable, TrialRow

Floats = NDArray[np.float64]
HUBER_K = 1.345
RESAMPLES = 300
_ITERATIONS = 12
_RIDGE = 0.05


@dataclass(frozen=True)
class Group:
    """The columns of one parameter: `words` of a categorical one, else its `distribution`."""

    name: str
    distribution: BaseDistribution
    words: tuple[str, ...]
    first: int
    width: int

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.width)

    def encode(self, value: Scalar) -> Floats:
        """The columns for one value."""
        if self.words:
            return np.array([1.0 if str(value) == word else 0.0 for word in self.words])
        z = 2 * unit_position(self.distribution, float(value)) - 1  # type: ignore[arg-type]
        return np.array([z, z * z - 1 / 3])[: self.width]


@dataclass(frozen=True)
class Regression:
    """The fit: coefficients, and those of each resample (resamples, columns)."""

    groups: tuple[Group, ...]
    coefficients: Floats
    resampled: Floats
    explained: float  # R^2: share of the (Huber-weighted) variance
    shares: tuple[
        tuple[str, float, float, float], ...
    ]  # name, share, 95 % interval; the largest first
    trials: int
    scale: float  # robust standard deviation of the residuals

    def contrast(self, name: str, value: Scalar, other: Scalar) -> tuple[float, float]:
        """Effect of `value` over `other`, and half its 95 % interval, in the objective's unit."""
        group = next(g for g in self.groups if g.name == name)
        difference = group.encode(value) - group.encode(other)
        effect = float(self.coefficients[group.columns] @ difference)
        low, high = np.quantile(self.resampled[:, group.columns] @ difference, [0.025, 0.975])
        return effect, float(high - low) / 2


def unit_position(distribution: BaseDistribution, value: float) -> float:
    """Place of a number in its searched range, 0 to 1."""
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"unit_position: the distribution must be of numbers, got {distribution}")
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        low, high, value = np.log(low), np.log(high), np.log(value)
    return 0.5 if high == low else (value - low) / (high - low)


def value_at(distribution: BaseDistribution, position: float) -> float:
    """The inverse of `unit_position`."""
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"value_at: the distribution must be of numbers, got {distribution}")
    low, high = float(distribution.low), float(distribution.high)
    if distribution.log:
        return float(np.exp(np.log(low) + position * (np.log(high) - np.log(low))))
    return low + position * (high - low)


def fit_study(table: StudyTable, *, seed: int = 0, resamples: int = RESAMPLES) -> Regression | None:
    """Fits the model to the complete trials; None where they are too few to separate the
    parameters.
    """
    rows = table.complete
    groups = _groups(table, rows, squares=True)
    if len(rows) < _columns(groups) + 8:
        groups = _groups(table, rows, squares=False)
    if not groups or len(rows) < _columns(groups) + 6:
        return None
    x = np.stack([design_row(groups, row) for row in rows])
    y = np.array([row.value for row in rows])
    fitted, weights, scale = _huber(x, y)
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, len(y), len(y)) for _ in range(resamples)]
    resampled = [_huber(x[chosen], y[chosen]) for chosen in drawn]
    shares = np.stack(
        [
            _shares(groups, x[c], y[c], fit[0], fit[1])
            for c, fit in zip(drawn, resampled, strict=True)
        ]
    )
    main = _shares(groups, x, y, fitted, weights)
    low, high = np.quantile(shares, [0.025, 0.975], axis=0)
    listed = [
        (g.name, float(max(m, 0.0)), float(max(a, 0.0)), float(max(b, 0.0)))
        for g, m, a, b in zip(groups, main, low, high, strict=True)
    ]
    listed.sort(key=lambda item: -item[1])
    coefficients = np.stack([fit[0] for fit in resampled])
    return Regression(
        tuple(groups),
        fitted,
        coefficients,
        float(max(main.sum(), 0.0)),
        tuple(listed),
        len(rows),
        scale,
    )


def _columns(groups: Sequence[Group]) -> int:
    return sum(group.width for group in groups)


def _groups(table: StudyTable, rows: Sequence[TrialRow], *, squares: bool) -> list[Group]:
    groups: list[Group] = []
    first = 0
    for name, distribution in table.distributions.items():
        values = {str(row.suggested[name]) for row in rows if name in row.suggested}
        if len(values) < 2:
            continue
        words = tuple(sorted(values)) if isinstance(distribution, CategoricalDistribution) else ()
        width = len(words) if words else (2 if squares and len(values) > 2 else 1)
        groups.append(Group(name, distribution, words, first, width))
        first += width
    return groups


def design_row(groups: Sequence[Group], row: TrialRow) -> Floats:
    """The columns of one trial; zeros for parameters that its branch lacks."""
    parts = [
        g.encode(row.suggested[g.name]) if g.name in row.suggested else np.zeros(g.width)
        for g in groups
    ]
    return np.concatenate(parts)


def _huber(x: Floats, y: Floats) -> tuple[Floats, Floats, float]:
    """Coefficients without the intercept, the trials' weights, the residuals' robust scale."""
    weights: Floats = np.ones(len(y))
    coefficients: Floats = np.zeros(x.shape[1])
    scale = 1.0
    for _ in range(_ITERATIONS):
        centre_x, centre_y = np.average(x, axis=0, weights=weights), np.average(y, weights=weights)
        xc, yc = x - centre_x, y - centre_y
        gram = (xc * weights[:, None]).T @ xc + _RIDGE * np.eye(x.shape[1])
        coefficients = np.asarray(
            np.linalg.solve(gram, (xc * weights[:, None]).T @ yc), dtype=np.float64
        )
        residuals = yc - xc @ coefficients
        scale = max(1.4826 * float(np.median(np.abs(residuals - np.median(residuals)))), 1e-9)
        weights = np.asarray(
            np.minimum(1.0, HUBER_K * scale / np.maximum(np.abs(residuals), 1e-12)),
            dtype=np.float64,
        )
    return coefficients, weights, scale


def _shares(
    groups: Sequence[Group], x: Floats, y: Floats, coefficients: Floats, weights: Floats
) -> Floats:
    """Each parameter's share of the explained variance: ``cov(f_g, y) / var(y)``, weighted (Pratt
    1987); the sum is R^2.
    """
    centred = y - np.average(y, weights=weights)
    variance = float(weights @ centred**2)
    if variance <= 0:
        return np.zeros(len(groups))
    parts = [x[:, g.columns] @ coefficients[g.columns] for g in groups]
    return np.array(
        [
            float(weights @ ((part - np.average(part, weights=weights)) * centred)) / variance
            for part in parts
        ]
    )


def strongest(table: StudyTable, regression: "Regression | None") -> list[str]:
    """The varied parameters (flat names), those that matter most first where there is a
    regression.
    """
    names = table.varied
    if regression is None:
        return names
    share: dict[str, float] = {}
    for name, value, _, _ in regression.shares:
        flat = flat_name(table, name)
        share[flat] = share.get(flat, 0.0) + value
    return sorted(names, key=lambda name: -share.get(name, 0.0))


def flat_name(table: StudyTable, suggested: str) -> str:
    """The configuration path, with underscores, that a name in the space sets: `momentum.lr` ->
    `optimizer_lr`.
    """
    flat = suggested.replace(".", "_")
    if any(flat in trial.params for trial in table.trials):
        return flat
    for trial in table.trials:
        if suggested in trial.suggested:
            for key, value in trial.params.items():
                if (
                    value == trial.suggested[suggested]
                    and key.rsplit("_", 1)[-1] == flat.rsplit("_", 1)[-1]
                ):
                    return key
    return flat


def is_numeric(table: StudyTable, name: str) -> bool:
    """Whether a parameter took at least three values, all of them numbers."""
    values = {t.params[name] for t in table.complete if name in t.params}
    return len(values) > 2 and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )
