"""The whole ensemble as one ONNX graph: views, nets, temperatures, averages. Opset 21 and IR 10,
which current runtimes read.

Input ``images``: uint8 (N, C, H, W); outputs ``probabilities`` float32 (N, classes) and ``labels``
int64 (N,).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from cnn_core.axes import Images
from pipeline.bundle.onnx_moments import GraphWriter, moment_normalization
from pipeline.bundle.predictor import Bundle
from pipeline.bundle.reading import IDENTITY, Operation, view_sampler

OPSET, IR = 21, 10
TOLERANCE = 1e-5


def onnx_model(bundle: Bundle) -> onnx.ModelProto:
    """Return the graph of a bundle, checked by the library. Raises ValueError for an operation that
    has no counterpart.
    """
    writer = GraphWriter()
    floats = writer.add("Cast", "images", to=TensorProto.FLOAT)
    x = writer.add("Mul", floats, writer.scalar(float(np.float32(1 / 255))))
    views = bundle.manifest.get("views") or [IDENTITY]
    seen = [_view(writer, x, view, bundle.image_shape, k) for k, view in enumerate(views)]
    members = [_member(writer, bundle, m, seen) for m in range(len(bundle.nets))]
    _combine(writer, bundle.manifest["combine"], members)
    writer.add("ArgMax", "probabilities", name="labels", axis=1, keepdims=0)
    graph = helper.make_graph(
        writer.nodes,
        "ensemble",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", *bundle.image_shape])],
        [
            helper.make_tensor_value_info(
                "probabilities", TensorProto.FLOAT, ["N", bundle.classes]
            ),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["N"]),
        ],
        list(writer.constants.values()),
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="numpy-cnn-sweep",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def check_against_numpy(model: bytes, bundle: Bundle, images: Images) -> float:
    """Return the largest difference between ONNX Runtime's probabilities and the bundle's own.
    Raises ValueError beyond 1e-5.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    probabilities, labels = session.run(None, {"images": np.ascontiguousarray(images)})
    expected = bundle.predict_proba(images)
    difference = float(np.abs(probabilities - expected).max())
    if not difference <= TOLERANCE:
        raise ValueError(
            f"ONNX and NumPy must agree within {TOLERANCE:g}, got a difference of {difference:.2e}"
        )
    if not np.array_equal(labels, probabilities.argmax(axis=1)):
        raise ValueError("the ONNX graph's labels must be those of its probabilities")
    return difference


def _view(
    writer: GraphWriter,
    x: str,
    view: Sequence[float],
    image_shape: tuple[int, int, int],
    number: int,
) -> str:
    """Bilinear reading by four gathers from the flattened image with one black pixel appended."""
    channels, height, width = image_shape
    sampler = view_sampler(view, (height, width))
    if sampler is None:
        return x
    flat = writer.add("Reshape", x, writer.shape(0, channels, height * width))
    pads = writer.constant("one_pixel", np.array([0, 0, 0, 0, 0, 1], np.int64))
    padded = writer.add("Pad", flat, pads)
    parts = []
    for k, (index, weight) in enumerate(zip(*sampler, strict=True)):
        where = writer.constant(f"view{number}_index{k}", index.astype(np.int64))
        read = writer.add("Gather", padded, where, axis=2)
        parts.append(writer.add("Mul", read, writer.constant(f"view{number}_weight{k}", weight)))
    return writer.add(
        "Reshape", writer.add("Sum", *parts), writer.shape(0, channels, height, width)
    )


def _member(writer: GraphWriter, bundle: Bundle, m: int, views: Sequence[str]) -> str:
    """The mean of a member's calibrated softmax over views and nets."""
    inverse = writer.scalar(float(np.float32(1 / bundle.manifest["members"][m]["temperature"])))
    outputs = []
    for view in views:
        for k, net in enumerate(bundle.nets[m]):
            value = view
            for operation in net.operations:
                value = _operation(writer, value, operation, net.arrays, f"m{m}_n{k}_")
            outputs.append(writer.add("Softmax", writer.add("Mul", value, inverse), axis=1))
    return writer.add("Mean", *outputs)


