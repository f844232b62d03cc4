"""From a trained net to the operations of a bundle, batch normalisation folded into the layer
before it.
"""

from typing import Any

import numpy as np

from cnn_core.axes import Array
from cnn_core.model import Sequential

Operations = list[dict[str, Any]]
Arrays = dict[str, Array]


def operations_of(model: Sequential) -> tuple[Operations, Arrays]:
    """Return the operations of an unfused net and copies of the arrays that they name, float32.

    A scale and a shift (batch normalisation) right behind a convolution or a dense layer are folded
    in: W' = s W, b' = s b + t. A layer that does nothing at inference is left out. Raises
    ValueError for a layer that has no operation.
    """
    operations: Operations = []
    arrays: Arrays = {}
    for layer in model.layers:
        described = layer.at_inference()
        if described is None:
            continue
        operation, own = described
        if operation["op"] == "scale_shift" and operations and "W" in operations[-1]:
            _fold(own[operation["scale"]], own[operation["shift"]], operations[-1], arrays)
        else:
            operations.append(operation)
            arrays |= own
    return operations, arrays


def _fold(scale: Array, shift: Array, before: dict[str, Any], arrays: Arrays) -> None:
    W, b = arrays[before["W"]], arrays[before["b"]]
    arrays[before["W"]] = (W * scale.reshape(-1, *(1,) * (W.ndim - 1))).astype(np.float32)
    arrays[before["b"]] = (b * scale + shift).astype(np.float32)
