"""Which images are for training and which for validation, and how an epoch orders them into
batches.

A split is a pure function of labels and DataSpec, stratified by class. Its permutation depends on
``split_seed`` alone, not on any trial's seed, so that all trials of all studies are compared on the
same images.

Where pictures occur twice, `groups` says which belong together: (N,) the index of the first picture
of each one's group. The first pictures alone are split, as if there were no others; the others then
go where their first one goes. So sizes count groups, and parts are larger by the copies they hold.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Images, Indices, Labels
from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from cnn_core.spec import DataSpec


@dataclass(frozen=True)
class Split:
    """Indices of the training and the validation images, each ascending; they are disjoint."""

    train: Indices
    valid: Indices


def by_class(labels: Labels, seed: int, purpose: int) -> list[Indices]:
    """Return the indices of each class that occurs, each in a random order."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose,))))
    return [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels)]


def quotas(counts: list[int], size: int) -> list[int]:
    """Share `size` among classes in proportion to their counts (largest remainders); the sum is
    exactly `size`.
    """
    total = sum(counts)
    exact = [size * count / total for count in counts]
    shares = [math.floor(e) for e in exact]
    order = sorted(range(len(counts)), key=lambda i: (shares[i] - exact[i], i))
    for i in order[: size - sum(shares)]:
        shares[i] += 1
    return shares


def subset(
    indices: Indices, labels: Labels, size: int | None, seed: int, purpose: int, name: str
) -> Indices:
    """Keep `size` of the indices, stratified; None keeps all."""
    if size is None:
        return indices
    if not 1 <= size <= len(indices):
        raise InputError(
            f"data.{name}: must be from 1 to {len(indices)}, the images of that split, got {size}"
        )
    groups = by_class(labels[indices], seed, purpose)
    shares = quotas([len(group) for group in groups], size)
    chosen = np.concatenate([group[:share] for group, share in zip(groups, shares, strict=True)])
    return np.sort(indices[chosen])


def firsts(groups: Indices) -> Indices:
    """Return the first picture of each group, ascending."""
    return np.flatnonzero(groups == np.arange(len(groups)))


def with_copies(chosen: Indices, groups: Indices) -> Indices:
    """Return all pictures of the groups whose first ones are `chosen`, ascending."""
    return np.flatnonzero(np.isin(groups, chosen))


def reserved(labels: Labels, spec: DataSpec, groups: Indices | None = None) -> Indices:
    """Return the ``reserve`` images that neither train nor validate, ascending; they depend on
    labels, groups and ``split_seed`` alone.
    """
    if groups is not None:
        first = firsts(groups)
        return with_copies(first[reserved(labels[first], spec)], groups)
    if not 0 <= spec.reserve < len(labels):
        raise InputError(
            f"data.reserve: must be from 0 to {len(labels) - 1}, fewer than the images, got "
            f"{spec.reserve}"
        )
    if spec.reserve == 0:
        return np.empty(0, np.int64)
    return subset(np.arange(len(labels)), labels, spec.reserve, spec.split_seed, 3, "reserve")


def split(labels: Labels, spec: DataSpec, groups: Indices | None = None) -> Split:
    """Return the training and the validation indices.

    With ``fold`` and ``folds``: fold k of K validates, the others train; every image validates in
    exactly one fold. Otherwise a share ``valid_fraction`` validates; 0 leaves no validation images.
    Both are stratified with exact totals, exclude the `reserved` images, and are then limited by
    ``train_size`` (with ``train_choice=first`` to those that come first) and ``valid_size``. Raises
    InputError for values out of range.
    """
    if groups is not None:
        first = firsts(groups)
        chosen_firsts = split(labels[first], spec)
        return Split(
            with_copies(first[chosen_firsts.train], groups),
            with_copies(first[chosen_firsts.valid], groups),
        )
    free = np.setdiff1d(np.arange(len(labels)), reserved(labels, spec), assume_unique=True)
    if (spec.fold is None) != (spec.folds is None):
        raise InputError(
            f"data.fold: fold and folds must be given together, got fold={spec.fold}, "
            f"folds={spec.folds}"
        )
    if spec.fold is not None and spec.folds is not None:
        chosen = _fold(labels[free], spec.fold, spec.folds, spec.split_seed)
    else:
        chosen = _share(labels[free], spec.valid_fraction, spec.split_seed)
    train, valid = free[~chosen], free[chosen]
    if not len(train):
        raise InputError(
            f"data.valid_fraction: must leave at least one training image of {len(labels)}, got "
            f"{spec.valid_fraction}"
        )
    chosen_train = subset(train, labels, spec.train_size, spec.split_seed, 1, "train_size")
    train = train[: len(chosen_train)] if spec.train_choice == "first" else chosen_train
    if not len(valid) and spec.valid_size is not None:
        raise InputError(
            f"data.valid_size: must be null where no image validates, got {spec.valid_size}"
        )
    if len(valid):
        valid = subset(valid, labels, spec.valid_size, spec.split_seed, 2, "valid_size")
    return Split(train, valid)


