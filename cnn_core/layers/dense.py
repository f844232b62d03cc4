"""Flattening, from images to features, and the fully connected layer."""

from math import prod
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.initializers import Fans, Initializer, he
from cnn_core.kernels.direct import SMALL_PRODUCT
from cnn_core.layers.layer import Arrays, GraphWriter, Layer, Operation, array_shape


class Flatten(Layer):
    """(C, H, W, N) -> (C * H * W, N), a view."""

    kind = "flatten"
    onnx_operator = "Flatten"

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        self.in_shape, self.out_shape = in_shape, (prod(in_shape),)
        return self.out_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        return x.reshape(*self.out_shape, -1)

    def backward(self, dy: Array) -> Array:
        return dy.reshape(*self.in_shape, -1)

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        return (prod(shape),), prod(shape)

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return x.reshape(-1, x.shape[-1])


FEW_UNITS = 16


class Dense(Layer):
    """y = W x + b, with x (D, N), W (units, D), b (units,), y (units, N)."""

    kind = "dense"

    def __init__(self, units: int, init: Initializer = he) -> None:
        super().__init__()
        if units < 1:
            raise InputError(f"dense: units must be at least 1, got {units}")
        self.units = units
        self.init = init
        self._x: Array | None = None

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        if len(in_shape) != 1:
            raise InputError(
                f'dense "{self.name}": input must be flat, got shape {in_shape}; '
                "put Flatten before it"
            )
        features = in_shape[0]
        drawn = self.init(rng, (self.units, features), Fans(features, self.units))
        self.params = {"W": drawn.astype(dtype), "b": np.zeros(self.units, dtype)}
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}
        self.in_shape, self.out_shape = in_shape, (self.units,)
        return self.out_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        y = self._workspace.take("y", (self.units, x.shape[1]), x.dtype)
        parts = self._parts(x)
        if parts == 1:
            np.matmul(self.params["W"], x, out=y)
        else:
            kernels = self.params["W"].reshape(self.units, parts, -1).swapaxes(0, 1)
            products = self._workspace.take("products", (parts, *y.shape), x.dtype)
            np.matmul(kernels, x.reshape(parts, -1, x.shape[1]), out=products)
            np.sum(products, axis=0, out=y)
        y += self.params["b"][:, None]
        self._x = x if training else None
        return y

    def _parts(self, x: Array) -> int:
        """Return into how many parts the features are cut: for few units, so that each product
        takes BLAS's small-matrix kernels.
        """
        features = len(x)
        if self.units > FEW_UNITS or x.size * self.units <= SMALL_PRODUCT:
            return 1
        return next(
            (
                p
                for p in range(2, 65)
                if features % p == 0 and x.size * self.units // p <= SMALL_PRODUCT
            ),
            1,
        )

    def backward(self, dy: Array) -> Array:
        assert self._x is not None, "backward follows forward(training=True)"
        if self.units <= FEW_UNITS:  # features first, which is faster by half for few units
            transposed = self._workspace.take("dW", (len(self._x), self.units), dy.dtype)
            np.matmul(self._x, dy.T, out=transposed)
            self.grads["W"][...] = transposed.T
        else:
            np.matmul(dy, self._x.T, out=self.grads["W"])
        np.sum(dy, axis=1, out=self.grads["b"])
        dx = self._workspace.take("dx", self._x.shape, dy.dtype)
        if self.needs_input_gradient:
            np.matmul(self.params["W"].T, dy, out=dx)
        return dx

    def describe(self) -> dict[str, Any]:
        return {"units": self.units}

    def multiply_adds(self) -> int:
        return self.units * self.in_shape[0]

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        names = {key: f"{self.name}.{key}" for key in ("W", "b")}
        arrays = {name: np.array(self.params[key], np.float32) for key, name in names.items()}
        return {"op": self.kind, **names}, arrays

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        if len(shape) != 1:
            raise InputError(f"{op['op']}: input must be flat, got {shape}")
        units, _ = array_shape(op, "W", arrays, (None, shape[0]))
        array_shape(op, "b", arrays, (units,))
        return (units,), units

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        y: Array = arrays[op["W"]] @ x
        y += arrays[op["b"]][:, None]
        return y

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        W, b = (writer.constant(op[key], arrays[op[key]]) for key in ("W", "b"))
        return writer.add("Gemm", x, W, b, transB=1)
