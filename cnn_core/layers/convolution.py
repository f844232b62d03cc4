"""Convolution as matrix products over blocks of output rows."""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.buffers import Buffers, cache_bytes
from cnn_core.columns import Padding, Pair, Window, as_pair, lower, make_window, raise_add, row_blocks
from cnn_core.errors import InputError
from cnn_core.initializers import Fans, Initializer, he
from cnn_core.layers.base import Layer

# The weight gradient is summed over blocks of about this many columns' bytes. It is a constant, not the machine's cache size, because the
# order of a sum decides its last bits: the same seed gives the same bits whatever the block size of the other passes.
REDUCTION_BYTES = 512 << 10


class Convolution(Layer):
    """y[f, r, q, n] = b[f] + sum over c, i, j of W[f, c, i, j] x[c, r s + i - p, q s + j - p, n]; the kernel is not flipped.

    x: (C, H, W, N), W: (F, C, KH, KW), b: (F,), y: (F, OH, OW, N). `padding` is "valid", "same", a number or a pair; `stride` a number or
    a pair. Blocks of a few output rows are lowered to columns that stay in the second-level cache, and backward lowers them again instead
    of keeping them. Raises InputError where the kernel does not fit.
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
        self.block_bytes = cache_bytes()
        self._buffers = Buffers()
        self._padded: Array | None = None

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
        return self.out_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        padded = self.pad(x)
        y = self._buffers.take("y", (*self.out_shape, x.shape[3]), x.dtype)
        correlate(self.window, padded, self.params["W"], y, self._buffers, self.block_bytes)
        if self.bias:
            y += self.params["b"][:, None, None, None]
        self._padded = padded if training else None
        return y

    def pad(self, x: Array) -> Array:
        """Return x with its zero border, in a buffer whose border stays zero; x itself where there is none."""
        if not any(self.window.padding):
            return x
        padded = self._buffers.take("padded", (x.shape[0], *self.window.padded, x.shape[3]), x.dtype, zeroed=True)
        self.window.interior(padded)[...] = x
        return padded

    def backward(self, dy: Array) -> Array:
        assert self._padded is not None, "backward follows forward(training=True)"
        if self.bias:
            np.sum(dy, axis=(1, 2, 3), out=self.grads["b"])
        weight_gradient(self.window, self._padded, dy, self.grads["W"], self._buffers)
        if not self.needs_input_gradient:
            return self._buffers.take("dx", (*self.in_shape, dy.shape[3]), dy.dtype)
        return input_gradient(self.window, self.params["W"], dy, self._buffers, self.block_bytes)

    def describe(self) -> dict[str, Any]:
        return {"filters": self.filters, "kernel": self.kernel, "stride": self.stride, "padding": self.padding}

    def multiply_adds(self) -> int:
        return self.filters * self.in_shape[0] * self.kernel[0] * self.kernel[1] * self.window.output[0] * self.window.output[1]


def correlate(window: Window, padded: Array, W: Array, y: Array, buffers: Buffers, budget: int) -> None:
    """Write the correlation of `padded` (C, H, W, N) with W (F, C, KH, KW) into y (F, OH, OW, N), block by block."""
    filters, channels, kh, kw = W.shape
    (oh, ow), n = window.output, padded.shape[3]
    kernels = W.reshape(filters, -1)
    row_bytes = (channels * kh * kw + filters) * ow * n * padded.itemsize
    for first, stop in row_blocks(oh, row_bytes, budget):
        columns = buffers.take("columns", (channels, kh, kw, stop - first, ow, n), padded.dtype)
        block = lower(window, padded, first, stop, columns).reshape(channels * kh * kw, stop - first, -1)
        for row in range(first, stop):  # one product a row, whatever the block: a product's shape decides its last bits
            np.matmul(kernels, block[:, row - first], out=_rows(y, row, row + 1))


def _rows(y: Array, first: int, stop: int) -> Array:
    """Return rows first to stop of y (F, OH, OW, N) as a view (F, rows * OW * N)."""
    filters, oh, ow, n = y.shape
    return y.reshape(filters, oh * ow * n)[:, first * ow * n : stop * ow * n]


def weight_gradient(window: Window, padded: Array, dy: Array, dW: Array, buffers: Buffers) -> None:
    """Write the correlation of `padded` (C, H, W, N) with dy (F, OH, OW, N), summed over the batch, into dW (F, C, KH, KW)."""
    filters, channels, kh, kw = dW.shape
    (oh, ow), n = window.output, padded.shape[3]
    product = buffers.take("product", (filters, channels * kh * kw), dW.dtype)
    dW.fill(0)
    for first, stop in row_blocks(oh, channels * kh * kw * ow * n * padded.itemsize, REDUCTION_BYTES):
        columns = buffers.take("columns", (channels, kh, kw, stop - first, ow, n), padded.dtype)
        block = lower(window, padded, first, stop, columns)
        np.matmul(_rows(dy, first, stop), block.T, out=product)
        dW += product.reshape(dW.shape)


def input_gradient(window: Window, W: Array, dy: Array, buffers: Buffers, budget: int) -> Array:
    """Return dx (C, H, W, N) from dy (F, OH, OW, N)."""
    top, bottom, left, right = window.padding
    kh, kw = window.kernel
    if window.stride == (1, 1) and max(top, bottom) < kh and max(left, right) < kw:
        return _by_flipped_kernel(window, W, dy, buffers, budget)
    return _by_columns(window, W, dy, buffers, budget)


def _by_flipped_kernel(window: Window, W: Array, dy: Array, buffers: Buffers, budget: int) -> Array:
    """At stride 1 dx is the correlation of dy, padded by kernel - 1 - padding, with the kernels turned by 180 degrees."""
    filters, channels, kh, kw = W.shape
    top, bottom, left, right = window.padding
    turned = buffers.take("turned", (channels, filters, kh, kw), W.dtype)
    turned[...] = W[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    back = Window(window.kernel, (1, 1), (kh - 1 - top, kh - 1 - bottom, kw - 1 - left, kw - 1 - right), window.output)
    padded = dy
    if any(back.padding):
        padded = buffers.take("padded dy", (filters, *back.padded, dy.shape[3]), dy.dtype, zeroed=True)
        back.interior(padded)[...] = dy
    dx = buffers.take("dx", (channels, *window.size, dy.shape[3]), dy.dtype)
    correlate(back, padded, turned, dx, buffers, budget)
    return dx


def _by_columns(window: Window, W: Array, dy: Array, buffers: Buffers, budget: int) -> Array:
    """Any stride: each block's columns W^T dy are added onto the pixels that they came from."""
    filters, channels, kh, kw = W.shape
    (oh, ow), n = window.output, dy.shape[3]
    padded = buffers.take("padded dx", (channels, *window.padded, n), dy.dtype)
    padded.fill(0)
    kernels = W.reshape(filters, -1).T
    row_bytes = (channels * kh * kw + filters) * ow * n * dy.itemsize
    for first, stop in row_blocks(oh, row_bytes, budget):
        columns = buffers.take("columns", (channels, kh, kw, stop - first, ow, n), dy.dtype)
        block = columns.reshape(channels * kh * kw, stop - first, -1)
        for row in range(first, stop):
            np.matmul(kernels, _rows(dy, row, row + 1), out=block[:, row - first])
        raise_add(window, columns, first, stop, padded)
    if not any(window.padding):
        return padded
    dx = buffers.take("dx", (channels, *window.size, n), dy.dtype)
    dx[...] = window.interior(padded)
    return dx
