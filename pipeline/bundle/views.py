"""What a test-time view makes of an image: where each of its pixels is read. NumPy alone: a
bundle's predict.py holds this file.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
# yy, yx, ty, xy, xx, tx of a view: where an output pixel is read, from the centre, in pixels.
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def view_sampler(
    view: Sequence[float], size: Sequence[int]
) -> tuple[NDArray[np.intp], Array] | None:
    """Return (index, weight), each (4, H * W): the source pixels of a test-time view and their
    bilinear weights; None for the identity.

    Index H * W stands for the black outside.
    """
    if tuple(view) == IDENTITY:
        return None
    height, width = size
    y, x = np.mgrid[:height, :width].reshape(2, -1) - np.array(
        [[(height - 1) / 2], [(width - 1) / 2]]
    )
    source_y = view[0] * y + view[1] * x + view[2] + (height - 1) / 2
    source_x = view[3] * y + view[4] * x + view[5] + (width - 1) / 2
    top, left = np.floor(source_y), np.floor(source_x)
    index, weight = np.empty((4, y.size), np.intp), np.empty((4, y.size), np.float32)
    for k, (dy, dx) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        row, column = top + dy, left + dx
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index[k] = np.where(inside, row * width + column, height * width)
        weight[k] = (1 - np.abs(source_y - row)) * (1 - np.abs(source_x - column))
    return index, weight


def resample_view(x: Array, sampler: tuple[NDArray[np.intp], Array] | None) -> Array:
    """Return (C, H, W, N) read through a view's sampler."""
    if sampler is None:
        return x
    index, weight = sampler
    flat = x.reshape(x.shape[0], -1, x.shape[3])
    padded = np.concatenate([flat, np.zeros((x.shape[0], 1, x.shape[3]), np.float32)], axis=1)
    result = np.zeros_like(flat)
    for k in range(4):
        result += padded[:, index[k]] * weight[k][:, None]
    return result.reshape(x.shape)
