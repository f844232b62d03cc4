"""Dropout by random bytes."""

from typing import Any

import numpy as np
from numpy.random import SFC64, Generator

from cnn_core.axes import Array
from cnn_core.buffers import Buffers
from cnn_core.errors import InputError
from cnn_core.layers.base import Layer


class Dropout(Layer):
    """y = x * keep / P(keep) in training, y = x otherwise (inverted dropout: nothing is left to scale at inference).

    `keep` compares one random byte a value with a threshold, so the rate is rounded to 256ths; the scale is that of the rounded rate and
    the expectation stays exact. Source: Srivastava et al. (2014), who scale at inference instead.
    """

    kind = "dropout"

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"dropout: rate must be at least 0 and below 1, got {rate}")
        self.rate = rate
        self.threshold = min(255, round(rate * 256))
        self._buffers = Buffers()
        self._random = SFC64(0)

    def reseed(self, rng: Generator) -> None:
        """Draw the coming masks from `rng`."""
        self._random = rng.bit_generator  # type: ignore[assignment]

    def forward(self, x: Array, *, training: bool) -> Array:
        if not training or self.threshold == 0:
            return x
        y = self._buffers.take("y", x.shape, x.dtype)
        factor = self._draw(x)
        np.multiply(x, factor, out=y)
        return y

    def backward(self, dy: Array) -> Array:
        if self.threshold:
            dy *= self._buffers.take("factor", dy.shape, dy.dtype)
        return dy

    def _draw(self, x: Array) -> Array:
        """Return an array like x that holds 0 where a value is dropped and 1 / P(keep) where it stays."""
        words = self._random.random_raw(-(-x.size // 8))
        keep = words.view(np.uint8)[: x.size].reshape(x.shape) >= self.threshold
        factor = self._buffers.take("factor", x.shape, x.dtype)
        return np.multiply(keep, factor.dtype.type(256 / (256 - self.threshold)), out=factor)

    def describe(self) -> dict[str, Any]:
        return {"rate": self.rate}
