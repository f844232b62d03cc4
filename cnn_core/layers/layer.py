"""The base class of layers: parameters, their gradients, buffers, and three methods."""

import copy
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.kernels.workspace import Workspace


class Layer:
    """One step of a net: ``y = forward(x)``, ``dx = backward(dy)``.

    A layer is constructed from hyperparameters alone; `build` receives the shape of one image,
    draws the parameters and returns the output's shape. `params` are learned; `grads` has the
    same keys and arrays of the same shapes, which `backward` overwrites in place; `buffers` are
    saved but not learned (running statistics). Arrays returned by `forward` and `backward` belong
    to the layer and are valid until its next call: steady training allocates nothing.
    """

    kind = "layer"  # the word shown in summary()
    differentiable = True  # False: no backward, so no layer before it may have parameters

    def __init__(self) -> None:
        self.name = self.kind
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self.in_shape: Shape = ()
        self.out_shape: Shape = ()
        self._workspace = Workspace()
        self.needs_input_gradient = (
            True  # Sequential clears it where no layer before this one has parameters
        )

    def build(self, in_shape: Shape, rng: Generator, dtype: DTypeLike = np.float32) -> Shape:
        """Draw parameters for images of `in_shape`, (C, H, W) or (D,); return the output's shape
        for one image.
        """
        self.in_shape = self.out_shape = in_shape
        return in_shape

    def forward(self, x: Array, *, training: bool) -> Array:
        """Return y; x is (C, H, W, N) or (D, N)."""
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, dy: Array) -> Array:
        """Write `grads` and return dx, for the x of the last `forward(training=True)`; dy may be
        overwritten.
        """
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def inference_copy(self) -> Self:
        """Return a copy that predicts while the layer is trained: parameters and statistics are
        shared, working memory is not.
        """
        made = copy.copy(self)
        made._workspace = Workspace()
        return made

    def reseed(self, rng: Generator) -> None:
        """Take the random stream of the coming epoch (dropout); other layers ignore it."""

    def describe(self) -> dict[str, Any]:
        """Return what summary() shows beside the shapes, such as ``{"filters": 32, "padding":
        "same"}``.
        """
        return {}

    def multiply_adds(self) -> int:
        """Return the multiply-adds of one image's forward pass by the direct algorithm."""
        return 0
