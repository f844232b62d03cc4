"""Every layer leaves the house: what its net computes, a bundle's predict.py computes, and ONNX."""

from collections.abc import Callable

import numpy as np
import pytest

from cnn_core.laws.layer_laws import Case
from cnn_core.layers import LAYERS, OPERATIONS, Layer
from pipeline.bundle import bundle_laws
from pipeline.bundle.bundle_laws import BUNDLE_LAWS, onnx_computes_what_the_net_does
from pipeline.bundle.onnx_ensemble import check_against_numpy, onnx_model
from pipeline.bundle.predictor import Bundle, Net
from tests.core.cases import CASES
from tests.pipeline.made_bundle import form_of, in_memory

pytest.importorskip("onnxruntime")


def test_every_layer_says_what_it_does_at_inference() -> None:
    """By name: a layer without an operation, or one that ONNX cannot write."""
    made = {case.make().kind: case.make() for case in CASES.values()}
    assert made.keys() == LAYERS.keys()
    silent = [
        kind
        for kind, layer in made.items()
        if type(layer).at_inference is Layer.at_inference and type(layer).infer is Layer.infer
    ]
    assert not silent, f"layers without an operation at inference: {silent}"
    unwritten = [
        kind
        for kind, layer in made.items()
        if type(layer).infer is not Layer.infer
        and not layer.onnx_operator
        and type(layer).add_nodes.__func__ is Layer.add_nodes.__func__  # type: ignore[attr-defined]
    ]
    assert not unwritten, f"layers without ONNX nodes: {unwritten}"


@pytest.mark.parametrize("law", BUNDLE_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", CASES)
def test_net_predict_py_and_onnx_agree(name: str, law: Callable[[Case], None]) -> None:
    law(CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_an_operation_s_extent_is_the_shape_that_infer_makes(name: str) -> None:
    case = CASES[name]
    layer = case.make()
    layer.build(case.in_shape, np.random.default_rng(0))
    described = layer.at_inference()
    if described is None:
        return
    operation = OPERATIONS[described[0]["op"]]
    told = operation.extent(case.in_shape, *described)
    made = operation.infer(np.zeros((*case.in_shape, 3), np.float32), *described)
    assert told is not None and told[0] == made.shape[:-1] == case.out_shape
    assert told[1] >= np.prod(case.out_shape) or case.in_shape == case.out_shape


def test_a_layer_that_onnx_does_not_know_breaks_its_law_where_the_law_can_be_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LAYERS["relu"], "onnx_operator", "")
    case = next(case for case in CASES.values() if case.make().kind == "relu")
    with pytest.raises(ValueError, match="ONNX has no counterpart for the operation 'relu'"):
        onnx_computes_what_the_net_does(case)
    monkeypatch.setattr(bundle_laws, "find_spec", lambda name: None)
    onnx_computes_what_the_net_does(case)


def test_a_graph_whose_labels_are_not_its_likeliest_classes_is_refused() -> None:
    bundle = in_memory(form_of(), ("a", "b"))
    arrays = {"W": np.eye(2, 64, dtype=np.float32), "b": np.zeros(2, np.float32)}
    net = Net([{"op": "flatten"}, {"op": "dense", "W": "W", "b": "b"}], arrays)
    bundle = Bundle(bundle.manifest, [[net]])
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8)
    graph = onnx_model(bundle)
    (node,) = (node for node in graph.graph.node if node.op_type == "ArgMax")
    assert check_against_numpy(graph.SerializeToString(), bundle, images) < 1e-5
    node.op_type = "ArgMin"
    with pytest.raises(ValueError, match="labels must be those of its probabilities"):
        check_against_numpy(graph.SerializeToString(), bundle, images)
