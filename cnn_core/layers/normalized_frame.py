"""Moment normalisation at inference, in NumPy and as ONNX nodes, where the batch comes first.

Its training form, which varies the frame and keeps its working memory, is in
moment_normalization.py; both compute the same frame.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.layers.layer import (
    DOUBLE,
    FLOAT,
    INT64,
    GraphWriter,
    Operation,
    real_numbers,
    whole_numbers,
)


def normalized_frame(x: Array, op: Operation) -> Array:
    """Read each image from where its own moments say that the figure lies, how large it is and how
    it leans; bilinearly, 0 outside.

    Output pixel (r, c), counted from the middle, is x at (cy + a r, cx + k a r + b c), moments
    taken of the ink s^3, s the mean over 3x3. Where the operation says so, the image as it is comes
    first, as channels of its own.
    """
    channels, height, width, n = x.shape
    rows, columns = (moment_grid(side)[:, None] for side in (height, width))
    cy, cx, a, b, lean = frame_placement(x, op)
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


def frame_extent(shape: Shape, op: Operation) -> tuple[Shape, int]:
    """Return the shape of an image read again, and how many values that holds. Raises InputError
    for an operation out of range.
    """
    if whole_numbers(op, "image_shape", 3, 1) != list(shape):
        raise InputError(f"{op['op']}: image_shape must be that of the input, got {shape}")
    real_numbers(op, "size", 2, 1e-6, 1e6)
    real_numbers(op, "lean", 1, 0, 1e6)
    real_numbers(op, "tiny", 1, 1e-30, 1e6)
    low, high = real_numbers(op, "zoom", 2, 1e-6, 1e6)
    beside = op.get("beside", False)
    if low > high or not isinstance(op.get("together"), bool) or not isinstance(beside, bool):
        raise InputError(
            f"{op['op']}: zoom must rise, beside and together be true or false, got zoom {low:g} "
            f"to {high:g}"
        )
    channels, height, width = shape
    pixels = (height + 3) * (width + 3)
    return (channels * (1 + beside), height, width), (8 * channels + 24) * pixels


def moment_grid(side: int) -> Array:
    """Return the pixels of one axis, counted from the middle."""
    return np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)


def moment_powers(height: int, width: int) -> NDArray[np.float64]:
    """Return 1, y, x, y^2, y x and x^2 of every pixel: (6, H * W)."""
    y, x = np.broadcast_arrays(
        moment_grid(height)[:, None].astype(np.float64), moment_grid(width).astype(np.float64)
    )
    return np.stack([np.ones_like(y), y, x, y * y, y * x, x * x]).reshape(6, -1)


def frame_placement(x: Array, op: Operation) -> Array:
    """Return cy, cx, a, b and k: (5, N)."""
    _, height, width, n = x.shape
    padded = np.pad(x.mean(axis=0), ((1, 1), (1, 1), (0, 0)))
    three = padded[:-2] + padded[1:-1] + padded[2:]
    mean = (three[:, :-2] + three[:, 1:-1] + three[:, 2:]) * np.float32(1 / 9)
    ink = (mean**3).reshape(-1, n).astype(np.float64)
    return frame_of(moment_powers(height, width) @ ink, op).astype(np.float32)


def frame_of(sums: Array, op: Operation) -> Array:
    """Return cy, cx, a, b and k, (5, N), of the sums (6, N) of ink times `moment_powers`."""
    mass, *moments = sums
    tiny, (tall, wide) = op["tiny"], op["size"]
    cy, cx, yy, yx, xx = (moment / (mass + tiny) for moment in moments)
    vyy, vyx, vxx = np.maximum(yy - cy * cy, tiny), yx - cy * cx, xx - cx * cx
    lean = np.clip(vyx / vyy, -op["lean"], op["lean"])
    vxx = np.maximum(vxx - 2 * lean * vyx + lean * lean * vyy, tiny)
    if op["together"]:
        a = b = np.clip(np.sqrt((vyy + vxx) / (tall**2 + wide**2)), *op["zoom"])
    else:
        a, b = np.clip(np.sqrt(vyy) / tall, *op["zoom"]), np.clip(np.sqrt(vxx) / wide, *op["zoom"])
    return np.stack([cy, cx, a, b, lean])


class _Value:
    """A value of the graph: arithmetic with it appends nodes, which so read as the NumPy above."""

    def __init__(self, writer: GraphWriter, name: str) -> None:
        self.writer, self.name = writer, name

    def node(self, operator: str, *others: Any, **attributes: Any) -> "_Value":
        inputs = [other.name if isinstance(other, _Value) else other for other in others]
        return _Value(self.writer, self.writer.add(operator, self.name, *inputs, **attributes))

    def __add__(self, other: Any) -> "_Value":
        return self.node("Add", other)

    def __sub__(self, other: Any) -> "_Value":
        return self.node("Sub", other)

    def __mul__(self, other: Any) -> "_Value":
        return self.node("Mul", other)

    def __truediv__(self, other: Any) -> "_Value":
        return self.node("Div", other)

    def cast(self, to: int) -> "_Value":
        return self.node("Cast", to=to)

    def reshape(self, *shape: int) -> "_Value":
        return self.node("Reshape", np.array(shape, np.int64))


def frame_nodes(writer: GraphWriter, x: str, op: Operation) -> str:
    """Append the nodes and return the name of the images (N, C, H, W) as they are read again; with
    ``beside`` behind those as they are.
    """
    image, (_, height, width) = _Value(writer, x), op["image_shape"]
    frame = _frame_values(image, op)
    cy, cx, a, b, lean = (value.cast(FLOAT).reshape(-1, 1, 1) for value in frame)
    down = a * moment_grid(height)[None, :, None]  # (N, H, 1)
    across = b * moment_grid(width)[None, None] + (cx + lean * down)  # (N, H, W)
    source_y, source_x = (
        (source + np.float32((side - 1) / 2)).node("Clip", np.float32(-1), np.float32(side))
        for source, side in ((cy + down, height), (across, width))
    )
    read = _read_values(image, op, source_y, source_x)
    return writer.add("Concat", x, read.name, axis=1) if op.get("beside") else read.name


def _frame_values(image: _Value, op: Operation) -> tuple[_Value, ...]:
    """Return cy, cx, a, b and k, float64 (N, 1) each."""
    (_, height, width), (tall, wide) = op["image_shape"], op["size"]
    tiny, steepest, low, high = map(np.float64, (op["tiny"], op["lean"], *op["zoom"]))
    grey = image.node("ReduceMean", np.array([1], np.int64), keepdims=1)
    mean = grey.node("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    ink = (mean * mean * mean).reshape(-1, height * width).cast(DOUBLE)
    sums = ink.node("MatMul", moment_powers(height, width).T)
    mass, *moments = (sums.node("Gather", np.array([k], np.int64), axis=1) for k in range(6))
    mass = mass + tiny
    cy, cx, yy, yx, xx = (moment / mass for moment in moments)
    vyy, vyx, vxx = (yy - cy * cy).node("Max", tiny), yx - cy * cx, xx - cx * cx
    lean = (vyx / vyy).node("Clip", -steepest, steepest)
    vxx = (vxx - lean * vyx * np.float64(2) + lean * lean * vyy).node("Max", tiny)

    def zoom(variance: _Value, wanted: float) -> _Value:
        return (variance / np.float64(wanted)).node("Sqrt").node("Clip", low, high)

    if op["together"]:
        a = b = zoom(vyy + vxx, tall**2 + wide**2)
    else:
        a, b = zoom(vyy, tall**2), zoom(vxx, wide**2)
    return cy, cx, a, b, lean


def _read_values(image: _Value, op: Operation, source_y: _Value, source_x: _Value) -> _Value:
    """Read the image bilinearly at (source_y (N, H, 1), source_x (N, H, W)), in a border of zeros
    that serves all that lies outside.
    """
    channels, height, width = op["image_shape"]
    padded = image.node("Pad", np.array([0, 0, 1, 1, 0, 0, 2, 2], np.int64))
    flat = padded.reshape(0, channels, (height + 3) * (width + 3))
    top, left = source_y.node("Floor"), source_x.node("Floor")
    down = (source_y - top).reshape(-1, 1, height, 1)
    right = (source_x - left).reshape(-1, 1, height, width)
    place = top.cast(INT64) * np.int64(width + 3) + left.cast(INT64) + np.int64(width + 4)
    index = place.reshape(-1, 1, height * width)
    index = index.node("Expand", np.array([1, channels, 1], np.int64))
    corners = [
        flat.node("GatherElements", index + np.int64(k), axis=2).reshape(
            -1, channels, height, width
        )
        for k in (0, 1, width + 3, width + 4)
    ]
    upper = corners[0] + right * (corners[1] - corners[0])
    lower = corners[2] + right * (corners[3] - corners[2])
    return upper + down * (lower - upper)
