"""What every layer is: parameters, their gradients, buffers; forward and backward; and inference.

Three methods stand beside forward and backward. `at_inference` describes the operation and names
its arrays; `infer`, a static method, computes it; `add_nodes` writes it as ONNX. `infer` is not
`forward`: it takes no layer, reads nothing but its arguments and calls NumPy and functions of
cnn_core alone, since a bundle's predict.py holds its source text and must run without cnn_core. So
the computation stands once, in the layer's file. The ONNX side is written against `GraphWriter`:
cnn_core does not import onnx.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.kernels.workspace import Workspace

Operation = Mapping[str, Any]  # {"op": its name, ...}: numbers, texts, lists; arrays by their names
Arrays = Mapping[str, Array]
FLOAT, INT64, DOUBLE = 1, 7, 11  # element types, as ONNX's Cast counts them


class GraphWriter(Protocol):
    """Collects the nodes and constants of one ONNX graph, in which the batch is the first axis."""

    def add(self, operator: str, *inputs: Any, **attributes: Any) -> str:
        """Append a node with one output and return the output's name; an input is the name of a
        value, or a NumPy array or number, which becomes a constant.
        """

    def constant(self, name: str, values: Array) -> str:
        """Add an array once and return its name."""


def onnx_pads(padding: Sequence[int]) -> list[int]:
    """Turn (top, bottom, left, right) into ONNX's (top, left, bottom, right)."""
    top, bottom, left, right = padding
    return [top, left, bottom, right]


def padded_by(x: Array, padding: Sequence[int], border: float) -> Array:
    """Return x (C, H, W, N) with `padding` (top, bottom, left, right) of `border` around it; x
    itself where there is none.
    """
    if not any(padding):
        return x
    top, bottom, left, right = padding
    padded = np.full(
        (x.shape[0], x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3]),
        border,
        np.float32,
    )
    padded[:, top : top + x.shape[1], left : left + x.shape[2]] = x
    return padded


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
        # Sequential clears it where no layer before this one has parameters.
        self.needs_input_gradient = True

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
        `cnn_core.layers.layer` for what it may use.
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
