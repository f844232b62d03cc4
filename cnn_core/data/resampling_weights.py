"""Pictures on another grid, by two products with weights of rows and of columns. NumPy alone: a
bundle's predict.py holds this file.

Source: C. Lanczos, the windowed sinc.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def resized(planes: Bytes, size: tuple[int, int]) -> Bytes:
    """Return (C, H, W) resampled to (C, *size); planes of that size already are not touched.

    y = A x B^T with the weights of a Lanczos window of three lobes, as wide as a pixel of the
    coarser of the two grids, so that shrinking does not alias.
    """
    if planes.shape[1:] == size:
        return planes
    rows, columns = lanczos(planes.shape[1], size[0]), lanczos(planes.shape[2], size[1])
    fine = rows @ planes.astype(np.float32) @ columns.T
    result: Bytes = np.rint(np.clip(fine, 0, 255)).astype(np.uint8)
    return result


@lru_cache(maxsize=64)
def lanczos(source: int, target: int) -> NDArray[np.float32]:
    """Return (target, source): the share of each source pixel in a target pixel; rows sum to 1."""
    step = source / target
    centres = (np.arange(target) + 0.5) * step - 0.5
    distance = (np.arange(source) - centres[:, None]) / max(step, 1.0)
    weights = np.sinc(distance) * np.sinc(distance / 3) * (np.abs(distance) < 3)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def areas(source: int, target: int) -> NDArray[np.float32]:
    """Return (target, source): the share of each target pixel that a source pixel covers."""
    edges = np.arange(target + 1) * (source / target)
    pixels = np.arange(source)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights = np.maximum(covered, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
