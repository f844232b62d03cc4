"""From a trained net to the operations of a bundle: what inference needs, batch normalisation
folded into the layer before it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn_core.axes import Array
from cnn_core.layers import (
    AveragePooling,
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    GlobalAveragePooling,
    Layer,
    LeakyReLU,
    LpPooling,
    MaxPooling,
    MomentNormalization,
)
from cnn_core.layers.moment_normalization import HEIGHT, TINY, ZOOM
from cnn_core.model import Sequential

Operations = list[dict[str, Any]]
Arrays = dict[str, Array]

_POOLING_KINDS = {MaxPooling: "max", AveragePooling: "average", LpPooling: "lp"}
_BARE = ("flatten", "relu", "sigmoid", "tanh")  # the layer's kind is the operation's name


def operations_of(model: Sequential) -> tuple[Operations, Arrays]:
    """Return the operations of an unfused net and copies of the arrays that they name, float32.

    Batch normalisation right behind a convolution or a dense layer is folded in: W' = W s, b' = (b
    - mean) s + beta with s = gamma / sqrt(var + eps); elsewhere it becomes a scale and a shift.
    Dropout does nothing at inference and is left out. Raises ValueError for a layer that has no
    operation here.
    """
    operations: Operations = []
    arrays: Arrays = {}
    for layer in model.layers:
        if isinstance(layer, Dropout):
            continue
        if isinstance(layer, BatchNormalization):
            _normalization(layer, operations, arrays)
            continue
        operations.append(_operation(layer))
        if isinstance(layer, Convolution | Dense):
            W = layer.params["W"]
            arrays[f"{layer.name}.W"] = np.array(W, np.float32)
            arrays[f"{layer.name}.b"] = np.array(
                layer.params.get("b", np.zeros(len(W))), np.float32
            )
    return operations, arrays


def _operation(layer: Layer) -> dict[str, Any]:
    for kind, write in _WRITERS.items():
        if isinstance(layer, kind):
            return write(layer)
    if layer.kind in _BARE:
        return {"op": layer.kind}
    raise ValueError(f"a bundle has no operation for layer {layer.name!r} of kind {layer.kind!r}")


def _convolution(layer: Any) -> dict[str, Any]:
    window = layer.window
    return {
        "op": "convolution",
        "W": f"{layer.name}.W",
        "b": f"{layer.name}.b",
        "stride": list(window.stride),
        "padding": list(window.padding),
    }


def _pooling(layer: Any) -> dict[str, Any]:
    window = layer.window
    kind = next(name for cls, name in _POOLING_KINDS.items() if isinstance(layer, cls))
    operation = {
        "op": "pooling",
        "kind": kind,
        "size": list(window.kernel),
        "stride": list(window.stride),
        "padding": list(window.padding),
    }
    return operation | ({"p": float(layer.p)} if kind == "lp" else {})


def _moment_normalization(layer: Any) -> dict[str, Any]:
    _, height, width = layer.in_shape
    return {
        "op": "moment_normalization",
        "image_shape": list(layer.in_shape),
        "size": [HEIGHT * height, layer.wide * width],
        "beside": layer.beside,
        "together": layer.frame == "similar",
        "lean": layer.lean,
        "zoom": list(ZOOM),
        "tiny": TINY,
    }


_WRITERS: dict[type[Layer], Callable[[Any], dict[str, Any]]] = {
    Convolution: _convolution,
    Dense: lambda layer: {"op": "dense", "W": f"{layer.name}.W", "b": f"{layer.name}.b"},
    MaxPooling: _pooling,
    AveragePooling: _pooling,
    LpPooling: _pooling,
    GlobalAveragePooling: lambda layer: {"op": "global_average_pooling"},
    LeakyReLU: lambda layer: {"op": "leaky_relu", "slope": float(layer.slope)},
    MomentNormalization: _moment_normalization,
}


def _normalization(layer: BatchNormalization, operations: Operations, arrays: Arrays) -> None:
    """Fold the layer into the operation before it, or append it as a scale and a shift."""
    scale = layer.params["gamma"] / np.sqrt(layer.buffers["running_var"] + layer.eps)
    shift = layer.params["beta"] - layer.buffers["running_mean"] * scale
    before = operations[-1] if operations else {"op": ""}
    if before["op"] in ("convolution", "dense"):
        W, b = arrays[before["W"]], arrays[before["b"]]
        arrays[before["W"]] = (W * scale.reshape(-1, *(1,) * (W.ndim - 1))).astype(np.float32)
        arrays[before["b"]] = (b * scale + shift).astype(np.float32)
        return
    names = {"scale": f"{layer.name}.scale", "shift": f"{layer.name}.shift"}
    operations.append({"op": "scale_shift", "flat": len(layer.in_shape) == 1, **names})
    arrays[names["scale"]], arrays[names["shift"]] = (
        scale.astype(np.float32),
        shift.astype(np.float32),
    )
