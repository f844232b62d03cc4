"""What trials of every kind are worth beside each other: normal scores of how they rank."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri
from scipy.stats import rankdata


def normal_scores(trials: Sequence[FrozenTrial], *, maximize: bool) -> NDArray[np.float64]:
    """Return ``ndtri((rank - 1/2) / n)`` of each trial's rank, the worst first, brought to standard
    deviation 1; equals share theirs.

    Complete trials rank by their values. Below them, as with TPE, come those that were pruned or
    are paused, the further they came the better, then by their last value; below these the ones
    that failed or whose value is not finite. So a diverged trial is the last of all, and no more.
    """
    keys = [_standing(trial, 1.0 if maximize else -1.0) for trial in trials]
    places = {key: place for place, key in enumerate(sorted(set(keys)))}
    ranks = rankdata([places[key] for key in keys])
    scores: NDArray[np.float64] = ndtri((ranks - 0.5) / len(ranks))
    return scores / max(float(scores.std()), 1e-9)


def _standing(trial: FrozenTrial, sign: float) -> tuple[int, int, float]:
    """Return what orders trials."""
    if trial.state == TrialState.COMPLETE:
        step, value = 0, trial.values[0]
    elif trial.state == TrialState.PRUNED and trial.intermediate_values:
        step = max(trial.intermediate_values)
        value = trial.intermediate_values[step]
    else:
        return 0, 0, 0.0
    if not np.isfinite(value):
        return 0, 0, 0.0
    return (2 if trial.state == TrialState.COMPLETE else 1), step, sign * value
