"""What more trials are likely to bring: the expected improvement of a study's best value.

Trials are taken as draws of one distribution: all of them, or where the sampler has clearly learnt
those of the later half. Of N draws, another exceeds the largest w with probability 1 / (N + 1),
whatever the distribution; by how much follows from the upper tail, a generalised Pareto
distribution (its shape from L-moments, Hosking and Wallis 1987). With S its survival function
beyond w, m more trials improve the best b >= w on average by

    integral from b of 1 - (1 - S(y - w) / (N + 1))^m dy,

of which only the part 1 - noise^2 / variance is a true gain: a value that is larger by x is, under
normal noise, truly larger by that part of x. While even the later half still becomes better, what
it has improved the best by is expected to go on at its pace, for as many trials at most.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.reporting.best_trials import assess
from pipeline.reporting.effects import Unit, unit_of
from pipeline.reporting.table import StudyTable, clock
from pipeline.structured_text import read_json

FEWEST = 4  # complete trials that a tail can be fitted to
_CLEAR_Z = 1.645  # of the rank sum by which the later half is better: 95 %, one-sided
_SHAPE, _WEIGHT = -0.25, 10.0  # what the tail's shape is drawn to, and with the weight of how many
_SHAPES = (-1.0, 0.2)
_RESAMPLES = 100
_DEPTH = np.exp(-np.linspace(0.0, 12.0, 300))  # shares of S at which the integral is evaluated

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Prospect:
    """What more trials are expected to add to the best value, in the objective's own units: the
    mean, and the standard deviation of the estimate and of luck together.
    """

    gain: float
    spread: float


@dataclass(frozen=True)
class _Tail:
    """Values beyond the largest of `draws` values: a generalised Pareto tail."""

    draws: int  # trials, those without a value included
    scale: float
    shape: float

    def excess(self, share: Floats) -> Floats:
        """Return by how much the largest is exceeded where S is `share`."""
        if abs(self.shape) < 1e-9:
            return -self.scale * np.log(share)
        found: Floats = self.scale / self.shape * (share**-self.shape - 1.0)
        return found

    def survival(self, excess: float) -> float:
        """Return S at `excess`."""
        if self.scale <= 0:
            return float(excess <= 0)
        if abs(self.shape) < 1e-9:
            return math.exp(-excess / self.scale)
        base = 1.0 + self.shape * excess / self.scale
        return float(base ** (-1.0 / self.shape)) if base > 0 else 0.0

    def gain(self, lead: float, more: float) -> float:
        """Return the expected improvement by `more` draws of a best that leads by `lead`."""
        share = self.survival(lead)
        if share <= 0 or self.scale <= 0:
            return 0.0
        chance = 1.0 - (1.0 - share * _DEPTH / (self.draws + 1)) ** more
        return float(np.trapezoid(chance, self.excess(share * _DEPTH)))


@dataclass(frozen=True)
class _Draws:
    """What is known of the distribution that trials are drawn from."""

    known: Floats  # values of the complete ones
    count: int  # of them all
    best: float  # of the study
    trend: float  # improvement of the best by the latest `count` trials, while the sampler learns

    def gain(self, more: float) -> float:
        """Return the expected improvement of the best by `more` trials."""
        tail = _tail(self.known, self.count)
        return max(self._going_on(more), tail.gain(self.best - float(self.known.max()), more))

    def one_gain(self, more: float, rng: np.random.Generator) -> float:
        """Return one improvement by `more` draws of the distribution that a resample suggests."""
        known = rng.choice(self.known, len(self.known))
        tail, top = _tail(known, self.count), float(known.max())
        # S of the largest of `more` draws, such that S / (count + 1) is its probability
        share = (1.0 - rng.random() ** (1.0 / more)) * (self.count + 1)
        if share >= 1.0 or tail.scale <= 0:
            return self._going_on(more)
        excess = float(tail.excess(np.array(max(share, 1e-300))))
        return max(self._going_on(more), top + excess - self.best)

    def _going_on(self, more: float) -> float:
        return self.trend * min(1.0, more / self.count)


def prospect(values: Sequence[float | None], more: float, noise: float = 0.0) -> Prospect | None:
    """Return what `more` trials are expected to bring; None where too few are complete.

    values: of the trials in order, larger ones better, None for one that was stopped early; noise:
    standard deviation of a value that is not the configuration's own.
    """
    draws = _draws(values)
    if draws is None:
        return None
    part, rng = _true_part(draws.known, noise), np.random.default_rng(len(values))
    drawn = [part * draws.one_gain(more, rng) for _ in range(_RESAMPLES)]
    return Prospect(part * draws.gain(more), float(np.std(drawn)))


def expected_gain(values: Sequence[float | None], more: float, noise: float = 0.0) -> float | None:
    """Return the mean of `prospect` alone, which is quick enough for every trial."""
    draws = _draws(values)
    return None if draws is None else _true_part(draws.known, noise) * draws.gain(more)


def _draws(values: Sequence[float | None]) -> _Draws | None:
    """Return what the trials say, None where too few are complete."""
    alike = _alike(values)
    known = _complete(alike)
    if len(known) < FEWEST:
        return None
    best, trend = float(_complete(values).max()), 0.0
    if len(_alike(alike)) < len(alike) < len(values):  # the later half is still becoming better
        trend = max(0.0, best - float(_complete(values[: -len(alike)]).max()))
    return _Draws(known, len(alike), best, trend)


def _complete(values: Sequence[float | None]) -> Floats:
    return np.array([value for value in values if value is not None])


def _alike(values: Sequence[float | None]) -> Sequence[float | None]:
    """Return the later half of the trials if its complete ones are clearly better than the earlier
    ones (Wilcoxon's rank sum), else all.
    """
    half = len(values) // 2
    before, after = _complete(values[:half]), _complete(values[half:])
    if len(before) < FEWEST or len(after) < FEWEST:
        return values
    ordered = np.sort(before)  # not a table of all pairs: of 10,000 trials that is gigabytes
    beaten = [np.searchsorted(ordered, after, side).sum() for side in ("left", "right")]
    wins = sum(beaten) / 2 / (len(before) * len(after))  # a tie is half a win
    spread = math.sqrt((len(before) + len(after) + 1) / (12.0 * len(before) * len(after)))
    return values[half:] if wins - 0.5 > _CLEAR_Z * spread else values


def _true_part(known: Floats, noise: float) -> float:
    """Return the part of the values' variance that is not noise, from those above the median: a
    few disasters would hide how close the leaders are.
    """
    middle = float(np.median(known))
    above = known[known > middle] - middle
    spread = float(np.mean(above**2)) if len(above) else 0.0
    return max(0.0, 1.0 - noise**2 / spread) if spread > 0 else 0.0


def _tail(known: Floats, draws: int) -> _Tail:
    ordered, count = np.sort(known)[::-1], len(known)
    shape = _shape(ordered, min(count - 1, max(4, math.ceil(count / 3))))
    k = min(count - 1, max(3, math.ceil(count / 4)))
    scale = float(np.mean(ordered[:k] - ordered[k])) * (1.0 - shape)
    return _Tail(draws, scale * (draws / (k * (draws + 1.0))) ** -shape, shape)


def _shape(ordered: Floats, k: int) -> float:
    """Return the tail's shape from the L-moments of the k largest values' excesses, drawn to what
    accuracies have.
    """
    excesses = np.sort(ordered[:k] - ordered[k])
    first = float(np.mean(excesses))
    second = 2.0 * float(np.mean(np.arange(k) / (k - 1) * excesses)) - first
    found = 2.0 - first / second if second > 0 else _SHAPES[0]
    return float(np.clip((k * found + _WEIGHT * _SHAPE) / (k + _WEIGHT), *_SHAPES))


def study_prospect(table: StudyTable, images: int | None, more: float) -> Prospect | None:
    """Return what `more` trials of a study would bring; `images`: validation images behind each
    value, if they are known.
    """
    sign = 1.0 if table.directions[0] == "maximize" else -1.0
    values = [
        sign * trial.value if trial.state == "COMPLETE" and trial.objective else None
        for trial in table.trials
        if trial.state in ("COMPLETE", "PRUNED")
    ]
    if not table.complete or more <= 0 or len(table.directions) > 1:
        return None
    found = prospect(values, more, assess(table, images).noise or 0.0)
    if found is None or unit_of(table).factor == 1.0:
        return found
    return Prospect(min(found.gain, 1.0 - max(v for v in values if v is not None)), found.spread)


def used_seconds(folder: Path) -> float:
    """Return the seconds that a study's runs have taken; 0 where that is unknown."""
    try:
        used = float(read_json(folder / "clock.json")["used_s"])
        return used if math.isfinite(used) else 0.0
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return 0.0


def outlook(table: StudyTable, images: int | None, used_s: float) -> str:
    """Return the sentence on what more time would bring, "" where nothing can be said: `another
    hour would bring about +0.02 ± 0.03 points`.
    """
    own = sum(t.state in ("COMPLETE", "PRUNED") and not t.foreign for t in table.trials)
    if used_s <= 0 or not own:
        return ""
    hour = study_prospect(table, images, own * 3600.0 / used_s)
    if hour is None:
        return ""
    if images and not (hour.gain or hour.spread):
        noise = f"no more than the noise of {images:,} validation images"
        return f"what another hour would bring cannot be told: the best trials differ by {noise}"
    unit = unit_of(table)
    line = f"another hour would bring about {_said(hour, unit, table)}"
    if used_s < 1800 and (again := study_prospect(table, images, float(own))) is not None:
        line += f"; as long again ({clock(used_s)}) {_said(again, unit, table)}"
    return line


def _said(found: Prospect, unit: Unit, table: StudyTable) -> str:
    sign = 1.0 if table.directions[0] == "maximize" else -1.0
    return unit.difference(sign * found.gain, found.spread)
