"""The whole ensemble as one ONNX graph: views, nets, temperatures, averages. Opset 21 and IR 10,
which current runtimes read.

Input ``images``: uint8 (N, C, H, W), pictures in the form of the training data; outputs
``probabilities`` float32 (N, classes) and ``labels`` int64 (N,). The model's metadata hold
``class_names`` and ``form`` (what is to be done to a picture first), both as JSON.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from cnn_core.axes import Images
from cnn_core.layers import OPERATIONS
from pipeline.bundle.predictor import Bundle, Net
from pipeline.bundle.views import IDENTITY, view_sampler
from pipeline.records.manifest import Combine
from pipeline.records.typed_json import plain

OPSET, IR = 21, 10
TOLERANCE = 1e-5


class OnnxWriter:
    """Collects the nodes and constants of one graph; every value has a unique name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def add(self, operator: str, *inputs: Any, name: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name; inputs are names, or NumPy
        arrays and scalars.
        """
        self._count += 1
        output = name or f"v{self._count}_{operator.lower()}"
        names = [value if isinstance(value, str) else self._unnamed(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        return output

    def _unnamed(self, value: Any) -> str:
        """Add a constant named by its type, shape and content: all values if few, else a digest."""
        values = np.asarray(value)
        content = hashlib.sha256(values.tobytes()).hexdigest()[:12]
        shown = "_".join(map(str, values.ravel().tolist())) if values.size <= 8 else content
        form = "x".join(map(str, values.shape)) or "scalar"
        return self.constant(f"{values.dtype}_{form}_{shown}", values)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an array, once per name, and return the name."""
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name


def onnx_model(bundle: Bundle) -> onnx.ModelProto:
    """Return the graph of a bundle, checked by the onnx library. Raises ValueError for an operation
    that has no counterpart.
    """
    writer = OnnxWriter()
    floats = writer.add("Cast", "images", to=TensorProto.FLOAT)
    x = writer.add("Mul", floats, np.float32(1 / 255))
    views = bundle.manifest.views or (IDENTITY,)
    seen = [_view(writer, x, view, bundle.image_shape) for view in views]
    members = [_member(writer, bundle, m, seen) for m in range(len(bundle.nets))]
    _combine(writer, bundle.manifest.combine, members)
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
    helper.set_model_props(
        model,
        {
            "class_names": json.dumps(list(bundle.class_names)),
            "form": json.dumps(plain(bundle.form)),
        },
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
    writer: OnnxWriter, x: str, view: Sequence[float], image_shape: tuple[int, int, int]
) -> str:
    """Resample bilinearly: four gathers from the flattened image with one black pixel appended."""
    channels, height, width = image_shape
    sampler = view_sampler(view, (height, width))
    if sampler is None:
        return x
    flat = writer.add("Reshape", x, np.array([0, channels, height * width], np.int64))
    padded = writer.add("Pad", flat, np.array([0, 0, 0, 0, 0, 1], np.int64))
    parts = []
    for index, weight in zip(*sampler, strict=True):
        read = writer.add("Gather", padded, index.astype(np.int64), axis=2)
        parts.append(writer.add("Mul", read, weight))
    return writer.add(
        "Reshape", writer.add("Sum", *parts), np.array([0, channels, height, width], np.int64)
    )


def _member(writer: OnnxWriter, bundle: Bundle, m: int, views: Sequence[str]) -> str:
    """Append the mean of a member's calibrated softmax over views and nets."""
    inverse = np.float32(1 / bundle.manifest.members[m].temperature)
    outputs = []
    for view in views:
        for k, net in enumerate(bundle.nets[m]):
            logits = _logits(writer, view, net, f"m{m}_n{k}_")
            outputs.append(writer.add("Softmax", writer.add("Mul", logits, inverse), axis=1))
    return writer.add("Mean", *outputs)


def _logits(writer: OnnxWriter, x: str, net: Net, prefix: str) -> str:
    """Append a net's operations; its arrays' names get `prefix`."""
    arrays = {prefix + name: array for name, array in net.arrays.items()}
    for operation in net.operations:
        named = {
            key: prefix + value if isinstance(value, str) and prefix + value in arrays else value
            for key, value in operation.items()
        }
        x = OPERATIONS[operation["op"]].add_nodes(writer, x, named, arrays)
    return x


def _combine(writer: OnnxWriter, how: Combine, members: Sequence[str]) -> None:
    """Append the combination of the members, with the output `probabilities`."""

    def log(value: str) -> str:
        return writer.add("Log", writer.add("Max", value, np.float32(1e-7)))

    if how.method == "stacking":
        features = writer.add("Concat", *(log(member) for member in members), axis=1)
        coefficients = np.array(how.coefficients, np.float32)
        intercepts = np.array(how.intercepts, np.float32)
        scores = writer.add("Gemm", features, coefficients, intercepts, transB=1)
    else:
        inner = how.method == "geometric"  # mean of the logarithms, not logarithm of the mean
        terms = [log(member) for member in members] if inner else members
        parts = [
            writer.add("Mul", term, np.float32(w))
            for term, w in zip(terms, how.weights or (), strict=True)
        ]
        mean = writer.add("Sum", *parts)
        logs_of_mean = mean if inner else log(mean)
        scores = writer.add("Mul", logs_of_mean, np.float32(1 / (how.temperature or 1)))
    writer.add("Softmax", scores, name="probabilities", axis=1)
