"""The loss, softmax and cross-entropy in one stable step, and the metrics of a net's outputs."""

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Array, Labels
from cnn_core.errors import InputError


def softmax(logits: Array, axis: int = 0) -> Array:
    """Return ``exp(z) / sum exp(z)`` along `axis`; the maximum is subtracted first, so no
    exponential overflows.
    """
    probabilities: Array = logits - logits.max(axis=axis, keepdims=True)
    np.exp(probabilities, out=probabilities)
    probabilities /= probabilities.sum(axis=axis, keepdims=True)
    return probabilities


def balanced_weights(labels: Labels, classes: int) -> Array:
    """Return (classes,) float32 ``n / (classes that occur * count of the class)``: every class that
    occurs weighs the same in the loss, and the mean weight of an image is 1; 0 for a class without
    an image. labels: (N,), those of the training images. Source: King and Zeng (2001).
    """
    counts = np.bincount(labels, minlength=classes)
    weights = np.zeros(classes, np.float32)
    occurs = counts > 0
    weights[occurs] = len(labels) / (np.count_nonzero(occurs) * counts[occurs])
    return weights


def softmax_cross_entropy(
    logits: Array, labels: Labels, smoothing: float = 0.0, weights: Array | None = None
) -> tuple[float, Array]:
    """Return the mean of ``-sum_k q_k log p_k`` over the batch, p = softmax(logits), and its
    gradient ``(p - q) / N``.

    logits: (classes, N); labels: (N,) from 0 to classes - 1, which the data's readers check. The
    target q puts ``1 - smoothing`` on the label and spreads `smoothing` evenly over all classes,
    the label included (Szegedy et al. 2016, section 7); 0 is plain cross-entropy. log p is computed
    as ``z - max z - log sum exp(z - max z)``, so a confident mistake costs a large number rather
    than infinity. `weights` (classes,) multiply each image's loss and gradient by that of its
    label; the mean is still over N. Raises InputError unless ``0 <= smoothing < 1``.
    """
    if not 0 <= smoothing < 1:
        raise InputError(
            f"train.label_smoothing: must be at least 0 and less than 1, got {smoothing}"
        )
    classes, count = logits.shape
    images = np.arange(count)
    shifted = logits - logits.max(axis=0)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=0)
    log_total = np.log(total)
    losses = log_total - (1.0 - smoothing) * shifted[labels, images]
    if smoothing:
        losses -= smoothing / classes * shifted.sum(axis=0)
    gradient /= total
    if smoothing:
        gradient -= smoothing / classes
    gradient[labels, images] -= 1.0 - smoothing
    gradient /= count
    if weights is not None:
        of_images = weights[labels]
        losses *= of_images
        gradient *= of_images
    return float(losses.mean()), gradient


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
