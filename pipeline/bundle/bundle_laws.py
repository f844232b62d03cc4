"""Laws of a layer in a bundle: its net, predict.py and ONNX compute the same."""

from importlib.util import find_spec
from types import ModuleType

import numpy as np
from numpy.testing import assert_allclose

from cnn_core.axes import Images, Shape
from cnn_core.laws.hold import hold
from cnn_core.laws.layer_laws import Case
from cnn_core.layers import Dense, Flatten, Layer
from cnn_core.model import Sequential
from pipeline.bundle.predict_py import standalone_source
from pipeline.bundle.predictor import Bundle, Net
from pipeline.bundle.writing import operations_of
from pipeline.records.manifest import BundleMember, BundleNet, Combine, Manifest, TrainedOn

CLASSES = 4


def _net(case: Case) -> tuple[Sequential, Images]:
    """Return a net of the layer and what makes classes of it, with statistics and parameters that
    are not the initial ones, and noise and an empty image for it.
    """
    rng = np.random.default_rng(0)
    flat = len(case.in_shape) == 1
    layers: list[Layer] = [Flatten()] if flat else []
    layers += [case.make(), *([] if len(case.out_shape) == 1 else [Flatten()]), Dense(CLASSES)]
    shape: Shape = (case.in_shape[0], 1, 1) if flat else case.in_shape
    model = Sequential(layers).build(shape, rng)
    model.adapt(np.random.default_rng(1).random((*shape, 32), np.float32))
    for key, array in (model.params | model.buffers).items():
        if not key.endswith(".W"):
            array[...] = rng.uniform(0.5, 1.5, array.shape)
    images = rng.integers(0, 256, (9, *shape), dtype=np.uint8)
    images[0] = 0
    return model, images


def predict_py_computes_what_the_net_does(case: Case) -> None:
    """A bundle's predict.py holds the source of each operation, and needs NumPy alone."""
    model, images = _net(case)
    operations, arrays = operations_of(model)
    module = ModuleType("predict")
    source = standalone_source({operation["op"] for operation in operations})
    exec(compile(source, "predict.py", "exec"), module.__dict__)
    want = model.predict_proba(images)
    hold(np.ptp(want, axis=0).max() > 0.005, "the images must be told apart")
    x = images.transpose(1, 2, 3, 0).astype(np.float32) / np.float32(255)
    got = module.softmax(module.Net(operations, arrays).logits(x)).T
    assert_allclose(got, want, atol=1e-5)


def onnx_computes_what_the_net_does(case: Case) -> None:
    """The layer has its ONNX nodes, which ONNX Runtime runs where it is installed."""
    if find_spec("onnxruntime") is None or find_spec("onnx") is None:
        return
    from pipeline.bundle.onnx_ensemble import check_against_numpy, onnx_model

    model, images = _net(case)
    operations, arrays = operations_of(model)
    _, channels, height, width = images.shape
    net = BundleNet(file="net.npz", sha256="", operations=tuple(operations))
    manifest = Manifest(
        study="law",
        image_shape=(channels, height, width),
        classes=CLASSES,
        members=(BundleMember(name="net", temperature=1.0, nets=(net,)),),
        combine=Combine(method="uniform", weights=(1.0,), temperature=1.0),
        data=TrainedOn(name="noise", digest="", licence=""),
    )
    bundle = Bundle(manifest, [[Net(operations, arrays)]])
    assert_allclose(bundle.predict_proba(images), model.predict_proba(images), atol=1e-5)
    check_against_numpy(onnx_model(bundle).SerializeToString(), bundle, images)


BUNDLE_LAWS = (predict_py_computes_what_the_net_does, onnx_computes_what_the_net_does)