def _combine(writer: GraphWriter, how: Mapping[str, Any], members: Sequence[str]) -> None:
    """Write `probabilities`."""
    low = writer.scalar(1e-7)
    if how["method"] == "stacking":
        logs = [writer.add("Log", writer.add("Max", member, low)) for member in members]
        features = writer.add("Concat", *logs, axis=1)
        coefficients = writer.constant("stacking_W", np.array(how["coefficients"], np.float32))
        intercepts = writer.constant("stacking_b", np.array(how["intercepts"], np.float32))
        scores = writer.add("Gemm", features, coefficients, intercepts, transB=1)
    else:
        inner = (
            how["method"] == "geometric"
        )  # the mean of the logarithms, not the logarithm of the mean
        terms = (
            [writer.add("Log", writer.add("Max", member, low)) for member in members]
            if inner
            else members
        )
        parts = [
            writer.add("Mul", term, writer.scalar(float(np.float32(w))))
            for term, w in zip(terms, how["weights"], strict=True)
        ]
        mean = writer.add("Sum", *parts)
        logs_of_mean = mean if inner else writer.add("Log", writer.add("Max", mean, low))
        scores = writer.add(
            "Mul", logs_of_mean, writer.scalar(float(np.float32(1 / how["temperature"])))
        )
    writer.add("Softmax", scores, name="probabilities", axis=1)


def _operation(
    writer: GraphWriter,
    x: str,
    op: Operation,
    arrays: Mapping[str, NDArray[np.float32]],
    prefix: str,
) -> str:
    """Append one operation of a net, its arrays named with the member's and net's prefix."""
    kind = op["op"]
    if kind in ("convolution", "dense"):
        W, b = (writer.constant(prefix + op[key], arrays[op[key]]) for key in ("W", "b"))
        if kind == "dense":
            return writer.add("Gemm", x, W, b, transB=1)
        return writer.add("Conv", x, W, b, pads=_pads(op["padding"]), strides=op["stride"])
    if kind == "scale_shift":
        shapes = [
            arrays[op[key]] if op["flat"] else arrays[op[key]].reshape(-1, 1, 1)
            for key in ("scale", "shift")
        ]
        scale, shift = (
            writer.constant(prefix + op[key], array)
            for key, array in zip(("scale", "shift"), shapes, strict=True)
        )
        return writer.add("Add", writer.add("Mul", x, scale), shift)
    if kind == "pooling":
        return _pooling(writer, x, op)
    if kind == "moment_normalization":
        return moment_normalization(writer, x, op)
    if kind == "global_average_pooling":
        return writer.add("Flatten", writer.add("GlobalAveragePool", x))
    if kind == "leaky_relu":
        return writer.add("LeakyRelu", x, alpha=op["slope"])
    names = {"flatten": "Flatten", "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    if kind not in names:
        raise ValueError(f"ONNX has no counterpart for the operation {kind!r}")
    return writer.add(names[kind], x)


def _pooling(writer: GraphWriter, x: str, op: Operation) -> str:
    window = {"kernel_shape": op["size"], "strides": op["stride"], "pads": _pads(op["padding"])}
    if op["kind"] == "max":
        return writer.add("MaxPool", x, **window)
    if op["kind"] == "average":
        return writer.add("AveragePool", x, count_include_pad=1, **window)
    powers = writer.add("Pow", writer.add("Abs", x), writer.scalar(op["p"]))
    mean = writer.add("AveragePool", powers, count_include_pad=1, **window)
    return writer.add("Pow", mean, writer.scalar(1 / op["p"]))


def _pads(padding: Sequence[int]) -> list[int]:
    """Turn (top, bottom, left, right) into ONNX's (top, left, bottom, right)."""
    top, bottom, left, right = padding
    return [top, left, bottom, right]
