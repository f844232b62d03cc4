"""Moment normalisation as ONNX nodes: what `pipeline.bundle.reading.moment_normalization` computes, the batch first."""

import numpy as np
from onnx import TensorProto

from pipeline.bundle.onnx_graph import GraphWriter
from pipeline.bundle.reading import Operation, moment_grid, moment_powers


def moment_normalization(writer: GraphWriter, x: str, op: Operation) -> str:
    """Append the nodes and return the name of the images (N, C, H, W) as they are read again."""
    (_, height, width), (tall, wide) = op["image_shape"], op["sides"]
    cy, cx, a, b, lean = (writer.add("Cast", value, to=TensorProto.FLOAT) for value in _placement(writer, x, op))
    rows = writer.constant(f"rows_{tall}", moment_grid(tall)[None])
    columns = writer.constant(f"columns_{wide}", moment_grid(wide)[None, None])
    down = writer.add("Mul", a, rows)  # (N, OH)
    source_y = writer.add("Add", writer.add("Add", cy, down), writer.scalar((height - 1) / 2))
    leaning = writer.add("Add", cx, writer.add("Mul", writer.add("Mul", lean, a), rows))
    across = writer.add("Mul", columns, writer.add("Reshape", b, writer.shape(-1, 1, 1)))  # (N, 1, OW)
    along = writer.add("Add", across, writer.add("Reshape", leaning, writer.shape(-1, tall, 1)))
    source_x = writer.add("Add", along, writer.scalar((width - 1) / 2))  # (N, OH, OW)
    source_y = writer.add("Reshape", source_y, writer.shape(-1, tall, 1))
    return _read(writer, x, op, _within(writer, source_y, height), _within(writer, source_x, width))


def _double(writer: GraphWriter, value: float) -> str:
    return writer.constant(f"double_{value!r}", np.array(value, np.float64))


def _placement(writer: GraphWriter, x: str, op: Operation) -> tuple[str, str, str, str, str]:
    """Return the names of cy, cx, a, b and k, float64 (N, 1) each."""
    _, height, width = op["image_shape"]
    (least_y, least_x), (tall, wide) = op["least"], op["size"]
    grey = writer.add("ReduceMean", x, writer.shape(1), keepdims=1)
    mean = writer.add("AveragePool", grey, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    ink = writer.add("Mul", writer.add("Mul", mean, mean), mean)
    flat = writer.add("Cast", writer.add("Reshape", ink, writer.shape(-1, height * width)), to=TensorProto.DOUBLE)
    sums = writer.add("MatMul", flat, writer.constant(f"powers_{height}x{width}", moment_powers(height, width).T))
    mass, *moments = (writer.add("Gather", sums, writer.constant(f"column_{k}", np.array([k], np.int64)), axis=1) for k in range(6))
    mass = writer.add("Add", mass, _double(writer, op["tiny"]))
    cy, cx, yy, yx, xx = (writer.add("Div", moment, mass) for moment in moments)
    vyy = writer.add("Max", _central(writer, yy, cy, cy), _double(writer, least_y**2))
    vyx = _central(writer, yx, cy, cx)
    lean = writer.add("Clip", writer.add("Div", vyx, vyy), _double(writer, -op["lean"]), _double(writer, op["lean"]))
    twice = writer.add("Mul", writer.add("Mul", lean, vyx), _double(writer, 2.0))
    squared = writer.add("Mul", writer.add("Mul", lean, lean), vyy)
    upright = writer.add("Add", writer.add("Sub", _central(writer, xx, cx, cx), twice), squared)
    vxx = writer.add("Max", upright, _double(writer, least_x**2))
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


def _within(writer: GraphWriter, source: str, side: int) -> str:
    return writer.add("Clip", source, writer.scalar(-1.0), writer.scalar(float(side)))


def _read(writer: GraphWriter, x: str, op: Operation, source_y: str, source_x: str) -> str:
    """Read x bilinearly at (source_y (N, OH, 1), source_x (N, OH, OW)), in a frame of zeros that serves all that lies outside."""
    (channels, height, width), (tall, wide) = op["image_shape"], op["sides"]
    frame = writer.constant("frame", np.array([0, 0, 1, 1, 0, 0, 2, 2], np.int64))
    flat = writer.add("Reshape", writer.add("Pad", x, frame), writer.shape(0, channels, (height + 3) * (width + 3)))
    top, left = writer.add("Floor", source_y), writer.add("Floor", source_x)
    down, right = (
        writer.add("Reshape", writer.add("Expand", part, writer.shape(1, tall, wide)), writer.shape(-1, 1, tall, wide))
        for part in (writer.add("Sub", source_y, top), writer.add("Sub", source_x, left))
    )
    line = writer.add("Mul", writer.add("Add", top, writer.scalar(1.0)), writer.scalar(float(width + 3)))
    place = writer.add("Cast", writer.add("Add", writer.add("Add", line, left), writer.scalar(1.0)), to=TensorProto.INT64)
    index = writer.add("Expand", writer.add("Reshape", place, writer.shape(-1, 1, tall * wide)), writer.shape(1, channels, 1))

    def corner(offset: int) -> str:
        moved = writer.add("Add", index, writer.constant(f"offset_{offset}", np.array(offset, np.int64)))
        return writer.add("Reshape", writer.add("GatherElements", flat, moved, axis=2), writer.shape(-1, channels, tall, wide))

    def between(first: str, second: str, share: str) -> str:
        return writer.add("Add", first, writer.add("Mul", share, writer.add("Sub", second, first)))

    upper = between(corner(0), corner(1), right)
    lower = between(corner(width + 3), corner(width + 4), right)
    return between(upper, lower, down)
