"""Convolution: the layer. Its arithmetic is in correlation.py."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.buffers import Buffers
from cnn_core.columns import Padding, Pair, Window, as_pair, make_window, raise_add
from cnn_core.correlation import Correlation, DirectCorrelation
from cnn_core.errors import InputError
from cnn_core.initializers import Fans, Initializer, he
from cnn_core.layers.base import Layer


class Convolution(Layer):
    """y[f, r, q, n] = b[f] + sum over c, i, j of W[f, c, i, j] x[c, r s + i - p, q s + j - p, n]; the kernel is not flipped.

    x: (C, H, W, N), W: (F, C, KH, KW), b: (F,), y: (F, OH, OW, N). `padding` is "valid", "same", a number or a pair; `stride` a number or
    a pair. Raises InputError where the kernel does not fit.
    """

    kind = "convolution"

    def __init__(
        self,
        filters: int,
        kernel: int | Pair,
        stride: int | Pair = 1,
        padding: Padding = "valid",
        init: Initializer = he,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if filters < 1:
            raise InputError(f"convolution: filters must be at least 1, got {filters}")
        self.filters = filters
        self.kernel = as_pair(kernel)
        self.stride = as_pair(stride)
        self.padding = padding
        self.init = init
        self.bias = bias
        self._buffers = Buffers()
        self._loaded = False

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        where = f'convolution "{self.name}"'
        if len(in_shape) != 3:
            raise InputError(f"{where}: input must be (C, H, W), got shape {in_shape}")
        channels, height, width = in_shape
        self.window = make_window(where, self.kernel, self.stride, self.padding, (height, width))
        taps = self.kernel[0] * self.kernel[1]
        drawn = self.init(rng, (self.filters, channels, *self.kernel), Fans(channels * taps, self.filters * taps))
        self.params = {"W": drawn.astype(dtype)}
        if self.bias:
            self.params["b"] = np.zeros(self.filters, dtype)
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}
        self.in_shape, self.out_shape = in_shape, (self.filters, *self.window.output)
        self.correlation: Correlation = DirectCorrelation(self.window, drawn.shape, dtype)
        turned = turned_window(self.window)
        self.back: Correlation | None = DirectCorrelation(turned, (channels, self.filters, *self.kernel), dtype) if turned else None
        return self.out_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        y = self._buffers.take("y", (*self.out_shape, x.shape[3]), x.dtype)
        self.correlation.load(x, self.params["W"])
        for first, stop in self.correlation.blocks:
            self.correlation.correlate(first, stop, y[:, first:stop])
        if self.bias:
            y += self.params["b"][:, None, None, None]
        self._loaded = training
        return y

    def backward(self, dy: Array) -> Array:
        assert self._loaded, "backward follows forward(training=True)"
        if self.bias:
            np.sum(dy, axis=(1, 2, 3), out=self.grads["b"])
        for first, stop in self.correlation.blocks:
            self.correlation.accumulate(first, stop, dy[:, first:stop])
        self.correlation.gradient(self.grads["W"])
        return self.input_gradient(dy, self.params["W"])

    def input_gradient(self, dy: Array, W: Array) -> Array:
        """Return dx (C, H, W, N) for dy (F, OH, OW, N) and the kernels used; an array that holds anything where no one needs it."""
        dx = self._buffers.take("dx", (*self.in_shape, dy.shape[3]), dy.dtype)
        if not self.needs_input_gradient:
            return dx
        if self.back is None:
            spread_columns(self.window, W, dy, dx, self._buffers)
            return dx
        self.back.load(dy, W[:, :, ::-1, ::-1].swapaxes(0, 1))
        for first, stop in self.back.blocks:
            self.back.correlate(first, stop, dx[:, first:stop])
        return dx

    def describe(self) -> dict[str, Any]:
        return {"filters": self.filters, "kernel": self.kernel, "stride": self.stride, "padding": self.padding}

    def multiply_adds(self) -> int:
        return self.filters * self.in_shape[0] * self.kernel[0] * self.kernel[1] * self.window.output[0] * self.window.output[1]


def turned_window(window: Window) -> Window | None:
    """Return the window by which dx is the correlation of dy with the kernels turned by 180 degrees; None where it is not one.

    It is at stride 1, with the padding kernel - 1 - padding, unless that is negative.
    """
    top, bottom, left, right = window.padding
    kh, kw = window.kernel
    if window.stride != (1, 1) or max(top, bottom) >= kh or max(left, right) >= kw:
        return None
    return Window(window.kernel, (1, 1), (kh - 1 - top, kh - 1 - bottom, kw - 1 - left, kw - 1 - right), window.output)


def spread_columns(window: Window, W: Array, dy: Array, dx: Array, buffers: Buffers) -> None:
    """Write dx for any window: each output row's columns W^T dy are added onto the pixels that they came from."""
    filters, channels, kh, kw = W.shape
    n = dy.shape[3]
    padded = buffers.take("padded", (channels, *window.padded, n), dy.dtype)
    padded.fill(0)
    columns = buffers.take("columns", (channels, kh, kw, 1, window.output[1], n), dy.dtype)
    for row in range(window.output[0]):
        np.matmul(W.reshape(filters, -1).T, dy[:, row].reshape(filters, -1), out=columns.reshape(channels * kh * kw, -1))
        raise_add(window, columns, row, row + 1, padded)
    dx[...] = window.interior(padded)
