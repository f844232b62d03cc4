"""What one epoch passes to the next: plain arrays and numbers, passed by value, and all that a
checkpoint holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from cnn_core.axes import Array


class Weights(NamedTuple):
    """A net's learned parameters and its buffers (running statistics), by name."""

    params: dict[str, Array]
    buffers: dict[str, Array]


def copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays, copied."""
    return {name: array.copy() for name, array in arrays.items()}


@dataclass
class TrainState:
    """A net in the middle of its training.

    epoch, step: how many are done. params, buffers: the net. optimizer: what `Optimizer.state`
    returns. average: the moving average of weights (``train.select=average`` only). best: the
    weights of the epoch of lowest validation loss (``train.select=best`` only). history: the
    metrics of each epoch but for its duration, so that equal trainings have equal states to the
    bit. No random generator is part of it: streams are functions of (seed, name, epoch).
    """

    epoch: int
    step: int
    params: dict[str, Array]
    buffers: dict[str, Array]
    optimizer: dict[str, Array]
    average: Weights | None = None
    best: Weights | None = None
    history: list[dict[str, float]] = field(default_factory=list)