def _fold(labels: Labels, fold: int, folds: int, seed: int) -> npt.NDArray[np.bool_]:
    if not 2 <= folds <= len(labels) or not 0 <= fold < folds:
        raise InputError(
            f"data.fold: 0 <= fold < folds and folds from 2 to {len(labels)}, got fold={fold}, "
            f"folds={folds}"
        )
    # Classes are dealt one after the other without starting again at fold 0, so that the folds'
    # sizes differ by one at most.
    dealt = np.concatenate(by_class(labels, seed, 0))
    chosen = np.zeros(len(labels), bool)
    chosen[dealt[fold::folds]] = True
    return chosen


def _share(labels: Labels, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    groups = by_class(labels, seed, 0)
    chosen = np.zeros(len(labels), bool)
    for group, share in zip(
        groups, quotas([len(g) for g in groups], round(fraction * len(labels))), strict=True
    ):
        chosen[group[:share]] = True
    return chosen


@lru_cache(maxsize=32)  # of the nets of a trial, one for each fold
def split_of(spec: DataSpec) -> Split:
    """Open the prepared data and split them; cached per process, as every epoch needs the same
    split.
    """
    prepared = open_prepared(spec.folder, spec.digest)
    return split(prepared.labels, spec, prepared.groups)


def steps_in_epoch(images: int, batch_size: int, steps_per_epoch: int | None) -> int:
    """Return the number of batches in an epoch: as given, or one pass, whose last batch is smaller
    where the batch size does not divide the number of images.
    """
    return steps_per_epoch if steps_per_epoch is not None else -(-images // batch_size)


def epoch_batches(
    train: Indices, batch_size: int, steps: int, sampling: str, rng: Generator
) -> Iterator[Indices]:
    """Yield the indices of each batch.

    ``permutation``: every image once before any comes again; ``replacement``: each batch drawn anew
    from all images (report 5, and the lectures' ``random.choice``).
    """
    if sampling == "replacement":
        for _ in range(steps):
            yield train[rng.integers(0, len(train), batch_size)]
        return
    order, at = rng.permutation(train), 0
    for _ in range(steps):
        if at >= len(order):
            order, at = rng.permutation(train), 0
        yield order[at : at + batch_size]
        at += batch_size


class Batcher:
    """Turns uint8 (N, C, H, W) into (C, H, W, N) in [0, 1], in one array per batch size that the
    next call overwrites.
    """

    def __init__(self, image_shape: tuple[int, int, int], dtype: DTypeLike = np.float32) -> None:
        self.image_shape = image_shape
        self.dtype = np.dtype(dtype)
        self._scale: Array = np.array(1 / 255, dtype)
        self._inputs: dict[int, Array] = {}

    def take(self, count: int) -> Array:
        """Return the input array for `count` images, with the contents of its last use."""
        if count not in self._inputs:
            self._inputs[count] = np.empty((*self.image_shape, count), self.dtype)
        return self._inputs[count]

    def __call__(self, images: Images) -> Array:
        """Return the input for `images`; pixels are divided by 255."""
        count = len(images)
        x = self.take(count)
        np.multiply(images.reshape(count, -1).T, self._scale, out=x.reshape(-1, count))
        return x
