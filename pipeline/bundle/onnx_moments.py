"""Moment normalisation as ONNX nodes: what `pipeline.bundle.reading.moment_normalization` computes, the batch first."""

import numpy as np
from onnx import TensorProto

from pipeline.bundle.onnx_graph import GraphWriter
from pipeline.bundle.reading import Operation, moment_grid, moment_powers


def moment_normalization(writer: GraphWriter, x: str, op: Operation) -> str:
    """Append the nodes and return the name of the images (N, C, H, W) as they are read again."""
    _, height, width = op["image_shape"]
    placement = [writer.add("Cast", value, to=TensorProto.FLOAT) for value in _placement(writer, x, op)]
    cy, cx, yy, yx, xy, xx = (writer.add("Reshape", value, writer.shape(-1, 1, 1)) for value in placement)
    rows = writer.constant(f"rows_{height}", moment_grid(height)[None, :, None])
    columns = writer.constant(f"columns_{width}", moment_grid(width)[None, None])

    def source(centre: str, down: str, across: str, side: int) -> str:  # (N, H, W)
        steps = writer.add("Add", writer.add("Mul", down, rows), writer.add("Mul", across, columns))
        place = writer.add("Add", steps, writer.add("Add", centre, writer.scalar((side - 1) / 2)))
        return writer.add("Clip", place, writer.scalar(-1.0), writer.scalar(float(side)))

    return _read(writer, x, op, source(cy, yy, yx, height), source(cx, xy, xx, width))


def _double(writer: GraphWriter, value: float) -> str:
    return writer.constant(f"double_{value!r}", np.array(value, np.float64))


def _placement(writer: GraphWriter, x: str, op: Operation) -> tuple[str, ...]:
    """Return the names of cy, cx, yy, yx, xy and xx, float64 (N, 1) each."""
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
    vyx, vxx = _central(writer, yx, cy, cx), _central(writer, xx, cx, cx)
    if op["round"] is not None:
        return cy, cx, *_turned(writer, vyy, vyx, vxx, op)
    lean = writer.add("Clip", writer.add("Div", vyx, vyy), _double(writer, -op["lean"]), _double(writer, op["lean"]))
    twice = writer.add("Mul", writer.add("Mul", lean, vyx), _double(writer, 2.0))
    squared = writer.add("Mul", writer.add("Mul", lean, lean), vyy)
    upright = writer.add("Add", writer.add("Sub", vxx, twice), squared)
    vxx = writer.add("Max", upright, _double(writer, least_x**2))
    if op["together"]:
        a = b = _zoom(writer, writer.add("Add", vyy, vxx), tall**2 + wide**2, op)
    else:
        a, b = _zoom(writer, vyy, tall**2, op), _zoom(writer, vxx, wide**2, op)
    return cy, cx, a, writer.add("Mul", a, _double(writer, 0.0)), writer.add("Mul", lean, a), b


def _turned(writer: GraphWriter, vyy: str, vyx: str, vxx: str, op: Operation) -> tuple[str, str, str, str]:
    """Return the names of yy, yx, xy and xx of a turn; ONNX has no arc tangent of two numbers, but half angles need none.

    With (p, q) = (2 vyx, vyy - vxx + round (vyy + vxx)) and h its length: cos t = sqrt((1 + q / h) / 2), sin t = +- sqrt((1 - q / h) / 2).
    """
    total = writer.add("Add", vyy, vxx)
    p = writer.add("Mul", vyx, _double(writer, 2.0))
    q = writer.add("Add", writer.add("Sub", vyy, vxx), writer.add("Mul", total, _double(writer, op["round"])))
    length = writer.add("Sqrt", writer.add("Add", writer.add("Mul", p, p), writer.add("Mul", q, q)))
    cosine = writer.add("Div", q, writer.add("Max", length, _double(writer, 1e-300)))  # of twice the turn

    def half(operator: str) -> str:
        share = writer.add("Mul", writer.add(operator, _double(writer, 1.0), cosine), _double(writer, 0.5))
        return writer.add("Sqrt", writer.add("Max", share, _double(writer, 0.0)))

    tall, wide = op["size"]
    zoom = _zoom(writer, total, tall**2 + wide**2, op)
    negative = writer.add("Less", p, _double(writer, 0.0))
    sine = half("Sub")
    along, beside = (writer.add("Mul", zoom, part) for part in (half("Add"), writer.add("Where", negative, writer.add("Neg", sine), sine)))
    return along, writer.add("Neg", beside), beside, along


def _central(writer: GraphWriter, moment: str, first: str, second: str) -> str:
    return writer.add("Sub", moment, writer.add("Mul", first, second))


def _zoom(writer: GraphWriter, variance: str, wanted: float, op: Operation) -> str:
    root = writer.add("Sqrt", writer.add("Div", variance, _double(writer, wanted)))
    low, high = op["zoom"]
    return writer.add("Clip", root, _double(writer, low), _double(writer, high))


def _read(writer: GraphWriter, x: str, op: Operation, source_y: str, source_x: str) -> str:
    """Read x bilinearly at the sources, (N, H, W) each, in a frame of zeros that serves all that lies outside."""
    channels, height, width = op["image_shape"]
    frame = writer.constant("frame", np.array([0, 0, 1, 1, 0, 0, 2, 2], np.int64))
    flat = writer.add("Reshape", writer.add("Pad", x, frame), writer.shape(0, channels, (height + 3) * (width + 3)))
    top, left = writer.add("Floor", source_y), writer.add("Floor", source_x)
    down, right = (
        writer.add("Reshape", writer.add("Sub", source, whole), writer.shape(-1, 1, height, width))
        for source, whole in ((source_y, top), (source_x, left))
    )
    line = writer.add("Mul", writer.add("Add", top, writer.scalar(1.0)), writer.scalar(float(width + 3)))
    place = writer.add("Cast", writer.add("Add", writer.add("Add", line, left), writer.scalar(1.0)), to=TensorProto.INT64)
    index = writer.add("Expand", writer.add("Reshape", place, writer.shape(-1, 1, height * width)), writer.shape(1, channels, 1))

    def corner(offset: int) -> str:
        moved = writer.add("Add", index, writer.constant(f"offset_{offset}", np.array(offset, np.int64)))
        return writer.add("Reshape", writer.add("GatherElements", flat, moved, axis=2), writer.shape(-1, channels, height, width))

    def between(first: str, second: str, share: str) -> str:
        return writer.add("Add", first, writer.add("Mul", share, writer.add("Sub", second, first)))

    upper = between(corner(0), corner(1), right)
    lower = between(corner(width + 3), corner(width + 4), right)
    return between(upper, lower, down)
