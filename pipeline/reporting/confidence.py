"""How sure the best configuration is: sampling interval, seeds, and how much of its lead is luck.

The best of many noisy values is too good on average (the winner's curse). Two honest sizes of it:
measured, where the best trials were run again with other seeds (`study.confirm`); or estimated:
trials' values are taken as true values plus noise, the true values' spread is what remains of the
observed spread (empirical Bayes; Efron and Morris 1975), and the search is replayed many times with
fresh noise: how far is the winner's value above its truth on average?
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.reporting.scores import wilson
from pipeline.reporting.table import StudyTable

_REPLAYS = 2000


@dataclass(frozen=True)
class Confidence:
    """What can be said of the best trial's value. `interval` is Wilson's, 95 %, for `images`
    validation images.
    """

    value: float
    images: int | None
    interval: tuple[float, float] | None
    noise: float | None  # standard deviation of one trial's value
    noise_source: str
    optimism: float | None  # expected excess of the winner's value
    rivals: tuple[int, ...]  # trials that the noise cannot tell from the best


def assess(table: StudyTable, images: int | None, seed_noise: float | None = None) -> Confidence:
    """Assesses the best complete trial.

    images: validation images behind each value; seed_noise: standard deviation over seeds, where it
    was measured. Raises ValueError without a complete trial.
    """
    ranked = table.best_first
    if not ranked:
        raise ValueError("confidence: the study must have a complete trial, got none")
    best = ranked[0]
    is_share = all(0.0 <= trial.value <= 1.0 for trial in ranked)
    interval = wilson(best.value * images, images) if images and is_share else None
    noise, source = seed_noise, "measured over seeds"
    if noise is None and images and is_share:
        noise, source = (
            math.sqrt(max(best.value * (1 - best.value), 1e-9) / images),
            f"the sampling error of {images} validation images",
        )
    if noise is None:
        return Confidence(best.value, images, interval, None, "", None, ())
    sign = 1.0 if table.directions[0] == "maximize" else -1.0
    values = np.array([sign * trial.value for trial in ranked])
    excess = optimism(values, noise)
    rivals = tuple(
        t.number for t in ranked[1:] if abs(t.value - best.value) < 1.96 * math.sqrt(2) * noise
    )
    return Confidence(best.value, images, interval, noise, source, excess, rivals)


def optimism(values: Sequence[float] | np.ndarray, noise: float, *, seed: int = 0) -> float:
    """Expected excess of the largest of `values` over its own truth, for noise of that standard
    deviation.

    Only the better half is modelled: a few disasters would otherwise hide how close the leaders
    are.
    """
    observed = np.sort(np.asarray(values, dtype=float))[::-1]
    observed = observed[: max(2, (len(observed) + 1) // 2)]
    if len(observed) < 2:
        return 0.0
    spread = float(observed.var(ddof=1))
    kept = max(0.0, 1.0 - noise**2 / spread) if spread > 0 else 0.0
    truth = observed.mean() + math.sqrt(kept) * (observed - observed.mean())
    rng = np.random.default_rng(seed)
    drawn = truth + noise * rng.standard_normal((_REPLAYS, len(truth)))
    winners = drawn.argmax(axis=1)
    return float((drawn.max(axis=1) - truth[winners]).mean())
