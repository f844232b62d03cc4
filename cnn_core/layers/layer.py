"""What every layer is: parameters, their gradients, buffers; forward, backward, and inference."""

import copy
from typing import Any, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.kernels.workspace import Workspace
from cnn_core.layers.inference import Arrays, GraphWriter, Operation


class Layer:
    """One step of a net: ``y = forward(x)``, ``dx = backward(dy)``.

    A layer is constructed from hyperparameters alone; `build` receives the shape of one image,
    draws the parameters and returns the output's shape. `params` are learned; `grads` has the
    same keys and arrays of the same shapes, which `backward` overwrites in place; `buffers` are
    saved but not learned (running statistics). Arrays returned by `forward` and `backward` belong
    to the layer and are valid until its next call: steady training allocates nothing.
    """

    kind = "layer"  # the word shown in summary()
    operation = ""  # the name of its operation at inference; empty: its kind
    onnx_operator = ""  # ONNX's name, where one node without attributes does it
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

    def at_inference(self) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """Return the operation's parameters, plain values, and the float32 arrays that they name,
        copied; None where nothing is done. Raises ValueError for a layer without an `infer`.
        """
        if type(self).infer is Layer.infer:
            raise ValueError(
                f"a bundle has no operation for layer {self.name!r} of kind {self.kind!r}"
            )
        return {"op": self.operation or self.kind}, {}

    @staticmethod
    def infer(x: Array, op: Operation, arrays: Arrays) -> Array:
        """Return what the operation `op` makes of x, float32 (C, H, W, N) or (D, N); see
        `cnn_core.layers.inference` for what it may use.
        """
        raise NotImplementedError(f"infer of the operation {op['op']!r}")

    @classmethod
    def add_nodes(cls, writer: GraphWriter, x: str, op: Operation, arrays: Arrays) -> str:
        """Append the ONNX nodes that do the same to the value x, the batch first; return the name
        of what leaves.
        """
        if not cls.onnx_operator:
            raise ValueError(f"ONNX has no counterpart for the operation {op['op']!r}")
        return writer.add(cls.onnx_operator, x)

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
