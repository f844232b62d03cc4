"""What a layer says of inference: its operation, plain enough for a JSON file, and its ONNX nodes.

Three methods stand beside a layer's forward and backward. `at_inference` describes the operation
and names its arrays; `infer`, a static method, computes it; `add_nodes` writes it as ONNX. `infer`
is not `forward`: it takes no layer, reads nothing but its arguments and calls NumPy and functions
of cnn_core alone, since a bundle's predict.py holds its source text and must run without cnn_core.
So the computation stands once, in the layer's file. The ONNX side is written against `GraphWriter`:
cnn_core does not import onnx.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from cnn_core.axes import Array

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
