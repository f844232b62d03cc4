"""Combining members' probabilities: a temperature each, then a mean or a logistic regression,
fitted to out-of-fold predictions alone.

Throughout, `members` are (members, N, classes) probabilities, `labels` (N,), and `counts` (N,) the
weight of each image, None: equal weights.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cnn_core.axes import Labels
from pipeline.records.manifest import Combine
from pipeline.reporting.scores import Counts, Probabilities, log_loss

_TINY = 1e-7  # as in the bundle's predictor


@dataclass(frozen=True, kw_only=True)
class Combination:
    """How an ensemble combines its members: `weights` (members,), or for stacking `coefficients`
    (classes, members * classes).

    The weights are those of an arithmetic mean, or with the method geometric of a geometric one:
    p ~ prod_m p_m^w_m. An average of calibrated members is underconfident, so either mean is
    sharpened again: p^(1 / temperature).
    """

    method: str  # uniform | weighted | greedy | geometric | stacking
    weights: tuple[float, ...] = ()
    temperature: float = 1.0
    coefficients: tuple[tuple[float, ...], ...] = ()
    intercepts: tuple[float, ...] = ()

    def apply(self, members: Probabilities) -> NDArray[np.float64]:
        """Return (N, classes) from (members, N, classes)."""
        if self.method == "stacking":
            scores = stacking_features(members) @ np.array(self.coefficients).T + np.array(
                self.intercepts
            )
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            joined: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
            return joined
        weights = np.array(self.weights, np.float64)
        if self.method == "geometric":
            return softmax(np.tensordot(weights, logarithms(members), axes=1), self.temperature)
        return softmax(logarithms(np.tensordot(weights, members, axes=1)), self.temperature)

    def record(self) -> Combine:
        """Return the record that ensemble.json and a bundle's manifest hold."""
        if self.method == "stacking":
            rows, intercepts = self.coefficients, self.intercepts
            return Combine(method=self.method, coefficients=rows, intercepts=intercepts)
        return Combine(method=self.method, weights=self.weights, temperature=self.temperature)


def stacking_features(members: Probabilities) -> NDArray[np.float64]:
    """Return (N, members * classes): the logarithms of all members' probabilities, side by side."""
    logs = logarithms(members).transpose(1, 0, 2)
    return logs.reshape(len(logs), -1)


def logarithms(probabilities: Probabilities) -> NDArray[np.float64]:
    """Return log p, with p clipped to at least 1e-7."""
    logs: NDArray[np.float64] = np.log(np.maximum(probabilities, _TINY)).astype(np.float64)
    return logs


