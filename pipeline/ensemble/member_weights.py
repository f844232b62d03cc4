"""How the members' weights are chosen, on out-of-fold predictions alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from cnn_core.axes import Labels
from pipeline.ensemble.methods import MEANS, METHODS, Combination, fit_temperature, logarithms
from pipeline.reporting.scores import Counts, Probabilities, accuracy, log_loss, log_losses

LEAST_WEIGHT = 1e-3  # with less, a member costs time at every prediction and gains nothing
_SEED = 2005


def fit(
    method: str, members: Probabilities, labels: Labels, counts: Counts | None = None
) -> Combination:
    """Return a method's combination of (members, N, classes); an arithmetic mean is sharpened by
    the temperature that fits it best.

    counts: (N,), weight of each image, None: equal weights; images of weight 0 are left out.
    """
    if counts is not None:
        used = counts > 0
        members, labels, counts = members[:, used], labels[used], counts[used]
    found = METHODS[method](members, labels, counts)
    if method not in MEANS:
        return found
    return replace(
        found, temperature=fit_temperature(logarithms(found.apply(members)), labels, counts)
    )


def cross_fitted(
    method: str,
    members: Probabilities,
    labels: Labels,
    counts: Counts | None = None,
    *,
    copies: int = 1,
    parts: int = 5,
) -> NDArray[np.float64]:
    """Return (N, classes), each image predicted by a combination fitted without it: an honest
    estimate of the method.

    copies: how many times the images occur, one whole set after the other (ordinary, as the proxy
    shows them): an image is held out with all its copies.
    """
    joined = np.empty(members.shape[1:], np.float64)
    part = np.tile(_parts(labels[: len(labels) // copies], parts, default_rng(_SEED)), copies)
    for k in range(parts):
        rest, held = part != k, part == k
        combination = fit(
            method, members[:, rest], labels[rest], None if counts is None else counts[rest]
        )
        joined[held] = combination.apply(members[:, held])
    return joined


@dataclass(frozen=True)
class Choice:
    """How members are combined, fitted to all images."""

    combination: Combination
    held_out: NDArray[np.float64]  # (N, classes), each image as combined by a fit without it
    methods: dict[str, dict[str, float]]  # scores of each, where there was a choice


def choose(
    members: Probabilities,
    labels: Labels,
    counts: Counts | None = None,
    *,
    name: str = "auto",
    copies: int = 1,
) -> Choice:
    """Return the combination by the method `name`, or for auto by the one with the least
    cross-fitted log loss; counts, copies: as in `cross_fitted`.

    With auto, a method replaces the uniform average only if its loss is lower by more than two
    standard errors of the difference.
    """
    if name != "auto":
        return Choice(
            fit(name, members, labels, counts),
            cross_fitted(name, members, labels, counts, copies=copies),
            {},
        )
    counted = np.ones(len(labels)) if counts is None else counts / counts.mean()
    joined = {
        method: cross_fitted(method, members, labels, counts, copies=copies) for method in METHODS
    }
    losses = {
        method: (counted * log_losses(p, labels)).reshape(copies, -1).mean(axis=0)
        for method, p in joined.items()
    }
    scores = {
        method: {"log_loss": float(losses[method].mean()), "accuracy": accuracy(p, labels, counts)}
        for method, p in joined.items()
    }
    best = min(losses, key=lambda method: scores[method]["log_loss"])
    difference = losses["uniform"] - losses[best]
    sure = difference.mean() > 2 * difference.std() / np.sqrt(len(difference))
    chosen = best if sure else "uniform"
    return Choice(fit(chosen, members, labels, counts), joined[chosen], scores)


def within_cap(
    members: Probabilities,
    labels: Labels,
    cost_ms: NDArray[np.float64],
    cap_ms: float | None,
    counts: Counts | None = None,
) -> list[int]:
    """Return the members whose inference together takes at most `cap_ms` per image, taken by log
    loss, best first; the fastest alone where none fits.
    """
    order = sorted(range(len(members)), key=lambda m: log_loss(members[m], labels, counts))
    if cap_ms is None:
        return sorted(order)
    kept: list[int] = []
    for member in order:
        if sum(cost_ms[k] for k in kept) + cost_ms[member] <= cap_ms:
            kept.append(member)
    return sorted(kept) if kept else [int(np.argmin(cost_ms))]


def choose_useful(
    members: Probabilities,
    labels: Labels,
    counts: Counts,
    affordable: Sequence[int],
    name: str,
    copies: int,
) -> tuple[list[int], Choice]:
    """Return those of the `affordable` members that get a weight, and the choice made with them
    alone.
    """
    choice = choose(members[affordable], labels, counts, name=name, copies=copies)
    useful = with_weight(choice.combination, affordable)
    if useful == list(affordable):
        return useful, choice
    return useful, choose(members[useful], labels, counts, name=name, copies=copies)


def with_weight(combination: Combination, members: Sequence[int]) -> list[int]:
    """Return those of `members` that get a weight: in a mean, those with at least LEAST_WEIGHT; in
    stacking, all.
    """
    if not combination.weights:
        return list(members)
    return [
        member
        for member, weight in zip(members, combination.weights, strict=True)
        if weight >= LEAST_WEIGHT
    ]


def _parts(labels: Labels, parts: int, rng: Generator) -> NDArray[np.int64]:
    """Assign the images to parts, stratified by class."""
    part = np.empty(len(labels), np.int64)
    dealt = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]
    )
    part[dealt] = np.arange(len(labels)) % parts
    return part
