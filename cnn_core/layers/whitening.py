"""A first convolution that is not learned: its filters whiten patches of the training images."""

from math import prod
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.kernels.correlation import as_blocks
from cnn_core.kernels.window import make_window
from cnn_core.kernels.winograd import choose_correlation
from cnn_core.layers.convolution import Convolution
from cnn_core.layers.layer import Layer

SMALLEST = 5e-4  # beside variances of pixels in [0, 1]: directions of less are noise


def principal_filters(x: Array, side: int, count: int) -> tuple[Array, Array]:
    """Return W (2 count, C, side, side) and b (2 count,), float64: filters along the `count`
    directions in which patches of x (C, H, W, N) vary most, and then against them.

    With mean m and covariance C = V diag(l) V^T of all patches, direction k gives ``w = v_k /
    sqrt(l_k + 5e-4)`` and ``b = -w m``, so that outputs have mean 0 and nearly variance 1 and are
    uncorrelated. The sign of v_k is that of its largest component.
    """
    patches = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
    channels, rows, columns, n = patches.shape[:4]
    size = channels * side * side
    total, products = np.zeros(size), np.zeros((size, size))
    for row in range(rows):
        p = patches[:, row].transpose(0, 3, 4, 1, 2).reshape(size, -1).astype(np.float64)
        total += p.sum(axis=1)
        products += p @ p.T
    mean = total / (rows * columns * n)
    covariance = products / (rows * columns * n) - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    best = np.argsort(values)[::-1][:count]
    V = vectors[:, best].T
    V *= np.sign(V[np.arange(count), np.abs(V).argmax(axis=1)])[:, None]
    V /= np.sqrt(np.maximum(values[best], 0) + SMALLEST)[:, None]
    b = V @ -mean
    W = np.concatenate([V, -V]).reshape(-1, channels, side, side)
    return W, np.concatenate([b, -b])


class Whitening(Layer):
    """y = W * x + b with filters that are made from a sample of the training images
    (`principal_filters`) before the first step, and stay.

    x: (C, H, W, N), y: (F, OH, OW, N), no padding. Filters come in pairs of opposite sign, so that
    a ReLU behind them loses nothing. W and b are buffers: saved, not learned, and nothing before
    the next layer needs a gradient; at inference it is a convolution. Raises InputError where the
    kernel does not fit, for an odd number of filters and for more than twice as many as a patch
    has values. Source: the fixed first layer of Page, How to train your ResNet (2019), and of
    Jordan, 94 % on CIFAR-10 (2024).
    """

    kind = "whitening"
    moves_buffers = False
    differentiable = False

    def __init__(self, filters: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.filters, self.kernel, self.stride = filters, (kernel, kernel), (stride, stride)

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        where = f'whitening "{self.name}"'
        if len(in_shape) != 3:
            raise InputError(f"{where}: input must be (C, H, W), got shape {in_shape}")
        channels, height, width = in_shape
        self.window = make_window(where, self.kernel, self.stride, "valid", (height, width))
        most = 2 * channels * prod(self.kernel)
        if not 2 <= self.filters <= most or self.filters % 2:
            rule = f"whiten_filters must be even, from 2 to {most} for {channels} channels"
            raise InputError(f"{where}: {rule}, got {self.filters}")
        W = np.zeros((self.filters, channels, *self.kernel), dtype)
        self.buffers = {"W": W, "b": np.zeros(self.filters, dtype)}
        self.in_shape, self.out_shape = in_shape, (self.filters, *self.window.output)
        self._choose()
        return self.out_shape

    def _choose(self) -> None:
        W = self.buffers["W"]
        self.correlation = choose_correlation(self.window, W.shape, W.dtype)

    def inference_copy(self) -> Self:
        made = super().inference_copy()
        made._choose()
        return made

    def adapt(self, x: Array) -> None:
        W, b = principal_filters(x, self.kernel[0], self.filters // 2)
        self.buffers["W"][...], self.buffers["b"][...] = W, b

    def forward(self, x: Array, *, training: bool) -> Array:
        y = self._workspace.take("y", (*self.out_shape, x.shape[3]), x.dtype)
        self.correlation.forward(x, self.buffers["W"], as_blocks(y), self.finish)
        return y

    def finish(self, first: int, block: Array) -> None:
        """Add the bias to a block of rows while it is in cache."""
        block += self.buffers["b"][:, None, None]

    def describe(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            "kernel": self.kernel,
            "stride": self.stride,
            "padding": "valid",
        }

    def multiply_adds(self) -> int:
        return self.buffers["W"].size * prod(self.window.output)

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]]:
        names = {key: f"{self.name}.{key}" for key in ("W", "b")}
        window = {"stride": list(self.window.stride), "padding": list(self.window.padding)}
        arrays = {name: np.array(self.buffers[key], np.float32) for key, name in names.items()}
        return {"op": Convolution.kind, **names, **window}, arrays
