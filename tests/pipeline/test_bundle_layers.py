"""Every layer leaves the house: what its net computes, a bundle's predict.py computes, and ONNX."""

from types import ModuleType

import numpy as np
import pytest

from cnn_core.layers import LAYERS, Dense, Flatten, Layer
from cnn_core.model import Sequential
from pipeline.bundle.predict_py import standalone_source
from pipeline.bundle.writing import operations_of
from tests.core.cases import CASES
from tests.pipeline.made_manifest import made_manifest

ort = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def predict() -> ModuleType:
    """A bundle's predict.py, as a module."""
    module = ModuleType("predict")
    exec(compile(standalone_source(), "predict.py", "exec"), module.__dict__)
    return module


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


@pytest.mark.parametrize("name", CASES)
def test_net_predict_py_and_onnx_agree(name: str, predict: ModuleType) -> None:
    """A net of the layer and what makes classes of it, with statistics and parameters that are not
    the initial ones, on noise and on an empty image.
    """
    from pipeline.bundle.onnx_ensemble import onnx_model

    case, rng = CASES[name], np.random.default_rng(0)
    flat = len(case.in_shape) == 1
    layers = [Flatten()] if flat else []
    layers += [case.make()]
    layers += [] if len(case.out_shape) == 1 else [Flatten()]
    shape = (case.in_shape[0], 1, 1) if flat else case.in_shape
    model = Sequential([*layers, Dense(4)]).build(shape, rng)  # type: ignore[arg-type]
    for key, array in (model.params | model.buffers).items():
        if not key.endswith(".W"):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    images = rng.integers(0, 256, (9, *shape), dtype=np.uint8)
    images[0] = 0
    want = model.predict_proba(images)
    assert np.ptp(want, axis=0).max() > 0.005, "the images are told apart"
    bundle = predict.Bundle(made_manifest(shape, 4), [[predict.Net(*operations_of(model))]])
    np.testing.assert_allclose(bundle.predict_proba(images), want, atol=1e-5)
    session = ort.InferenceSession(
        onnx_model(bundle).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    probabilities, _ = session.run(None, {"images": images})
    np.testing.assert_allclose(probabilities, want, atol=1e-5)
