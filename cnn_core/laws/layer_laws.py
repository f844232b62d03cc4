"""Laws of a layer: its gradient, its types, its independence of other images and of the past."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, default_rng
from numpy.testing import assert_allclose, assert_array_equal

from cnn_core.axes import Array, Shape
from cnn_core.laws.hold import hold
from cnn_core.layers import OPERATIONS, Layer


@dataclass(frozen=True)
class Case:
    """A layer and the shapes it must give; `per_image` says that an image's output does not depend
    on the others of its batch, `ink` that its input is never negative.
    """

    make: Callable[[], Layer]
    in_shape: Shape
    out_shape: Shape
    per_image: bool = True
    ink: bool = False


def build(case: Case, rng: Generator, dtype: type = np.float64) -> Layer:
    """Return the layer, built, its biases and scales away from 0 and 1."""
    layer = case.make()
    built = layer.build(case.in_shape, rng, dtype)
    hold(
        built == case.out_shape == layer.out_shape,
        f"build must return the shape {case.out_shape} and keep it as out_shape, got {built} and "
        f"{layer.out_shape}",
    )
    layer.adapt(images(case, default_rng(7), 32, dtype))
    for value in layer.params.values():
        value += 0.3 * rng.standard_normal(value.shape).astype(dtype)
    return layer


def images(case: Case, rng: Generator, n: int = 4, dtype: type = np.float64) -> Array:
    """Return n random images."""
    x: Array = rng.standard_normal((*case.in_shape, n)).astype(dtype)
    return np.abs(x) if case.ink else x


def run(layer: Layer, x: Array, *, training: bool) -> Array:
    """Return a copy of the output, with the same dropout mask each time."""
    layer.reseed(default_rng(5))
    return layer.forward(x, training=training).copy()


def backward_is_the_derivative_along_random_directions(case: Case) -> None:
    """<dy, (f(x + h u) - f(x - h u)) / 2h> = <dx, u> for the input and for each parameter."""
    rng, h = default_rng(1), 1e-6
    layer = build(case, rng)
    if not layer.differentiable:
        return
    x = images(case, rng)
    dy = rng.standard_normal((*case.out_shape, x.shape[-1]))
    run(layer, x, training=True)
    dx = layer.backward(dy.copy()).copy()
    for name, target, gradient in [
        ("dx", x, dx),
        *((f"d{key}", layer.params[key], layer.grads[key].copy()) for key in layer.params),
    ]:
        direction = rng.standard_normal(target.shape)
        target += h * direction
        above = run(layer, x, training=True)
        target -= 2 * h * direction
        below = run(layer, x, training=True)
        target += h * direction
        expected = np.sum(dy * (above - below)) / (2 * h)
        got = np.sum(gradient * direction)
        hold(
            abs(got - expected) <= max(1e-6 * abs(expected), 1e-8),
            f"{name} must be the derivative, {expected:.6g} along a direction, got {got:.6g}",
        )


def float32_agrees_with_float64(case: Case) -> None:
    """A float32 layer computes in float32, as a float64 one does up to rounding."""
    rng = default_rng(2)
    double = build(case, rng)
    single = case.make()
    single.build(case.in_shape, rng, np.float32)
    for own, others in ((single.params, double.params), (single.buffers, double.buffers)):
        for key, value in others.items():
            own[key][...] = value
    x, dy = images(case, rng), rng.standard_normal((*case.out_shape, 4))
    for training in (True, False):
        y = run(single, x.astype(np.float32), training=training)
        hold(y.dtype == np.float32, f"forward must keep float32, got {y.dtype}")
        assert_allclose(y, run(double, x, training=training), rtol=2e-4, atol=2e-5)
    if not single.differentiable:
        return
    run(single, x.astype(np.float32), training=True)
    run(double, x, training=True)
    dx = single.backward(dy.astype(np.float32))
    assert_allclose(dx, double.backward(dy), rtol=2e-4, atol=2e-5)
    for key in double.grads:
        dtype = single.grads[key].dtype
        hold(dtype == np.float32, f"the gradient of {key} must be float32, got {dtype}")
        assert_allclose(single.grads[key], double.grads[key], rtol=2e-4, atol=2e-4)


def a_batch_equals_its_images_one_by_one(case: Case) -> None:
    """At inference no image's output depends on the others."""
    rng = default_rng(3)
    layer = build(case, rng)
    x = images(case, rng, 5)
    whole = run(layer, x, training=False)
    for n in range(5):
        alone = run(layer, x[..., n : n + 1], training=False)
        assert_allclose(alone, whole[..., n : n + 1], rtol=1e-12, atol=1e-12)
    if case.per_image:
        assert_allclose(run(layer, x, training=True), whole, rtol=1e-12, atol=1e-12)


def batches_of_changing_size_do_not_disturb_each_other(case: Case) -> None:
    """A used layer computes as a fresh one with its parameters and statistics does."""
    rng = default_rng(4)
    used = build(case, rng)
    for n in (6, 2, 5, 6):
        x, dy = images(case, rng, n), rng.standard_normal((*case.out_shape, n))
        fresh = build(case, rng)  # its arrays were never of another size
        for mine, theirs in ((fresh.params, used.params), (fresh.buffers, used.buffers)):
            for key in mine:
                mine[key][...] = theirs[key]
        assert_array_equal(run(used, x, training=True), run(fresh, x, training=True))
        if not used.differentiable:
            continue
        assert_array_equal(used.backward(dy.copy()), fresh.backward(dy.copy()))
        for key in used.grads:
            assert_array_equal(used.grads[key], fresh.grads[key])


def forward_leaves_its_input_and_reuses_memory(case: Case) -> None:
    """Steady training allocates nothing."""
    rng = default_rng(6)
    layer = build(case, rng, np.float32)
    x = images(case, rng, dtype=np.float32)
    kept = x.copy()
    addresses = {layer.forward(x, training=True).ctypes.data for _ in range(3)}
    assert_array_equal(x, kept)
    hold(len(addresses) == 1, "forward must return the same array for batches of one size")


def gradients_are_written_not_added(case: Case) -> None:
    """The second backward overwrites what the first has left."""
    rng = default_rng(7)
    layer = build(case, rng)
    if not layer.differentiable:
        return
    x, dy = images(case, rng), rng.standard_normal((*case.out_shape, 4))
    seen = []
    for _ in range(2):
        run(layer, x, training=True)
        layer.backward(dy.copy())
        seen.append({key: value.copy() for key, value in layer.grads.items()})
    for key in layer.grads:
        assert_array_equal(seen[0][key], seen[1][key])


def a_bundle_computes_what_the_layer_does(case: Case) -> None:
    """`at_inference` and `infer` give what `forward` gives when not training."""
    rng = default_rng(8)
    layer = build(case, rng, np.float32)
    x = images(case, rng, dtype=np.float32)
    expected = run(layer, x, training=False)
    described = layer.at_inference()
    if described is None:
        assert_array_equal(expected, x)
        return
    operation, arrays = described
    hold(operation["op"] in OPERATIONS, f"{operation['op']!r} must be a known operation")
    got = OPERATIONS[operation["op"]].infer(x, operation, arrays)
    hold(got.dtype == np.float32, f"infer must keep float32, got {got.dtype}")
    assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


LAYER_LAWS = (
    backward_is_the_derivative_along_random_directions,
    float32_agrees_with_float64,
    a_batch_equals_its_images_one_by_one,
    batches_of_changing_size_do_not_disturb_each_other,
    forward_leaves_its_input_and_reuses_memory,
    gradients_are_written_not_added,
    a_bundle_computes_what_the_layer_does,
)
