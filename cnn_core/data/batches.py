"""Batches: the order of an epoch's images, and uint8 images turned into the net's input."""

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Images, Indices


def steps_in_epoch(images: int, batch_size: int, steps_per_epoch: int | None) -> int:
    """Return the batches of one epoch: as given, or one pass, its last batch smaller where the size
    does not divide the images.
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
        """Return the input array for `count` images; what it holds is left from its last use."""
        if count not in self._inputs:
            self._inputs[count] = np.empty((*self.image_shape, count), self.dtype)
        return self._inputs[count]

    def __call__(self, images: Images) -> Array:
        """Return the input for `images`; pixels are divided by 255."""
        count = len(images)
        x = self.take(count)
        np.multiply(images.reshape(count, -1).T, self._scale, out=x.reshape(-1, count))
        return x
