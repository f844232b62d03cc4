"""Joining members' probabilities: a temperature each, then weights or a regularised logistic regression over all of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from cnn_core.axes import Labels

Probabilities = NDArray[np.floating[Any]]  # (N, classes), or (members, N, classes)
Counts = NDArray[np.float64]  # (N,), how much each image counts
_TINY = 1e-7  # as in the bundle's predictor


@dataclass(frozen=True, kw_only=True)
class Combination:
    """How an ensemble joins its members: `weights` (members,), or for stacking `coefficients` (classes, members * classes).

    The weights make an arithmetic mean, or with the method geometric a geometric one: p ~ prod_m p_m^w_m. An average of calibrated members
    is less sure than it should be, so either mean is sharpened again: p^(1 / temperature).
    """

    method: str  # uniform | weighted | greedy | geometric | stacking
    weights: tuple[float, ...] = ()
    temperature: float = 1.0
    coefficients: tuple[tuple[float, ...], ...] = ()
    intercepts: tuple[float, ...] = ()

    def apply(self, members: Probabilities) -> NDArray[np.float64]:
        """Return (N, classes) from (members, N, classes)."""
        if self.method == "stacking":
            scores = stacking_features(members) @ np.array(self.coefficients).T + np.array(self.intercepts)
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            joined: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
            return joined
        weights = np.array(self.weights, np.float64)
        if self.method == "geometric":
            return softmax(np.tensordot(weights, logarithms(members), axes=1), self.temperature)
        return softmax(logarithms(np.tensordot(weights, members, axes=1)), self.temperature)

    def plain(self) -> dict[str, Any]:
        """Return what a manifest holds."""
        if self.method == "stacking":
            return {"method": "stacking", "coefficients": [list(row) for row in self.coefficients], "intercepts": list(self.intercepts)}
        return {"method": self.method, "weights": list(self.weights), "temperature": self.temperature}


def stacking_features(members: Probabilities) -> NDArray[np.float64]:
    """Return (N, members * classes): the logarithms of all members' probabilities, side by side."""
    logs = logarithms(members).transpose(1, 0, 2)
    return logs.reshape(len(logs), -1)


def logarithms(probabilities: Probabilities) -> NDArray[np.float64]:
    """Return log p, p no smaller than 1e-7."""
    logs: NDArray[np.float64] = np.log(np.maximum(probabilities, _TINY)).astype(np.float64)
    return logs


def softmax(logits: Probabilities, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return softmax(z / T) over the last axis."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def fit_temperature(logits: Probabilities, labels: Labels, counts: Counts | None = None) -> float:
    """Return the T in [0.05, 20] with the least log loss of softmax(z / T). Source: Guo et al. 2017, arXiv:1706.04599.

    logits: (N, classes), predicted by nets that did not train on those images; counts: (N,), how much each counts, None: all alike.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(softmax(logits, float(np.exp(log_temperature))), labels, counts)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def log_losses(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Return (N,): -log p of each image's right class."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.maximum(right, 1e-12))
    return losses


def log_loss(probabilities: Probabilities, labels: Labels, counts: Counts | None = None) -> float:
    """Return the mean of -log p of the right class; counts: (N,), how much each image counts, None: all alike."""
    return float(np.average(log_losses(probabilities, labels), weights=counts))


def accuracy(probabilities: Probabilities, labels: Labels, counts: Counts | None = None) -> float:
    """Return the share of images whose most probable class is right; counts as in `log_loss`."""
    return float(np.average(probabilities.argmax(axis=-1) == labels, weights=counts))
