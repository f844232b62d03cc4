"""Images read again at other places than their pixels': through a test-time view, or from where
their own moments say.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Operation = Mapping[str, Any]  # one step of a net as the manifest describes it; arrays are named
IDENTITY = [
    1.0,
    0.0,
    0.0,
    0.0,
    1.0,
    0.0,
]  # yy, yx, ty, xy, xx, tx of a view: where an output pixel is read, from the centre, in pixels


def view_sampler(
    view: Sequence[float], size: Sequence[int]
) -> tuple[NDArray[np.intp], Array] | None:
    """Return (index, weight), each (4, H * W): the source pixels of a test-time view and their
    bilinear weights; None for the identity.

    Index H * W stands for the black outside.
    """
    if list(view) == IDENTITY:
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
    """Return (C, H, W, N) seen through a view."""
    if sampler is None:
        return x
    index, weight = sampler
    flat = x.reshape(x.shape[0], -1, x.shape[3])
    padded = np.concatenate([flat, np.zeros((x.shape[0], 1, x.shape[3]), np.float32)], axis=1)
    result = np.zeros_like(flat)
    for k in range(4):
        result += padded[:, index[k]] * weight[k][:, None]
    return result.reshape(x.shape)


def moment_normalization(x: Array, op: Operation) -> Array:
    """Read each image from where its own moments say that the figure lies, how large it is and how
    it leans; bilinearly, 0 outside.

    Output pixel (r, c), counted from the middle, is x at (cy + a r, cx + k a r + b c), moments
    taken of the ink s^3, s the mean over 3x3. Where the operation says so, the image as it is comes
    first, as channels of its own.
    """
    channels, height, width, n = x.shape
    rows, columns = (moment_grid(side)[:, None] for side in (height, width))
    cy, cx, a, b, lean = _placement(x, op)
    source_y = (cy + a * rows + np.float32((height - 1) / 2))[:, None]
    source_x = columns * b + (cx + lean * a * rows + np.float32((width - 1) / 2))[:, None]
    source_y, source_x = np.clip(source_y, -1, height), np.clip(source_x, -1, width)
    top, left = np.floor(source_y), np.floor(source_x)
    down, right = source_y - top, source_x - left
    padded = np.zeros((channels, height + 3, width + 3, n), np.float32)
    padded[:, 1:-2, 1:-2] = x
    flat = padded.reshape(channels, -1, n)
    index = ((top.astype(np.intp) + 1) * (width + 3) + left.astype(np.intp) + 1).reshape(-1, n)
    corners = [
        np.take_along_axis(flat, (index + k)[None], axis=1).reshape(x.shape)
        for k in (0, 1, width + 3, width + 4)
    ]
    upper = corners[0] + right * (corners[1] - corners[0])
    lower = corners[2] + right * (corners[3] - corners[2])
    read: Array = upper + down * (lower - upper)
    return np.concatenate([x, read]) if op.get("beside") else read


def moment_grid(side: int) -> Array:
    """Return the pixels of one axis, counted from the middle."""
    return np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)


def moment_powers(height: int, width: int) -> NDArray[np.float64]:
    """Return 1, y, x, y^2, y x and x^2 of every pixel: (6, H * W)."""
    y, x = np.broadcast_arrays(
        moment_grid(height)[:, None].astype(np.float64), moment_grid(width).astype(np.float64)
    )
    return np.stack([np.ones_like(y), y, x, y * y, y * x, x * x]).reshape(6, -1)


def _placement(x: Array, op: Operation) -> Array:
    """Return cy, cx, a, b and k: (5, N)."""
    _, height, width, n = x.shape
    padded = np.pad(x.mean(axis=0), ((1, 1), (1, 1), (0, 0)))
    three = padded[:-2] + padded[1:-1] + padded[2:]
    mean = (three[:, :-2] + three[:, 1:-1] + three[:, 2:]) * np.float32(1 / 9)
    mass, *moments = moment_powers(height, width) @ (mean**3).reshape(-1, n).astype(np.float64)
    tiny, (tall, wide) = op["tiny"], op["size"]
    cy, cx, yy, yx, xx = (moment / (mass + tiny) for moment in moments)
    vyy, vyx, vxx = np.maximum(yy - cy * cy, tiny), yx - cy * cx, xx - cx * cx
    lean = np.clip(vyx / vyy, -op["lean"], op["lean"])
    vxx = np.maximum(vxx - 2 * lean * vyx + lean * lean * vyy, tiny)
    if op["together"]:
        a = b = np.clip(np.sqrt((vyy + vxx) / (tall**2 + wide**2)), *op["zoom"])
    else:
        a, b = np.clip(np.sqrt(vyy) / tall, *op["zoom"]), np.clip(np.sqrt(vxx) / wide, *op["zoom"])
    return np.stack([cy, cx, a, b, lean]).astype(np.float32)
