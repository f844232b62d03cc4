"""How the members' weights are chosen, on out-of-fold predictions alone."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cnn_core.axes import Labels
from pipeline.ensemble.combine import Combination, Probabilities, accuracy, fit_temperature, log_loss, stacking_features

BAGS = 20
STEPS = 30  # members added, with replacement, in each bag
_SEED = 2004


def uniform(members: Probabilities, labels: Labels) -> Combination:
    """Give every member the same weight."""
    return Combination(method="uniform", weights=(1 / len(members),) * len(members))


def weighted(members: Probabilities, labels: Labels) -> Combination:
    """Return the weights on the simplex with the least log loss: a convex problem."""
    count = len(members)
    right = _right(members, labels)

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        mixed = np.maximum(w @ right, 1e-12)
        return float(-np.mean(np.log(mixed))), -(right / mixed).mean(axis=1)

    simplex: Any = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)}
    start: Any = np.full(count, 1 / count)
    options: Any = {"ftol": 1e-10, "maxiter": 500}
    result = minimize(loss, start, jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * count, constraints=simplex, options=options)
    weights = np.clip(result.x, 0, None)
    return Combination(method="weighted", weights=tuple((weights / weights.sum()).tolist()))


def greedy(members: Probabilities, labels: Labels, *, bags: int = BAGS, steps: int = STEPS) -> Combination:
    """Forward selection with replacement, bagged: how often a member is taken is its weight.

    Each bag draws images with replacement and half of the members (at least two), starts from its best member and adds, at each step, the
    one that lowers the log loss of the average most. Source: Caruana et al., ICML 2004; log loss, since accuracies near 100 % tie.
    """
    rng = default_rng(_SEED)
    counts = np.zeros(len(members))
    right = _right(members, labels)
    for _ in range(bags):
        images = rng.integers(0, len(labels), len(labels))
        allowed = rng.permutation(len(members))[: max(2, -(-len(members) // 2))]
        counts += _forward(right[allowed][:, images], allowed, len(members), steps)
    return Combination(method="greedy", weights=tuple((counts / counts.sum()).tolist()))


def _forward(right: NDArray[np.float64], allowed: NDArray[np.int64], count: int, steps: int) -> NDArray[np.float64]:
    """Return how often each of `count` members was taken; right: (allowed, N) probabilities of the right class."""
    total, taken = np.zeros(right.shape[1]), np.zeros(count)
    for step in range(steps):
        losses = -np.log(np.maximum((total + right) / (step + 1), 1e-12)).mean(axis=1)
        best = int(losses.argmin())
        total += right[best]
        taken[allowed[best]] += 1
    return taken


def stacking(members: Probabilities, labels: Labels, *, strength: float = 0.1) -> Combination:
    """Fit a regularised multinomial logistic regression to the logarithms of all members' probabilities (Wolpert 1992).

    strength: the inverse of the penalty (C), small since 10 classes x members coefficients stand against few errors.
    """
    features = stacking_features(members)
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(C=strength, max_iter=300, tol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last digits of a penalised fit decide nothing here
        model.fit((features - middle) / spread, labels)
    classes = members.shape[2]
    coefficients, intercepts = np.zeros((classes, features.shape[1])), np.full(classes, -30.0)
    rows = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    if len(model.classes_) == 2:  # one row: the second class against the first
        intercepts[model.classes_[0]] = 0.0
    coefficients[rows] = model.coef_ / spread
    intercepts[rows] = model.intercept_ - (model.coef_ / spread) @ middle
    return Combination(
        method="stacking", coefficients=tuple(tuple(row) for row in coefficients.tolist()), intercepts=tuple(intercepts.tolist())
    )


METHODS: dict[str, Callable[[Probabilities, Labels], Combination]] = {
    "uniform": uniform,
    "weighted": weighted,
    "greedy": greedy,
    "stacking": stacking,
}


def fit(method: str, members: Probabilities, labels: Labels) -> Combination:
    """Return a method's combination of (members, N, classes), an average sharpened by the temperature that fits it best."""
    found = METHODS[method](members, labels)
    if method == "stacking":
        return found
    return replace(found, temperature=fit_temperature(np.log(np.maximum(found.apply(members), 1e-12)), labels))


def cross_fitted(method: str, members: Probabilities, labels: Labels, parts: int = 5) -> NDArray[np.float64]:
    """Return (N, classes) where each image is joined by a combination fitted without it: an honest estimate of the method."""
    joined = np.empty(members.shape[1:], np.float64)
    part = _parts(labels, parts, default_rng(_SEED + 1))
    for k in range(parts):
        rest, held = part != k, part == k
        joined[held] = fit(method, members[:, rest], labels[rest]).apply(members[:, held])
    return joined


def choose(members: Probabilities, labels: Labels) -> tuple[Combination, dict[str, dict[str, float]]]:
    """Return the method with the least cross-fitted log loss, fitted to all images, and each method's scores.

    A method takes the place of the uniform average only where its loss is lower by more than two standard errors of the difference.
    """
    joined = {name: cross_fitted(name, members, labels) for name in METHODS}
    losses = {name: -np.log(np.maximum(_chosen(p, labels), 1e-12)) for name, p in joined.items()}
    scores = {name: {"log_loss": float(losses[name].mean()), "accuracy": accuracy(p, labels)} for name, p in joined.items()}
    best = min(losses, key=lambda name: scores[name]["log_loss"])
    difference = losses["uniform"] - losses[best]
    sure = difference.mean() > 2 * difference.std() / np.sqrt(len(difference))
    return fit(best if sure else "uniform", members, labels), scores


def within_cap(members: Probabilities, labels: Labels, cost_ms: NDArray[np.float64], cap_ms: float | None) -> list[int]:
    """Return the members, best log loss first, whose inference together stays below `cap_ms` an image; at least the best that fits."""
    order = sorted(range(len(members)), key=lambda m: log_loss(members[m], labels))
    if cap_ms is None:
        return sorted(order)
    kept: list[int] = []
    for member in order:
        if sum(cost_ms[k] for k in kept) + cost_ms[member] <= cap_ms:
            kept.append(member)
    return sorted(kept) if kept else [int(np.argmin(cost_ms))]


def _right(members: Probabilities, labels: Labels) -> NDArray[np.float64]:
    return members[:, np.arange(len(labels)), labels].astype(np.float64)


def _chosen(probabilities: Probabilities, labels: Labels) -> NDArray[np.float64]:
    return probabilities[np.arange(len(labels)), labels].astype(np.float64)


def _parts(labels: Labels, parts: int, rng: Generator) -> NDArray[np.int64]:
    """Deal the images to parts, each class evenly."""
    part = np.empty(len(labels), np.int64)
    dealt = np.concatenate([rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)])
    part[dealt] = np.arange(len(labels)) % parts
    return part
