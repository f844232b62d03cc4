"""Laws of a net: it learns, predicts image by image, and is all in its parameters."""

import numpy as np
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal

from cnn_core.architectures import build_model
from cnn_core.axes import Array, Images, Labels, Shape
from cnn_core.errors import InputError
from cnn_core.fused.fuse import fuse
from cnn_core.laws.hold import hold
from cnn_core.losses import softmax_cross_entropy
from cnn_core.model import Sequential
from cnn_core.optimizers import make_optimizer
from cnn_core.spec import ModelSpec

SHAPES: tuple[Shape, ...] = ((1, 8, 8), (1, 28, 28), (3, 32, 32))
CLASSES, COUNT = 3, 12


def built(spec: ModelSpec, seed: int = 0) -> list[Sequential]:
    """Return the net for each of SHAPES that it fits. Raises InputError where it fits none."""
    nets, refused = [], None
    for shape in SHAPES:
        try:
            nets.append(build_model(spec, shape, CLASSES, default_rng(seed)))
        except InputError as error:
            refused = error
    if refused is not None and not nets:
        raise refused
    return nets


def _drawn(shape: Shape) -> tuple[Images, Labels]:
    rng = default_rng(1)
    labels = np.arange(COUNT) % CLASSES
    images = rng.integers(0, 100, (COUNT, *shape), dtype=np.uint8)
    images[np.arange(COUNT), :, labels] += np.uint8(150)  # a bright row tells the class
    return images, labels


def _inputs(images: Images) -> Array:
    return np.ascontiguousarray(images.transpose(1, 2, 3, 0)).astype(np.float32) / np.float32(255)


def logits_are_of_the_classes(spec: ModelSpec) -> None:
    """(classes, N) float32, finite."""
    for net in built(spec):
        images, _ = _drawn(net.image_shape)
        logits = net.forward(_inputs(images), training=False)
        hold(
            logits.shape == (CLASSES, COUNT) and logits.dtype == np.float32,
            f"logits must be ({CLASSES}, {COUNT}) float32, got {logits.shape} {logits.dtype}",
        )
        hold(np.isfinite(logits).all(), "logits must be finite")


def a_few_steps_lower_the_loss(spec: ModelSpec) -> None:
    """On a dozen images whose classes a bright row tells."""
    for net in built(spec):
        images, labels = _drawn(net.image_shape)
        x, optimizer, losses = _inputs(images), make_optimizer({"name": "adam"}), []
        for step in range(30):
            net.reseed((1,), step)
            loss, dlogits = softmax_cross_entropy(net.forward(x, training=True), labels)
            losses.append(float(loss))
            net.backward(dlogits)
            optimizer.step(net.params, net.grads)
        hold(
            min(losses[-5:]) < losses[0],
            f"the loss must fall in 30 steps, got {losses[0]:.3f} and then {losses[-1]:.3f}",
        )


def images_are_predicted_one_by_one(spec: ModelSpec) -> None:
    """As they are in a batch, by the plain layers and by the fused ones."""
    for net in built(spec):
        images, _ = _drawn(net.image_shape)
        whole = net.predict_proba(images)
        alone = np.concatenate([net.predict_proba(images[n : n + 1]) for n in range(COUNT)])
        assert_allclose(alone, whole, rtol=1e-4, atol=1e-5)
        assert_allclose(fuse(net).predict_proba(images), whole, rtol=1e-4, atol=1e-5)


def its_parameters_and_buffers_are_all_of_it(spec: ModelSpec) -> None:
    """Loaded into another net of the spec they predict to the same bits, as after a checkpoint."""
    for net, other in zip(built(spec), built(spec, seed=1), strict=True):
        images, _ = _drawn(net.image_shape)
        net.forward(_inputs(images), training=True)  # statistics move
        other.load(net.params, net.buffers)
        assert_array_equal(other.predict_proba(images), net.predict_proba(images))


MODEL_LAWS = (
    logits_are_of_the_classes,
    a_few_steps_lower_the_loss,
    images_are_predicted_one_by_one,
    its_parameters_and_buffers_are_all_of_it,
)
