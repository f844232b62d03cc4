"""Scores with their uncertainty: Wilson's interval, calibration error, and the gain of an ensemble
over its best member.
"""

from typing import Any

import numpy as np
from numpy.random import default_rng
from numpy.typing import NDArray

from cnn_core.axes import Labels
from pipeline.records.manifest import Gain

Probabilities = NDArray[np.floating[Any]]  # (N, classes), or (members, N, classes)
Counts = NDArray[np.float64]  # (N,), weight of each image
_RESAMPLES = 10_000
_SEED = 95


def gain_over(best: Probabilities, ensemble: Probabilities, labels: Labels) -> Gain:
    """Compare two predictions of the same images.

    The bootstrap draws images with replacement; since only each image's outcome (gained, lost or
    neither) counts, a multinomial draw is equivalent.
    """
    first, second = best.argmax(axis=1) == labels, ensemble.argmax(axis=1) == labels
    count = len(labels)
    lost, won = int(np.sum(first & ~second)), int(np.sum(~first & second))
    draws = default_rng(_SEED).multinomial(
        count, [won / count, lost / count, 1 - (won + lost) / count], size=_RESAMPLES
    )
    low, high = np.quantile((draws[:, 0] - draws[:, 1]) / count, (0.025, 0.975))
    wrong = int(np.sum(~first))
    return Gain(
        gain=(won - lost) / count,
        low=float(low),
        high=float(high),
        errors_best=wrong,
        errors_ensemble=int(np.sum(~second)),
        errors_removed=(won - lost) / wrong if wrong else 0.0,
    )


def wilson(right: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, valid also near 100 %. Source: Wilson 1927."""
    if count < 1:
        raise ValueError(f"an interval needs at least one image, got {count}")
    share = right / count
    middle = share + z * z / (2 * count)
    spread = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return float(max(0.0, (middle - spread) / scale)), float(min(1.0, (middle + spread) / scale))


def calibration_error(probabilities: Probabilities, labels: Labels, bins: int = 15) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy over
    equal-width bins of confidence.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for k in np.unique(index):
        inside = index == k
        error += inside.mean() * abs(float(confidence[inside].mean()) - float(right[inside].mean()))
    return float(error)


def log_losses(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Return (N,): -log p of each image's right class."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(right, 1e-12))
    return losses


def log_loss(probabilities: Probabilities, labels: Labels, counts: Counts | None = None) -> float:
    """Return the mean of -log p of the right class; counts: (N,), weight of each image, None: equal
    weights.
    """
    return float(np.average(log_losses(probabilities, labels), weights=counts))


def accuracy(probabilities: Probabilities, labels: Labels, counts: Counts | None = None) -> float:
    """Return the share of images whose most probable class is right; counts as in `log_loss`."""
    return float(np.average(probabilities.argmax(axis=-1) == labels, weights=counts))


REFITTED = (
    "figures out of fold are those of the folds' nets, of fewer images and maybe a shorter "
    "training; "
    "the nets that predict were trained on all images but the reserved"
)
