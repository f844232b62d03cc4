"""The loss: softmax and cross-entropy in one stable step."""

import numpy as np

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


def softmax_cross_entropy(
    logits: Array, labels: Labels, smoothing: float = 0.0
) -> tuple[float, Array]:
    """Return the mean of ``-sum_k q_k log p_k`` over the batch, p = softmax(logits), and its
    gradient ``(p - q) / N``.

    logits: (classes, N); labels: (N,) from 0 to classes - 1, which the data's readers check. The
    target q puts ``1 - smoothing`` on the label and spreads `smoothing` evenly over all classes,
    the label included (Szegedy et al. 2016, section 7); 0 is plain cross-entropy. log p is computed
    as ``z - max z - log sum exp(z - max z)``, so a confident mistake costs a large number rather
    than infinity. Raises InputError unless ``0 <= smoothing < 1``.
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
    return float(losses.mean()), gradient
