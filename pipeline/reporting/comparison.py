"""What several seeds say of a mean, or of the difference between two configurations: Student's
paired test, its 95 % interval, and what follows for a claim.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from scipy import stats

CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What the measured values say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNCLEAR = "cannot be told apart"


@dataclass(frozen=True)
class Estimate:
    """A mean, half of its 95 % interval, and the number of values behind it."""

    mean: float
    half_width: float
    count: int

    def verdict(self, at_least: float = -math.inf, at_most: float = math.inf) -> Verdict:
        """Return what the interval says of ``at_least <= mean <= at_most``: it lies inside, it lies
        outside, or neither.
        """
        low, high = self.mean - self.half_width, self.mean + self.half_width
        if at_least <= low and high <= at_most:
            return Verdict.HOLDS
        return Verdict.FAILS if high < at_least or low > at_most else Verdict.UNCLEAR


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of independent values with Student's 95 % interval, ``t s / sqrt(n)``; of
    equal values it has no width. Raises ValueError for fewer than two.
    """
    if len(values) < 2:
        raise ValueError(f"estimate: must be of at least two values, got {len(values)}")
    mean = math.fsum(values) / len(values)
    if max(values) == min(values):
        return Estimate(mean, 0.0, len(values))
    interval = stats.ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE)
    return Estimate(mean, float(interval.high - interval.low) / 2, len(values))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the mean of ``first - second``, value by value, with the interval of the paired
    t-test. Raises ValueError unless both have as many values, at least two.
    """
    if len(first) != len(second):
        raise ValueError(
            f"paired difference: both must have as many values, got {len(first)} and {len(second)}"
        )
    return estimate([a - b for a, b in zip(first, second, strict=True)])
