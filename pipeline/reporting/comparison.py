"""What several seeds say of a mean, or of the difference between two configurations: Student's
paired test, its 95 % interval, and what follows for a claim.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What the measured values say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNCLEAR = "cannot be told apart"


@dataclass(frozen=True)
class Estimate:
    """A mean, its 95 % interval, and the number of values behind it."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def verdict(
        self, at_least: float = -math.inf, at_most: float = math.inf, *, strict: bool = False
    ) -> Verdict:
        """Return what the interval says of ``at_least <= mean <= at_most``: it lies inside, it lies
        outside, or neither. Where it is `strict`, a limit that is just met says nothing: of two
        that are equal none is better.
        """
        inside = at_least <= self.low and self.high <= at_most
        if inside and not (strict and (self.low == at_least or self.high == at_most)):
            return Verdict.HOLDS
        outside = self.high < at_least or self.low > at_most
        return Verdict.FAILS if outside else Verdict.UNCLEAR


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of independent values with Student's 95 % interval, ``t s / sqrt(n)``; of
    equal values it has no width. Raises ValueError for fewer than two.
    """
    if len(values) < 2:
        raise ValueError(f"estimate: must be of at least two values, got {len(values)}")
    mean = math.fsum(values) / len(values)
    if max(values) == min(values):
        return Estimate(mean, mean, mean, len(values))
    from scipy import stats  # a sweep starts without it

    interval = stats.ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE)
    return Estimate(mean, float(interval.low), float(interval.high), len(values))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Return the mean of ``first - second``, value by value, with the interval of the paired
    t-test. Raises ValueError unless both have as many values, at least two.
    """
    if len(first) != len(second):
        raise ValueError(
            f"paired difference: both must have as many values, got {len(first)} and {len(second)}"
        )
    return estimate([a - b for a, b in zip(first, second, strict=True)])
