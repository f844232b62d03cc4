"""Moment normalisation at inference, in NumPy and as ONNX nodes, where the batch comes first.

Its training form, which varies the frame and keeps its working memory, is in
moment_normalization.py; both compute the same frame.
"""

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Array
from cnn_core.layers.inference import DOUBLE, FLOAT, INT64, GraphWriter, Operation, scalar, sizes


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


def frame_nodes(writer: GraphWriter, x: str, op: Operation) -> str:
    """Append the nodes and return the name of the images (N, C, H, W) as they are read again; with
    ``beside`` behind those as they are.
    """
    _, height, width = op["image_shape"]
    placement = (writer.add("Cast", value, to=FLOAT) for value in _placement_nodes(writer, x, op))
    cy, cx, a, b, lean = (
        writer.add("Reshape", value, sizes(writer, -1, 1, 1)) for value in placement
    )
    rows = writer.constant(f"rows_{height}", moment_grid(height)[None, :, None])
    columns = writer.constant(f"columns_{width}", moment_grid(width)[None, None])
    down = writer.add("Mul", a, rows)  # (N, H, 1)
    source_y = _within(writer, writer.add("Add", cy, down), height)
    leaning = writer.add("Add", cx, writer.add("Mul", lean, down))
    source_x = _within(
        writer, writer.add("Add", writer.add("Mul", b, columns), leaning), width
    )  # (N, H, W)
    read = _read_nodes(writer, x, op, source_y, source_x)
    return writer.add("Concat", x, read, axis=1) if op.get("beside") else read


def _within(writer: GraphWriter, source: str, side: int) -> str:
    """Count from the first pixel instead of the middle, and stay within one pixel of the image."""
    return writer.add(
        "Clip",
        writer.add("Add", source, scalar(writer, (side - 1) / 2)),
        scalar(writer, -1.0),
        scalar(writer, float(side)),
    )


def _double(writer: GraphWriter, value: float) -> str:
    return writer.constant(f"double_{value!r}", np.array(value, np.float64))


def _placement_nodes(writer: GraphWriter, x: str, op: Operation) -> tuple[str, str, str, str, str]:
    """Return the names of cy, cx, a, b and k, float64 (N, 1) each."""
    _, height, width = op["image_shape"]
    tiny, (tall, wide) = _double(writer, op["tiny"]), op["size"]
    grey = writer.add("ReduceMean", x, sizes(writer, 1), keepdims=1)
    mean = writer.add(
        "AveragePool", grey, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    )
    ink = writer.add("Mul", writer.add("Mul", mean, mean), mean)
    flat = writer.add(
        "Cast", writer.add("Reshape", ink, sizes(writer, -1, height * width)), to=DOUBLE
    )
    sums = writer.add(
        "MatMul", flat, writer.constant(f"powers_{height}x{width}", moment_powers(height, width).T)
    )
    mass, *moments = (
        writer.add("Gather", sums, writer.constant(f"column_{k}", np.array([k], np.int64)), axis=1)
        for k in range(6)
    )
    mass = writer.add("Add", mass, tiny)
    cy, cx, yy, yx, xx = (writer.add("Div", moment, mass) for moment in moments)
    vyy, vyx = writer.add("Max", _central(writer, yy, cy, cy), tiny), _central(writer, yx, cy, cx)
    lean = writer.add(
        "Clip",
        writer.add("Div", vyx, vyy),
        _double(writer, -op["lean"]),
        _double(writer, op["lean"]),
    )
    twice = writer.add("Mul", writer.add("Mul", lean, vyx), _double(writer, 2.0))
    squared = writer.add("Mul", writer.add("Mul", lean, lean), vyy)
    vxx = writer.add(
        "Max",
        writer.add("Add", writer.add("Sub", _central(writer, xx, cx, cx), twice), squared),
        tiny,
    )
    if op["together"]:
        a = b = _zoom(writer, writer.add("Add", vyy, vxx), tall**2 + wide**2, op)
    else:
        a, b = _zoom(writer, vyy, tall**2, op), _zoom(writer, vxx, wide**2, op)
    return cy, cx, a, b, lean


def _central(writer: GraphWriter, moment: str, first: str, second: str) -> str:
    return writer.add("Sub", moment, writer.add("Mul", first, second))


def _zoom(writer: GraphWriter, variance: str, wanted: float, op: Operation) -> str:
    root = writer.add("Sqrt", writer.add("Div", variance, _double(writer, wanted)))
    low, high = op["zoom"]
    return writer.add("Clip", root, _double(writer, low), _double(writer, high))


def _read_nodes(writer: GraphWriter, x: str, op: Operation, source_y: str, source_x: str) -> str:
    """Read x bilinearly at (source_y (N, H, 1), source_x (N, H, W)), in a frame of zeros that
    serves all that lies outside.
    """
    channels, height, width = op["image_shape"]
    frame = writer.constant("frame", np.array([0, 0, 1, 1, 0, 0, 2, 2], np.int64))
    flat = writer.add(
        "Reshape",
        writer.add("Pad", x, frame),
        sizes(writer, 0, channels, (height + 3) * (width + 3)),
    )
    top, left = writer.add("Floor", source_y), writer.add("Floor", source_x)
    down = writer.add("Reshape", writer.add("Sub", source_y, top), sizes(writer, -1, 1, height, 1))
    right = writer.add(
        "Reshape", writer.add("Sub", source_x, left), sizes(writer, -1, 1, height, width)
    )
    line, column = (writer.add("Cast", part, to=INT64) for part in (top, left))
    line = writer.add("Mul", line, writer.constant("line", np.array(width + 3, np.int64)))
    place = writer.add(
        "Add",
        writer.add("Add", line, column),
        writer.constant("first", np.array(width + 4, np.int64)),
    )
    index = writer.add(
        "Expand",
        writer.add("Reshape", place, sizes(writer, -1, 1, height * width)),
        sizes(writer, 1, channels, 1),
    )

    def corner(offset: int) -> str:
        moved = writer.add(
            "Add", index, writer.constant(f"offset_{offset}", np.array(offset, np.int64))
        )
        return writer.add(
            "Reshape",
            writer.add("GatherElements", flat, moved, axis=2),
            sizes(writer, -1, channels, height, width),
        )

    def between(first: str, second: str, share: str) -> str:
        return writer.add("Add", first, writer.add("Mul", share, writer.add("Sub", second, first)))

    upper = between(corner(0), corner(1), right)
    lower = between(corner(width + 3), corner(width + 4), right)
    return between(upper, lower, down)
