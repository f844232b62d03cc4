"""Elementwise nonlinearities. Each keeps its output, from which its derivative follows."""

from math import prod
from typing import Any

import numpy as np

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.layers.layer import Arrays, GraphWriter, Layer, Operation, real_numbers


class Activation(Layer):
    """An elementwise function y = f(x), written into an array of its own; x may have any shape."""

    def __init__(self) -> None:
        super().__init__()
        self._y: Array | None = None

    def forward(self, x: Array, *, training: bool) -> Array:
        y = self._workspace.take("y", x.shape, x.dtype)
        self.apply(x, y)
        self._y = y if training else None
        return y

    def backward(self, dy: Array) -> Array:
        assert self._y is not None, "backward follows forward(training=True)"
        dx = self._workspace.take("dx", dy.shape, dy.dtype)
        self.differentiate(self._y, dy, dx)
        return dx

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        return shape, 2 * prod(shape)

    def apply(self, x: Array, y: Array) -> None:
        """Write f(x) into y."""
        raise NotImplementedError(f"{type(self).__name__}.apply")

    def differentiate(self, y: Array, dy: Array, dx: Array) -> None:
        """Write dy * f'(x), expressed by y = f(x), into dx."""
        raise NotImplementedError(f"{type(self).__name__}.differentiate")


class ReLU(Activation):
    """y = max(x, 0); the derivative at 0 is taken as 0."""

    kind = "relu"
    onnx_operator = "Relu"

    def apply(self, x: Array, y: Array) -> None:
        np.maximum(x, 0, out=y)

    def differentiate(self, y: Array, dy: Array, dx: Array) -> None:
        np.multiply(dy, y > 0, out=dx)

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return np.maximum(x, np.float32(0))


class LeakyReLU(Activation):
    """y = x where x > 0, slope * x elsewhere; 0 <= slope < 1."""

    kind = "leaky_relu"

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        if not 0 <= slope < 1:
            raise InputError(f"leaky_relu: slope must be at least 0 and below 1, got {slope}")
        self.slope = slope

    def apply(self, x: Array, y: Array) -> None:
        np.multiply(x, self.slope, out=y)
        np.maximum(x, y, out=y)

    def differentiate(self, y: Array, dy: Array, dx: Array) -> None:
        np.multiply(dy, self.slope, out=dx)
        np.copyto(dx, dy, where=y > 0)

    def describe(self) -> dict[str, Any]:
        return {"slope": self.slope}

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {"op": self.kind, "slope": float(self.slope)}, {}

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        real_numbers(op, "slope", 1, 0, 1)
        return shape, 2 * prod(shape)

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return np.asarray(np.maximum(x, x * np.float32(op["slope"])))

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        return writer.add("LeakyRelu", x, alpha=op["slope"])


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), computed as (1 + tanh(x / 2)) / 2, which cannot overflow; its
    derivative y (1 - y) is at most 0.25.
    """

    kind = "sigmoid"
    onnx_operator = "Sigmoid"

    def apply(self, x: Array, y: Array) -> None:
        np.multiply(x, 0.5, out=y)
        np.tanh(y, out=y)
        y += 1
        y *= 0.5

    def differentiate(self, y: Array, dy: Array, dx: Array) -> None:
        np.subtract(1, y, out=dx)
        dx *= y
        dx *= dy

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        half = np.float32(0.5)
        return np.asarray(half * (1 + np.tanh(x * half)))


class Tanh(Activation):
    """y = tanh(x), with the derivative 1 - y^2."""

    kind = "tanh"
    onnx_operator = "Tanh"

    def apply(self, x: Array, y: Array) -> None:
        np.tanh(x, out=y)

    def differentiate(self, y: Array, dy: Array, dx: Array) -> None:
        np.multiply(y, y, out=dx)
        np.subtract(1, dx, out=dx)
        dx *= dy

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return np.asarray(np.tanh(x))
