"""Convolution: the layer. Its arithmetic is in cnn_core.kernels."""

from math import prod
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.initializers import Fans, Initializer, he
from cnn_core.kernels.correlation import as_blocks
from cnn_core.kernels.window import Padding, Pair, as_pair, make_window
from cnn_core.kernels.winograd import choose_correlation
from cnn_core.layers.layer import (
    Arrays,
    GraphWriter,
    Layer,
    Operation,
    array_shape,
    onnx_pads,
    padded_by,
    window_extent,
)


class Convolution(Layer):
    """y[f, r, q, n] = b[f] + sum over c, i, j of W[f, c, i, j] x[c, r s + i - p, q s + j - p, n];
    the kernel is not flipped.

    x: (C, H, W, N), W: (F, C, KH, KW), b: (F,), y: (F, OH, OW, N). `padding` is "valid", "same", a
    number or a pair; `stride` a number or a pair. Raises InputError where the kernel does not fit.
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
        self._loaded = False

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        where = f'convolution "{self.name}"'
        if len(in_shape) != 3:
            raise InputError(f"{where}: input must be (C, H, W), got shape {in_shape}")
        channels, height, width = in_shape
        self.window = make_window(where, self.kernel, self.stride, self.padding, (height, width))
        # "same" pads to any kernel, but weights beyond this never meet a pixel.
        reach = (2 * height - 1, 2 * width - 1)
        if self.padding == "same" and (self.kernel[0] > reach[0] or self.kernel[1] > reach[1]):
            (rows, columns), (kh, kw) = reach, self.kernel
            rule = f"kernel must be at most {rows}x{columns} on {height}x{width} pixels"
            raise InputError(
                f'{where}: {rule} (padding "same"; more would never meet a pixel), got {kh}x{kw}'
            )
        taps = self.kernel[0] * self.kernel[1]
        drawn = self.init(
            rng, (self.filters, channels, *self.kernel), Fans(channels * taps, self.filters * taps)
        )
        self.params = {"W": drawn.astype(dtype)}
        if self.bias:
            self.params["b"] = np.zeros(self.filters, dtype)
        self.grads = {name: np.zeros_like(value) for name, value in self.params.items()}
        self.in_shape, self.out_shape = in_shape, (self.filters, *self.window.output)
        self._choose()
        return self.out_shape

    def _choose(self) -> None:
        W = self.params["W"]
        self.correlation = choose_correlation(self.window, W.shape, W.dtype)

    def inference_copy(self) -> Self:
        made = super().inference_copy()
        made._choose()
        return made

    def forward(self, x: Array, *, training: bool) -> Array:
        y = self._workspace.take("y", (*self.out_shape, x.shape[3]), x.dtype)
        self.correlation.forward(x, self.params["W"], as_blocks(y))
        if self.bias:
            y += self.params["b"][:, None, None, None]
        self._loaded = training
        return y

    def backward(self, dy: Array) -> Array:
        assert self._loaded, "backward follows forward(training=True)"
        if self.bias:
            np.sum(dy, axis=(1, 2, 3), out=self.grads["b"])
        dx = self._workspace.take("dx", (*self.in_shape, dy.shape[3]), dy.dtype)

        blocks = as_blocks(dy)

        def fill(first: int, block: Array) -> None:
            block[...] = blocks[first : first + len(block)]

        self.correlation.gradients(dx if self.needs_input_gradient else None, self.grads["W"], fill)
        return dx

    def describe(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": self.padding,
        }

    def multiply_adds(self) -> int:
        return self.params["W"].size * prod(self.window.output)

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        names = {key: f"{self.name}.{key}" for key in ("W", "b")}
        window = {"stride": list(self.window.stride), "padding": list(self.window.padding)}
        params = {"b": np.zeros(self.filters), **self.params}
        arrays = {name: np.array(params[key], np.float32) for key, name in names.items()}
        return {"op": self.kind, **names, **window}, arrays

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        channels = shape[0] if len(shape) == 3 else None
        filters, channels, kh, kw = array_shape(op, "W", arrays, (None, channels, None, None))
        array_shape(op, "b", arrays, (filters,))
        rows, columns, padded = window_extent(op, shape, (kh, kw))
        lowered = channels * kh * kw * columns  # of one row
        return (filters, rows, columns), padded + lowered + filters * rows * columns

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays, block_bytes: int = 512 << 10) -> Array:
        """Correlate with W (F, C, KH, KW), add b, cut at 0 where the operation says ``relu``.

        Rows of the output are lowered to columns block by block: `block_bytes` of columns stay in a
        core's cache.
        """
        W, b = arrays[op["W"]], arrays[op["b"]]
        filters, channels, kh, kw = W.shape
        (sy, sx), n = op["stride"], x.shape[3]
        padded = padded_by(x, op["padding"], 0.0)
        oh, ow = (padded.shape[1] - kh) // sy + 1, (padded.shape[2] - kw) // sx + 1
        y = np.empty((filters, oh * ow * n), np.float32)
        taps, across = channels * kh * kw, ow * n
        rows = min(oh, max(1, block_bytes // ((taps + filters) * across * 4)))
        kernels = W.reshape(filters, -1)
        buffer = np.empty(taps * rows * across, np.float32)
        for first in range(0, oh, rows):
            count = min(rows, oh - first)
            columns = buffer[: taps * count * across].reshape(channels, kh, kw, count, ow, n)
            for i in range(kh):
                above = i + first * sy
                band = padded[:, above : above + (count - 1) * sy + 1 : sy]
                for j in range(kw):
                    columns[:, i, j] = band[:, :, j : j + (ow - 1) * sx + 1 : sx]
            part = y[:, first * across : (first + count) * across]
            np.matmul(kernels, columns.reshape(taps, -1), out=part)
            part += b[:, None]
            if op.get("relu"):
                np.maximum(part, np.float32(0), out=part)
        return y.reshape(filters, oh, ow, n)

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        W, b = (writer.constant(op[key], arrays[op[key]]) for key in ("W", "b"))
        return writer.add("Conv", x, W, b, pads=onnx_pads(op["padding"]), strides=op["stride"])
