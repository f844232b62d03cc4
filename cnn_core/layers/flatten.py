"""Flattening: from images to features."""

from math import prod

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.layers.inference import Arrays, Operation
from cnn_core.layers.layer import Layer


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
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return x.reshape(-1, x.shape[-1])
