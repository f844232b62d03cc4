"""Scaling: every value times one number."""

from math import prod
from typing import Any

import numpy as np

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.layers.layer import Arrays, GraphWriter, Layer, Operation, real_numbers


class Scaling(Layer):
    """y = factor * x, any shape. With factor 255 a net sees raw pixels instead of [0, 1]: what
    input scaling is worth can be measured. Raises InputError unless the factor is above 0.
    """

    kind = "scaling"

    def __init__(self, factor: float) -> None:
        super().__init__()
        if not factor > 0:
            raise InputError(f"scaling: factor must be above 0, got {factor}")
        self.factor = factor

    def forward(self, x: Array, *, training: bool) -> Array:
        return np.multiply(x, self.factor, out=self._workspace.take("y", x.shape, x.dtype))

    def backward(self, dy: Array) -> Array:
        dy *= self.factor
        return dy

    def describe(self) -> dict[str, Any]:
        return {"factor": self.factor}

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"op": self.kind, "factor": float(self.factor)}, {}

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        real_numbers(op, "factor", 1, 1e-30, 1e30)
        return shape, prod(shape)

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return np.asarray(x * np.float32(op["factor"]))

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        return writer.add("Mul", x, np.float32(op["factor"]))
