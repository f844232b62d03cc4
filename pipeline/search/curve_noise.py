"""How far apart learning curves are that noise, not merit, tells apart: what PASHA takes for alike
where it is given no bound (Bohdal et al., arXiv 2207.06940).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

CROSSINGS = 2  # of two curves that noise, not merit, tells apart
PERCENTILE = 90  # of the distances between such curves


def crossing_noise(curves: Sequence[Mapping[int, float]]) -> float:
    """Return what noise makes of the distance between two curves (epoch -> score): the 90th
    percentile over the pairs that cross twice or more, at the last epoch of both; 0 without one.
    """
    epochs = sorted(set().union(*curves))
    table = np.array([[curve.get(epoch, math.nan) for epoch in epochs] for curve in curves])
    distances = [_crossing_gaps(table[k] - table[k + 1 :]) for k in range(len(curves) - 1)]
    found = np.concatenate([np.empty(0), *distances])
    return float(np.percentile(found, PERCENTILE)) if len(found) else 0.0


def _crossing_gaps(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the last distances of the pairs that cross often; gaps: (pairs, epochs), nan where one
    of the two has no score.
    """
    last, above, crossings = np.zeros((3, len(gaps)))  # above: the last sign that was not 0
    for gap in gaps.T:
        sign = np.sign(np.nan_to_num(gap))
        crossings += sign * above < 0
        above = np.where(sign == 0, above, sign)
        last = np.where(np.isnan(gap), last, gap)
    return np.abs(last[crossings >= CROSSINGS])
