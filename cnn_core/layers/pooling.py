"""Pooling: each window of pixels is reduced to one value. No parameters; channels are kept."""

import math
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.kernels.window import Padding, Pair, as_pair, make_window
from cnn_core.layers.layer import (
    Arrays,
    GraphWriter,
    Layer,
    Operation,
    onnx_pads,
    padded_by,
    real_numbers,
    whole_numbers,
    window_extent,
)


class Pooling(Layer):
    """A window that slides over each channel: (C, H, W, N) -> (C, OH, OW, N). `stride` is the
    window's size unless given.

    Pixels of a last row or column that no window covers are left out, as is usual. Raises
    InputError where the window does not fit.
    """

    operation = "pooling"
    border = 0.0  # the value of padding

    def __init__(
        self, size: int | Pair, stride: int | Pair | None = None, padding: Padding = "valid"
    ) -> None:
        super().__init__()
        self.size = as_pair(size)
        self.stride = self.size if stride is None else as_pair(stride)
        self.padding = padding

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        where = f'{self.kind} "{self.name}"'
        if len(in_shape) != 3:
            raise InputError(f"{where}: input must be (C, H, W), got shape {in_shape}")
        self.window = make_window(
            where, self.size, self.stride, self.padding, (in_shape[1], in_shape[2])
        )
        self.in_shape, self.out_shape = in_shape, (in_shape[0], *self.window.output)
        return self.out_shape

    def pad(self, x: Array) -> Array:
        """Return x with its border, x itself where there is none."""
        if not any(self.window.padding):
            return x
        padded = self._workspace.take(
            "padded", (x.shape[0], *self.window.padded, x.shape[3]), x.dtype
        )
        padded.fill(self.border)
        self.window.interior(padded)[...] = x
        return padded

    def zeroed_gradient(self, like: Array) -> Array:
        """Return zeros of the padded input's shape, onto which windows add their gradients."""
        padded = self._workspace.take(
            "dx", (self.in_shape[0], *self.window.padded, like.shape[3]), like.dtype
        )
        padded.fill(0)
        return padded

    def describe(self) -> dict[str, Any]:
        return {"size": self.size, "stride": self.stride, "padding": self.padding}

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        window = {"stride": list(self.window.stride), "padding": list(self.window.padding)}
        kind = self.kind.removesuffix("_pooling")
        size = list(self.window.kernel)
        return {"op": self.operation, "kind": kind, "size": size, **window}, {}

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        rows, columns, padded = window_extent(op, shape, whole_numbers(op, "size", 2, 1))
        if op.get("kind") == "lp":
            real_numbers(op, "p", 1, 1, 1e6)
        elif op.get("kind") not in ("max", "average"):
            raise InputError(f"pooling: must be max, average or lp, got {str(op.get('kind'))[:40]}")
        stacked = {"max": 0, "average": 1, "lp": 3}[op["kind"]] * math.prod(op["size"])
        return (shape[0], rows, columns), padded + (1 + stacked) * shape[0] * rows * columns

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        """Return the maximum, the mean or the power mean of each window."""
        (kh, kw), (sy, sx) = op["size"], op["stride"]
        x = padded_by(x, op["padding"], -np.inf if op["kind"] == "max" else 0.0)
        oh, ow = (x.shape[1] - kh) // sy + 1, (x.shape[2] - kw) // sx + 1
        views = [
            x[:, i : i + oh * sy : sy, j : j + ow * sx : sx][:, :oh, :ow]
            for i in range(kh)
            for j in range(kw)
        ]
        if op["kind"] == "max":
            y = views[0].copy()
            for view in views[1:]:
                np.maximum(y, view, out=y)
            return y
        if op["kind"] == "average":
            return np.asarray(np.stack(views).mean(axis=0))
        stacked, p = np.abs(np.stack(views)), op["p"]
        largest = np.maximum(stacked.max(axis=0), np.finfo(np.float32).tiny)
        mean = np.mean((stacked / largest) ** np.float32(p), axis=0)
        return np.asarray(mean ** np.float32(1 / p) * largest)

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        pads = onnx_pads(op["padding"])
        window = {"kernel_shape": op["size"], "strides": op["stride"], "pads": pads}
        if op["kind"] == "max":
            return writer.add("MaxPool", x, **window)
        if op["kind"] == "average":
            return writer.add("AveragePool", x, count_include_pad=1, **window)
        powers = writer.add("Pow", writer.add("Abs", x), np.float32(op["p"]))
        mean = writer.add("AveragePool", powers, count_include_pad=1, **window)
        return writer.add("Pow", mean, np.float32(1 / op["p"]))


