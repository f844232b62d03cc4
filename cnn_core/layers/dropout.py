"""Dropout, its mask drawn as random bytes."""

from math import prod
from typing import Any

import numpy as np
from numpy.random import SFC64, Generator

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
from cnn_core.layers.layer import Layer


class Dropout(Layer):
    """y = x * keep / P(keep) in training, y = x otherwise (inverted dropout: nothing is left to
    scale at inference).

    `keep` compares one random byte per value with a threshold, so the rate is rounded to 256ths;
    the scale is that of the rounded rate and the expectation stays exact. Source: Srivastava et al.
    (2014), who scale at inference instead.
    """

    kind = "dropout"

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise InputError(f"dropout: rate must be at least 0 and below 1, got {rate}")
        self.rate = rate
        self.threshold = min(255, round(rate * 256))
        self._random = SFC64(0)

    def reseed(self, rng: Generator) -> None:
        """Draw the coming masks from `rng`."""
        self._random = rng.bit_generator  # type: ignore[assignment]

    @property
    def scale(self) -> float:
        """Return 1 / P(keep)."""
        return 256 / (256 - self.threshold)

    def forward(self, x: Array, *, training: bool) -> Array:
        if not training or self.threshold == 0:
            return x
        y = self._workspace.take("y", x.shape, x.dtype)
        np.multiply(x, self.draw(x.shape), out=y)
        y *= self.scale
        return y

    def backward(self, dy: Array) -> Array:
        if self.threshold:
            dy *= self._workspace.take("keep", dy.shape, np.bool_)
            dy *= self.scale
        return dy

    def draw(self, shape: Shape) -> Array:
        """Draw which values of an array of that shape are kept, bool; the order of the draws is the
        order in memory.
        """
        size = prod(shape)
        words = self._random.random_raw(-(-size // 8))
        keep = self._workspace.take("keep", shape, np.bool_)
        np.greater_equal(words.view(np.uint8)[:size].reshape(shape), self.threshold, out=keep)
        return keep

    def at_inference(self) -> None:
        """Return None: nothing is done."""

    def describe(self) -> dict[str, Any]:
        return {"rate": self.rate}
