"""Metrics of a net's outputs."""

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Array, Labels

# Probabilities are clipped from below at this, so that one certain mistake does not make the log
# loss infinite.
TINY = 1e-12


def accuracy(probabilities: Array, labels: Labels) -> float:
    """Return the share of rows whose largest entry is the label's; probabilities (or logits): (N,
    classes).
    """
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def correct_count(logits: Array, labels: Labels) -> int:
    """Return how many columns have their largest entry at the label; logits: (classes, N)."""
    return int(np.count_nonzero(logits.argmax(axis=0) == labels))


def log_loss(probabilities: Array, labels: Labels) -> float:
    """Return the mean of ``-log p[label]``; probabilities: (N, classes), clipped below at 1e-12."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(chosen, TINY)).mean())


def confusion_matrix(predicted: Labels, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Return counts, (classes, classes): row the label, column the prediction."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)