class MaxPooling(Pooling):
    """y = max of the window. Forward keeps the index of its pixel, one byte per window, the first
    where several are equal; padding is never the maximum.
    """

    kind = "max_pooling"
    border = -math.inf

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        if self.size[0] * self.size[1] > 256:
            raise InputError(
                f'{self.kind} "{self.name}": a window must have at most 256 pixels, '
                f"got {self.size[0]}x{self.size[1]}"
            )
        out_shape = super().build(in_shape, rng, dtype)
        top, bottom, left, right = self.window.padding
        if max(top, bottom) >= self.size[0] or max(left, right) >= self.size[1]:
            received = (
                f"padding {max(top, bottom)}x{max(left, right)}, "
                f"window {self.size[0]}x{self.size[1]}"
            )
            raise InputError(
                f'{self.kind} "{self.name}": padding must be smaller than the window, '
                f"got {received}"
            )
        return out_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        padded = self.pad(x)
        y = self._workspace.take("y", (*self.out_shape, x.shape[3]), x.dtype)
        y[...] = self.window.view(padded, 0, 0)
        code = self._workspace.take("code", y.shape, np.uint8)
        code.fill(0)
        for index, (i, j) in enumerate(self.window.taps()):
            if index == 0:
                continue
            pixels = self.window.view(padded, i, j)
            if training:
                np.maximum(code, (pixels > y).view(np.uint8) * np.uint8(index), out=code)
            np.maximum(y, pixels, out=y)
        return y

    def backward(self, dy: Array) -> Array:
        code = self._workspace.take("code", dy.shape, np.uint8)
        padded = self.zeroed_gradient(dy)
        for index, (i, j) in enumerate(self.window.taps()):
            self.window.view(padded, i, j)[...] += dy * (code == index)
        return self.window.interior(padded)


class AveragePooling(Pooling):
    """y = mean of the window, where padding counts as zeros."""

    kind = "average_pooling"

    def forward(self, x: Array, *, training: bool) -> Array:
        padded = self.pad(x)
        y = self._workspace.take("y", (*self.out_shape, x.shape[3]), x.dtype)
        y.fill(0)
        for i, j in self.window.taps():
            y += self.window.view(padded, i, j)
        y /= self.size[0] * self.size[1]
        return y

    def backward(self, dy: Array) -> Array:
        dy /= self.size[0] * self.size[1]
        padded = self.zeroed_gradient(dy)
        for i, j in self.window.taps():
            self.window.view(padded, i, j)[...] += dy
        return self.window.interior(padded)


class LpPooling(Pooling):
    """y = (mean of |x|^p over the window)^(1/p), 1 <= p < infinity; p = 1 averages, large p comes
    near the maximum.

    Computed relative to each window's largest |x|, so that no power overflows. The article on a CNN
    with only NumPy defines it for inputs that are not negative; with signs this is the power mean
    of |x|.
    """

    kind = "lp_pooling"

    def __init__(
        self,
        size: int | Pair,
        stride: int | Pair | None = None,
        padding: Padding = "valid",
        p: float = 2.0,
    ) -> None:
        super().__init__(size, stride, padding)
        if not 1 <= p < math.inf:
            raise InputError(
                "lp_pooling: p must be at least 1 and finite (max pooling is p = infinity), got "
                f"{p}"
            )
        self.p = p

    def forward(self, x: Array, *, training: bool) -> Array:
        padded = self.pad(x)
        largest = self._workspace.take("largest", (*self.out_shape, x.shape[3]), x.dtype)
        largest.fill(np.finfo(x.dtype).tiny)
        for i, j in self.window.taps():
            np.maximum(largest, np.abs(self.window.view(padded, i, j)), out=largest)
        y = self._workspace.take("y", largest.shape, x.dtype)
        y.fill(0)
        for i, j in self.window.taps():
            y += (np.abs(self.window.view(padded, i, j)) / largest) ** self.p
        y /= self.size[0] * self.size[1]
        np.power(y, 1 / self.p, out=y)
        y *= largest
        self._padded = padded
        return y

    def backward(self, dy: Array) -> Array:
        # dy/dx = sign(x) (|x| / y)^(p-1) / pixels; where y is 0 all pixels are 0, and the
        # derivative is taken as 0.
        y = self._workspace.take("y", dy.shape, dy.dtype)
        dy /= self.size[0] * self.size[1]
        divisor = np.where(y > 0, y, 1)
        padded = self.zeroed_gradient(dy)
        for i, j in self.window.taps():
            pixels = self.window.view(self._padded, i, j)
            self.window.view(padded, i, j)[...] += (
                dy * np.sign(pixels) * (np.abs(pixels) / divisor) ** (self.p - 1)
            )
        return self.window.interior(padded)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "p": self.p}

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        op, arrays = super().at_inference()
        return {**op, "p": float(self.p)}, arrays


class GlobalAveragePooling(Layer):
    """(C, H, W, N) -> (C, N): the mean of each channel."""

    kind = "global_average_pooling"

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        if len(in_shape) != 3:
            raise InputError(
                f'{self.kind} "{self.name}": input must be (C, H, W), got shape {in_shape}'
            )
        self.in_shape, self.out_shape = in_shape, (in_shape[0],)
        return self.out_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        y = self._workspace.take("y", (x.shape[0], x.shape[3]), x.dtype)
        return np.mean(x, axis=(1, 2), out=y)

    def backward(self, dy: Array) -> Array:
        dx = self._workspace.take("dx", (*self.in_shape, dy.shape[1]), dy.dtype)
        dx[...] = (dy / (self.in_shape[1] * self.in_shape[2]))[:, None, None, :]
        return dx

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int]:
        if len(shape) != 3:
            raise InputError(f"{op['op']}: input must be (C, H, W), got {shape}")
        return shape[:1], shape[0]

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        return np.asarray(x.mean(axis=(1, 2)))

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        return writer.add("Flatten", writer.add("GlobalAveragePool", x))