def softmax(logits: Probabilities, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return softmax(z / T) over the last axis."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def fit_temperature(logits: Probabilities, labels: Labels, counts: Counts | None = None) -> float:
    """Return the T in [0.05, 20] with the least log loss of softmax(z / T). Source: Guo et al.
    2017, arXiv:1706.04599.

    logits: (N, classes), predicted by nets that did not train on those images; counts: (N,), weight
    of each image, None: equal weights.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(softmax(logits, float(np.exp(log_temperature))), labels, counts)

    return float(
        np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x)
    )


BAGS = 20
STEPS = 30  # members added, with replacement, in each bag
_SEED = 2004


def uniform(members: Probabilities, labels: Labels, counts: Counts | None = None) -> Combination:
    """Give every member the same weight."""
    return Combination(method="uniform", weights=(1 / len(members),) * len(members))


def weighted(members: Probabilities, labels: Labels, counts: Counts | None = None) -> Combination:
    """Return the weights on the simplex with the least log loss of the arithmetic mean: a convex
    problem.
    """
    size = len(members)
    right = _right(members, labels)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        mixed = np.maximum(w @ right, 1e-12)
        return float(-np.average(np.log(mixed), weights=counts)), -np.average(
            right / mixed, axis=1, weights=counts
        )

    simplex: Any = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(size)}
    start: Any = np.full(size, 1 / size)
    options: Any = {"ftol": 1e-10, "maxiter": 500}
    result = minimize(
        loss,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * size,
        constraints=simplex,
        options=options,
    )
    weights = np.clip(result.x, 0, None)
    return Combination(method="weighted", weights=tuple((weights / weights.sum()).tolist()))


def geometric(members: Probabilities, labels: Labels, counts: Counts | None = None) -> Combination:
    """Return the weights of the geometric mean with the least log loss: p_c ~ prod_m p_mc^v_m, v_m
    >= 0, a convex problem.

    Members' evidence is multiplied: the v need not sum to one, and a v of 0 leaves a member out.
    The result holds them as weights v / sum(v) and the temperature 1 / sum(v). A member that is
    often wrong and confident keeps a small weight, where the log loss of an arithmetic mean gives
    it none (docs/LOG.md, Accuracy: ensembles). Source: the logarithmic opinion pool, Genest and
    Zidek, Statistical Science 1986; fitted as in Heskes, NIPS 1998.
    """
    logs = logarithms(members)
    right = _right(logs, labels)

    def loss(v: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        joined = softmax(np.tensordot(v, logs, axes=1))
        slope = np.einsum("nc,mnc->mn", joined, logs) - right
        return log_loss(joined, labels, counts), np.average(slope, axis=1, weights=counts)

    start: Any = np.full(len(members), 1 / len(members))
    v = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * len(members)).x
    total = max(float(v.sum()), 1e-3)  # no useful member: nearly uniform probabilities
    weights = v / v.sum() if v.sum() > 0 else start
    return Combination(method="geometric", weights=tuple(weights.tolist()), temperature=1 / total)


def greedy(
    members: Probabilities,
    labels: Labels,
    counts: Counts | None = None,
    *,
    bags: int = BAGS,
    steps: int = STEPS,
) -> Combination:
    """Bagged forward selection with replacement: how often a member is selected is its weight.

    Each bag draws images with replacement and half of the members (at least two), starts from its
    best member and adds, at each step, the one that lowers the log loss of the average most.
    Source: Caruana et al., ICML 2004; by log loss, since accuracies near 100 % tie.
    """
    rng = default_rng(_SEED)
    taken = np.zeros(len(members))
    right = _right(members, labels)
    for _ in range(bags):
        images = _drawn(rng, len(labels), counts)
        allowed = rng.permutation(len(members))[: max(2, -(-len(members) // 2))]
        taken += _forward(right[allowed][:, images], allowed, len(members), steps)
    return Combination(method="greedy", weights=tuple((taken / taken.sum()).tolist()))


def _drawn(rng: Generator, images: int, counts: Counts | None) -> NDArray[np.int64]:
    """Return as many indices as there are images, drawn with replacement in proportion to
    `counts`.
    """
    if counts is None or np.ptp(counts) == 0:
        return rng.integers(0, images, images)
    return rng.choice(images, images, p=counts / counts.sum())


def _forward(
    right: NDArray[np.float64], allowed: NDArray[np.int64], count: int, steps: int
) -> NDArray[np.float64]:
    """Return how often each of `count` members was selected; right: (allowed, N) probabilities of
    the right class.
    """
    total, taken = np.zeros(right.shape[1]), np.zeros(count)
    for step in range(steps):
        losses = -np.log(np.maximum((total + right) / (step + 1), 1e-12)).mean(axis=1)
        best = int(losses.argmin())
        total += right[best]
        taken[allowed[best]] += 1
    return taken


def stacking(
    members: Probabilities, labels: Labels, counts: Counts | None = None, *, strength: float = 0.1
) -> Combination:
    """Fit a regularised multinomial logistic regression to the logarithms of all members'
    probabilities (Wolpert 1992).

    strength: the inverse of the penalty (C); small, since few errors must determine classes x
    (members x classes) coefficients.
    """
    features = stacking_features(members)
    middle = np.average(features, axis=0, weights=counts)
    spread = np.sqrt(np.average((features - middle) ** 2, axis=0, weights=counts)) + 1e-6
    model = LogisticRegression(C=strength, max_iter=300, tol=1e-4)
    with warnings.catch_warnings():
        # the last digits of a penalised fit do not matter here
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((features - middle) / spread, labels, sample_weight=counts)
    classes = members.shape[2]
    coefficients, intercepts = np.zeros((classes, features.shape[1])), np.full(classes, -30.0)
    rows = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    if len(model.classes_) == 2:  # one row: the second class against the first
        intercepts[model.classes_[0]] = 0.0
    coefficients[rows] = model.coef_ / spread
    intercepts[rows] = model.intercept_ - (model.coef_ / spread) @ middle
    return Combination(
        method="stacking",
        coefficients=tuple(tuple(row) for row in coefficients.tolist()),
        intercepts=tuple(intercepts.tolist()),
    )


def _right(members: Probabilities, labels: Labels) -> NDArray[np.float64]:
    return members[:, np.arange(len(labels)), labels].astype(np.float64)


METHODS: dict[str, Callable[[Probabilities, Labels, Counts | None], Combination]] = {
    "uniform": uniform,
    "weighted": weighted,
    "geometric": geometric,
    "greedy": greedy,
    "stacking": stacking,
}
# arithmetic means, which are sharpened by a separately fitted temperature
MEANS = (
    "uniform",
    "weighted",
    "greedy",
)
