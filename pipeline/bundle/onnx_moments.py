"""Moment normalisation as ONNX nodes: what `pipeline.bundle.reading.moment_normalization` computes,
the batch first.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pipeline.bundle.reading import Operation, moment_grid, moment_powers


class GraphWriter:
    """Collects nodes and constants of one graph; every value has a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        self._count += 1
        output = name or f"v{self._count}_{operator.lower()}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an array once and return its name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"scalar_{value!r}", np.array(value, np.float32))

    def shape(self, *sizes: int) -> str:
        return self.constant("shape_" + "_".join(map(str, sizes)), np.array(sizes, np.int64))


def moment_normalization(writer: GraphWriter, x: str, op: Operation) -> str:
    """Append the nodes and return the name of the images (N, C, H, W) as they are read again; with
    ``beside`` behind those as they are.
    """
    _, height, width = op["image_shape"]
    placement = (
        writer.add("Cast", value, to=TensorProto.FLOAT) for value in _placement(writer, x, op)
    )
    cy, cx, a, b, lean = (
        writer.add("Reshape", value, writer.shape(-1, 1, 1)) for value in placement
    )
    rows = writer.constant(f"rows_{height}", moment_grid(height)[None, :, None])
    columns = writer.constant(f"columns_{width}", moment_grid(width)[None, None])
    down = writer.add("Mul", a, rows)  # (N, H, 1)
    source_y = _within(writer, writer.add("Add", cy, down), height)
    leaning = writer.add("Add", cx, writer.add("Mul", lean, down))
    source_x = _within(
        writer, writer.add("Add", writer.add("Mul", b, columns), leaning), width
    )  # (N, H, W)
    read = _read(writer, x, op, source_y, source_x)
    return writer.add("Concat", x, read, axis=1) if op.get("beside") else read


def _within(writer: GraphWriter, source: str, side: int) -> str:
    """Count from the first pixel instead of the middle, and stay within one pixel of the image."""
    return writer.add(
        "Clip",
        writer.add("Add", source, writer.scalar((side - 1) / 2)),
        writer.scalar(-1.0),
        writer.scalar(float(side)),
    )


def _double(writer: GraphWriter, value: float) -> str:
    return writer.constant(f"double_{value!r}", np.array(value, np.float64))


def _placement(writer: GraphWriter, x: str, op: Operation) -> tuple[str, str, str, str, str]:
    """Return the names of cy, cx, a, b and k, float64 (N, 1) each."""
    _, height, width = op["image_shape"]
    tiny, (tall, wide) = _double(writer, op["tiny"]), op["size"]
    grey = writer.add("ReduceMean", x, writer.shape(1), keepdims=1)
    mean = writer.add(
        "AveragePool", grey, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    )
    ink = writer.add("Mul", writer.add("Mul", mean, mean), mean)
    flat = writer.add(
        "Cast", writer.add("Reshape", ink, writer.shape(-1, height * width)), to=TensorProto.DOUBLE
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


def _read(writer: GraphWriter, x: str, op: Operation, source_y: str, source_x: str) -> str:
    """Read x bilinearly at (source_y (N, H, 1), source_x (N, H, W)), in a frame of zeros that
    serves all that lies outside.
    """
    channels, height, width = op["image_shape"]
    frame = writer.constant("frame", np.array([0, 0, 1, 1, 0, 0, 2, 2], np.int64))
    flat = writer.add(
        "Reshape",
        writer.add("Pad", x, frame),
        writer.shape(0, channels, (height + 3) * (width + 3)),
    )
    top, left = writer.add("Floor", source_y), writer.add("Floor", source_x)
    down = writer.add("Reshape", writer.add("Sub", source_y, top), writer.shape(-1, 1, height, 1))
    right = writer.add(
        "Reshape", writer.add("Sub", source_x, left), writer.shape(-1, 1, height, width)
    )
    line, column = (writer.add("Cast", part, to=TensorProto.INT64) for part in (top, left))
    line = writer.add("Mul", line, writer.constant("line", np.array(width + 3, np.int64)))
    place = writer.add(
        "Add",
        writer.add("Add", line, column),
        writer.constant("first", np.array(width + 4, np.int64)),
    )
    index = writer.add(
        "Expand",
        writer.add("Reshape", place, writer.shape(-1, 1, height * width)),
        writer.shape(1, channels, 1),
    )

    def corner(offset: int) -> str:
        moved = writer.add(
            "Add", index, writer.constant(f"offset_{offset}", np.array(offset, np.int64))
        )
        return writer.add(
            "Reshape",
            writer.add("GatherElements", flat, moved, axis=2),
            writer.shape(-1, channels, height, width),
        )

    def between(first: str, second: str, share: str) -> str:
        return writer.add("Add", first, writer.add("Mul", share, writer.add("Sub", second, first)))

    upper = between(corner(0), corner(1), right)
    lower = between(corner(width + 3), corner(width + 4), right)
    return between(upper, lower, down)
