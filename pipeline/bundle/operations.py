"""A net at inference: the operations that a bundle's manifest lists, computed one after the other.

What each operation computes stands in its layer's file (`infer`); predict.py holds those functions
as text.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from cnn_core.layers import OPERATIONS
from cnn_core.layers.inference import Operation
from pipeline.bundle.input_transform import Array


class Net:
    """One net: a list of operations over named arrays. Inside, the batch is the last axis."""

    def __init__(self, operations: Sequence[Operation], arrays: Mapping[str, Array]) -> None:
        self.operations = operations
        self.arrays = arrays
        self._steps = joined_relu(operations)

    def logits(self, x: Array) -> Array:
        """Return (classes, N) from (C, H, W, N)."""
        for operation in self._steps:
            x = self.apply(x, operation)
        return x

    def apply(self, x: Array, operation: Operation) -> Array:
        """Return what one operation makes of x."""
        return OPERATIONS[operation["op"]].infer(x, operation, self.arrays)


def joined_relu(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations with each ReLU right behind a convolution made part of it, so that it
    meets the block while in cache.
    """
    steps: list[Operation] = []
    for operation in operations:
        if operation["op"] == "relu" and steps and steps[-1]["op"] == "convolution":
            steps[-1] = {**steps[-1], "relu": True}
        else:
            steps.append(operation)
    return steps


def softmax(logits: Array) -> Array:
    """Return exp(z) / sum exp(z) over the first axis, without overflow."""
    powers: Array = np.exp(logits - logits.max(axis=0))
    powers /= powers.sum(axis=0)
    return powers
