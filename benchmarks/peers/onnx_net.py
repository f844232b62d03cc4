"""A net as an ONNX graph of its plain layers, for onnxruntime to run; uint8 images in,
probabilities out, as in `predict_proba`.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cnn_core.axes import Array
from cnn_core.layers import (
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPooling,
    ReLU,
)
from cnn_core.model import Sequential


def to_onnx(model: Sequential) -> bytes:
    """Return the serialized graph; raise ValueError for a layer that the benchmark's nets do not
    use.
    """
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["x0"]),
    ]
    constants = [numpy_helper.from_array(np.array(1 / 255, np.float32), "scale")]
    x = "x0"
    for index, layer in enumerate(model.layers, 1):
        if isinstance(layer, Dropout):
            continue
        kind, arrays, attributes = _node(layer)
        names = [f"{layer.name}.{i}" for i in range(len(arrays))]
        constants += [
            numpy_helper.from_array(np.ascontiguousarray(a), name)
            for a, name in zip(arrays, names, strict=True)
        ]
        nodes.append(helper.make_node(kind, [x, *names], [f"x{index}"], **attributes))
        x = f"x{index}"
    nodes.append(helper.make_node("Softmax", [x], ["probabilities"], axis=1))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", *model.image_shape])
    probabilities = helper.make_tensor_value_info(
        "probabilities", TensorProto.FLOAT, ["N", model.layers[-1].out_shape[0]]
    )
    graph = helper.make_graph(nodes, "net", [images], [probabilities], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    serialized: bytes = made.SerializeToString()
    return serialized


def _node(layer: Layer) -> tuple[str, list[Array], dict[str, Any]]:
    match layer:
        case Convolution():
            top, bottom, left, right = layer.window.padding
            arrays = [layer.params["W"], *([layer.params["b"]] if layer.bias else [])]
            return "Conv", arrays, {"strides": layer.stride, "pads": [top, left, bottom, right]}
        case BatchNormalization():
            order = [
                layer.params["gamma"],
                layer.params["beta"],
                layer.buffers["running_mean"],
                layer.buffers["running_var"],
            ]
            return "BatchNormalization", order, {"epsilon": layer.eps}
        case MaxPooling():
            return "MaxPool", [], {"kernel_shape": layer.size, "strides": layer.stride}
        case Dense():
            return "Gemm", [layer.params["W"], layer.params["b"]], {"transB": 1}
        case Flatten():
            return "Flatten", [], {}
        case ReLU():
            return "Relu", [], {}
    raise ValueError(f"benchmark: no ONNX form of the layer {layer.kind}")
