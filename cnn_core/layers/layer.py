"""What every layer is: parameters, their gradients, buffers; forward and backward; and inference.

Four methods stand beside forward and backward. `at_inference` describes the operation and names
its arrays; `extent`, a static method, checks and measures it; `infer`, one too, computes it;
`add_nodes` writes it as ONNX. `infer` is not `forward`: it takes no layer, reads nothing but its
arguments and calls NumPy and functions of cnn_core alone, since a bundle's predict.py holds its
source text and must run without cnn_core. So the computation stands once, in the layer's file. The
ONNX side is written against `GraphWriter`: cnn_core does not import onnx.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError
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


def whole_numbers(op: Operation, key: str, many: int, low: int) -> list[int]:
    """Return an operation's list of that many whole numbers from `low`. Raises InputError."""
    found = op.get(key)
    values = list(found) if isinstance(found, list | tuple) else []
    if len(values) == many and all(type(n) is int and low <= n <= 1 << 20 for n in values):
        return values
    raise InputError(
        f"{op['op']}: {key} must be {many} whole numbers, at least {low}, got {str(found)[:40]}"
    )


def real_numbers(op: Operation, key: str, many: int, low: float, high: float) -> list[float]:
    """Return an operation's number, or list of `many` numbers, from `low` to `high`. Raises
    InputError.
    """
    found = op.get(key)
    several = many > 1 and isinstance(found, list | tuple)
    values: list[Any] = list(found) if several else [found]  # type: ignore[arg-type]
    if len(values) == many and all(type(v) in (int, float) and low <= v <= high for v in values):
        return list(map(float, values))
    rule = f"{many} numbers" if many > 1 else "a number"
    raise InputError(
        f"{op['op']}: {key} must be {rule} from {low:g} to {high:g}, got {str(found)[:40]}"
    )


def array_shape(op: Operation, key: str, arrays: Arrays, wanted: Sequence[int | None]) -> Shape:
    """Return the shape of the array that an operation names, as `wanted`, None for any size. Raises
    InputError where there is none such.
    """
    name = op.get(key)
    found = arrays[name].shape if isinstance(name, str) and name in arrays else ()
    sizes = zip(found, wanted, strict=False)
    if len(found) != len(wanted) or any(n < 1 or most not in (None, n) for n, most in sizes):
        rule = ", ".join("any" if n is None else str(n) for n in wanted)
        raise InputError(f"{op['op']}: {key} must name an array of ({rule}), got {found or 'none'}")
    return found


def window_extent(op: Operation, shape: Shape, size: Sequence[int]) -> tuple[int, int, int]:
    """Return how many rows and columns of windows lie on a padded image (C, H, W), and how many
    values the padded image has. Raises InputError where none fits.
    """
    stride, padding = whole_numbers(op, "stride", 2, 1), whole_numbers(op, "padding", 4, 0)
    if len(shape) != 3:
        raise InputError(f"{op['op']}: input must be (C, H, W), got {shape}")
    sides = [shape[1] + padding[0] + padding[1], shape[2] + padding[2] + padding[3]]
    if sides[0] < size[0] or sides[1] < size[1] or size[0] * size[1] > 1 << 14:
        raise InputError(
            f"{op['op']}: a window must fit in the padded input and have at most 16384 pixels, got "
            f"{size[0]}x{size[1]} on {sides[0]}x{sides[1]}"
        )
    rows, columns = (
        (side - length) // step + 1 for side, length, step in zip(sides, size, stride, strict=True)
    )
    return rows, columns, shape[0] * sides[0] * sides[1]


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
    moves_buffers = True  # False: training leaves them as `adapt` has made them
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

    @staticmethod
    def extent(shape: Shape, op: Operation, arrays: Arrays) -> tuple[Shape, int] | None:
        """Return the shape of what `infer` makes of one image (shape without the batch), and how
        many values it holds beside its input on the way: what a stranger's bundle asks for is known
        before anything is computed. None where a layer does not tell: it is tried on one image.

        It may use what `infer` may. Raises InputError for an operation that is not complete, out of
        range, or does not fit its input or its arrays.
        """
        return None

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

    def adapt(self, x: Array) -> None:
        """Take from a sample of training inputs (C, H, W, N), before the first step, what is not
        learned (whitening); other layers ignore it.
        """

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
