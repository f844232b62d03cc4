"""A fused net equals the plain one to rounding: outputs, gradients, running statistics, in training
and in inference.
"""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from cnn_core.architectures import ARCHITECTURES, build_model, reference
from cnn_core.fused.block import ConvolutionBlock, chained_max, route
from cnn_core.fused.fuse import fuse
from cnn_core.fused.normalized import FirstNormalizedBlock
from cnn_core.fused.small_batch import SMALL_BATCH
from cnn_core.kernels import direct
from cnn_core.kernels.direct import DirectCorrelation
from cnn_core.layers import (
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LeakyReLU,
    MaxPooling,
    ReLU,
)
from cnn_core.model import Sequential


def shaken(
    layers: list[Layer], shape: tuple[int, int, int], dtype: type = np.float64
) -> Sequential:
    """A built net whose biases, gammas and statistics are away from 0 and 1; some gammas are
    negative.
    """
    rng = default_rng(0)
    model = Sequential(layers).build(shape, rng, dtype)
    for name, p in model.params.items():
        if not name.endswith("W"):
            p += rng.standard_normal(p.shape).astype(dtype)
        if name.endswith("gamma"):
            p[0] = -1.5
    for name, b in model.buffers.items():
        b += rng.random(b.shape).astype(dtype) * (1 if name.endswith("var") else -1)
    return model


def assert_equal(model: Sequential, n: int, tolerance: float = 1e-9, seed: int = 1) -> None:
    """Forward, backward and inference of the net and of its fused form, from equal states."""
    rng, fused = default_rng(seed), fuse(model)
    dtype = next(iter(model.params.values())).dtype
    x, many = (
        rng.standard_normal((*model.image_shape, count)).astype(dtype)
        for count in (n, SMALL_BATCH + 1)
    )
    start = {name: b.copy() for name, b in model.buffers.items()}
    results = []
    for net in (model, fused):
        for name, b in start.items():
            model.buffers[name][...] = b
        net.reseed((1, 2), 3)
        logits = net.forward(x, training=True).copy()
        net.backward(default_rng(9).standard_normal(logits.shape).astype(dtype))
        grads = {name: g.copy() for name, g in net.grads.items()}
        buffers = {name: b.copy() for name, b in net.buffers.items()}
        inference = [
            net.forward(images, training=False).copy() for images in (x, many, x[..., ::-1])
        ]  # a small batch is computed in another way
        results.append((logits, grads, buffers, np.concatenate(inference, axis=1)))
    (logits, grads, buffers, proba), (flogits, fgrads, fbuffers, fproba) = results
    np.testing.assert_allclose(
        flogits, logits, rtol=tolerance, atol=tolerance * np.abs(logits).max()
    )
    np.testing.assert_allclose(fproba, proba, rtol=tolerance, atol=tolerance * np.abs(proba).max())
    assert fgrads.keys() == grads.keys()
    largest = max(np.abs(g).max() for g in grads.values())
    for name in grads:
        np.testing.assert_allclose(
            fgrads[name], grads[name], rtol=tolerance, atol=tolerance * largest, err_msg=name
        )
    for name in buffers:
        np.testing.assert_allclose(
            fbuffers[name], buffers[name], rtol=tolerance, atol=tolerance, err_msg=name
        )


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 3),
    filters=st.integers(1, 5),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.sampled_from([1, 2, (1, 2)]),
    padding=st.sampled_from(["valid", "same", 1]),
    pool=st.sampled_from([None, 1, 2, 3, (1, 2), (3, 2)]),
    relu_first=st.booleans(),
    dropout=st.sampled_from([0.0, 0.4]),
    bias=st.booleans(),
    batch_norm=st.booleans(),
    deep=st.sampled_from(["nothing", "layer", "block", "normalized"]),
    size=st.tuples(st.integers(8, 11), st.integers(8, 11)),
    n=st.integers(1, 4),
)
def test_a_block_equals_its_layers(  # type: ignore[no-untyped-def]
    channels,
    filters,
    kernel,
    stride,
    padding,
    pool,
    relu_first,
    dropout,
    bias,
    batch_norm,
    deep,
    size,
    n,
) -> None:
    # Before which something is learned: the block returns an input gradient, to a plain layer or
    # to another block, with which it shares images that lie row by row.
    before: dict[str, list[Layer]] = {
        "nothing": [],
        "layer": [Convolution(2, 1)],
        "block": [Convolution(2, 1), ReLU()],
        "normalized": [Convolution(2, 1), BatchNormalization(), ReLU()],
    }
    layers = before[deep]
    layers.append(Convolution(filters, kernel, stride, padding, bias=bias))
    if batch_norm:
        layers.append(BatchNormalization())
    tail: list[Layer] = (
        [ReLU()]
        if pool is None
        else [ReLU(), MaxPooling(pool)]
        if relu_first
        else [MaxPooling(pool), ReLU()]
    )
    layers += [*tail, Flatten(), *([Dropout(dropout)] if dropout else []), Dense(3)]
    try:
        model = shaken(layers, (channels, *size))
    except ValueError:
        return  # a pooling window that does not fit: refused, as test_pooling checks
    assert_equal(model, n + 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
def test_every_named_net_equals_its_fused_form(name: str, batch_norm: str) -> None:
    spec = reference(name, filters=4, hidden=(12,), dropout=0.3, batch_norm=batch_norm)
    model = build_model(spec, (1, 28, 28), 10, default_rng(0), np.float64)
    assert_equal(model, 5)
    assert_equal(model, 3, seed=2)  # the last, smaller batch


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.sampled_from([1, 2]),
    padding=st.sampled_from(["valid", "same", 1]),
    pool=st.sampled_from([None, 2, (1, 2)]),
    relu=st.booleans(),
    bias=st.booleans(),
    n=st.integers(2, 5),
)
def test_a_first_block_takes_its_statistics_from_the_images(
    channels, kernel, stride, padding, pool, relu, bias, n
) -> None:  # type: ignore[no-untyped-def]
    tail: list[Layer] = [*([] if pool is None else [MaxPooling(pool)]), *([ReLU()] if relu else [])]
    layers = [
        Convolution(6, kernel, stride, padding, bias=bias),
        BatchNormalization(),
        *tail,
        Flatten(),
        Dense(3),
    ]
    try:
        model = shaken(layers, (channels, 9, 8))
    except ValueError:
        return  # a pooling window that does not fit
    height, width = model.layers[0].out_shape[1:]
    wholly = pool is None or (width % 2 == 0 and (pool != 2 or height % 2 == 0))
    assert (
        isinstance(fuse(model).layers[0], FirstNormalizedBlock)
        or not wholly
        or channels * kernel[0] * kernel[1] > 24
    )
    assert_equal(model, n)


def test_a_gamma_of_zero_stays_finite_and_learns() -> None:
    """All pixels then tie: the plain net gives the gradient to the first of a window, the fused one
    to that of the largest u.
    """
    model = shaken(
        [Convolution(2, 3), BatchNormalization(), MaxPooling(2), ReLU(), Flatten(), Dense(3)],
        (1, 8, 8),
    )
    model.params["norm1.gamma"][...] = 0
    model.params["norm1.beta"][...] = 1
    fused = fuse(model)
    fused.backward(fused.forward(default_rng(0).standard_normal((1, 8, 8, 4)), training=True))
    assert all(np.isfinite(g).all() for g in fused.grads.values())
    assert fused.grads["norm1.gamma"].all()


def test_float32_stays_near_too() -> None:
    assert_equal(
        build_model(reference("vgg_bn"), (1, 28, 28), 10, default_rng(0)), 7, tolerance=2e-3
    )
    assert_equal(
        build_model(reference("contest"), (1, 28, 28), 10, default_rng(0)), 7, tolerance=1e-4
    )


def test_the_contest_net_becomes_three_layers_and_shares_its_arrays() -> None:
    model = build_model(reference("contest"), (1, 28, 28), 10, default_rng(0))
    fused = fuse(model)
    assert [type(layer).__name__ for layer in fused.layers] == [
        "ConvolutionBlock",
        "Flatten",
        "Dense",
    ]
    assert fused.params is model.params
    assert fused.summary() == model.summary()
    assert fused.multiply_adds() == model.multiply_adds()


@pytest.mark.parametrize("normalized", [False, True])
def test_images_between_two_blocks_lie_row_by_row_in_memory(normalized: bool) -> None:
    def layers(filters: int) -> list[Layer]:
        norm: list[Layer] = [BatchNormalization()] if normalized else []
        return [Convolution(filters, 3), *norm, ReLU()]

    whole = [*layers(3), *layers(2), MaxPooling(2), Flatten(), Dense(2)]
    first, second = fuse(shaken(whole, (1, 8, 8), np.float32)).layers[:2]
    y = first.forward(default_rng(0).random((1, 8, 8, 12)).astype(np.float32), training=True)
    z = second.forward(y, training=True)
    dy = second.backward(np.ones_like(z))
    assert y.swapaxes(0, 1).flags.c_contiguous and dy.swapaxes(0, 1).flags.c_contiguous
    assert z.flags.c_contiguous, "a copy is saved where it is flattened"


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("pool", [1, 2, (1, 2), (2, 4)])
def test_rows_cut_into_parts_give_the_same(
    norm: bool, pool: int | tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "SMALL_PRODUCT", 400)
    monkeypatch.setattr(direct, "FEWEST_COLUMNS", 1)
    norms: list[list[Layer]] = [[BatchNormalization()] if norm else [] for _ in range(2)]
    layers = [Convolution(3, 3, padding="same"), *norms[0], ReLU(), MaxPooling(pool)]
    layers += [Convolution(2, 3, padding="same"), *norms[1], ReLU(), Flatten(), Dense(3)]
    model = shaken(layers, (1, 8, 16))
    assert_equal(model, 5)
    blocks = [layer for layer in fuse(model).layers if isinstance(layer, ConvolutionBlock)]
    for block in blocks:
        block.forward(np.ones((*block.in_shape, 5)), training=True)
        assert isinstance(block.correlation, DirectCorrelation) and block.correlation._parts > 1


def test_what_overflows_to_minus_infinity_is_zero_by_relu_with_dropout_too() -> None:
    layers = [Convolution(2, 3), ReLU(), Dropout(0.5), Flatten(), Dense(2)]
    model = shaken(layers, (1, 5, 5))
    model.params["conv1.b"][0] = -np.inf
    model.params["conv1.b"][1] = 9.0
    for net in (model, fuse(model)):
        net.reseed((1,), 0)
        assert np.isfinite(net.forward(np.ones((1, 5, 5, 10)), training=True)).all()


def test_what_cannot_be_joined_stays() -> None:
    layers = [Convolution(2, 3), LeakyReLU(), MaxPooling(2, stride=1), Flatten(), Dense(3)]
    model = Sequential(layers).build((1, 8, 8), default_rng(0))
    assert fuse(model).layers == layers


def test_the_steady_state_allocates_no_arrays() -> None:
    model = fuse(build_model(reference("vgg_bn", filters=8), (1, 28, 28), 10, default_rng(0)))
    x = default_rng(1).random((1, 28, 28, 20), np.float32)
    addresses = set()
    for _ in range(3):
        logits = model.forward(x, training=True)
        addresses.add(logits.ctypes.data)
        model.backward(logits.copy())
    assert len(addresses) == 1


def training_bytes(model: Sequential) -> int:
    found = [
        part
        for layer in model.layers
        for part in (layer, getattr(layer, "correlation", None))
        if part is not None
    ]
    return sum(part._workspace.nbytes() for part in found)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("form", [fuse, lambda model: model], ids=["fused", "plain"])
def test_a_prediction_between_forward_and_backward_disturbs_nothing(
    name: str, form: Callable[[Sequential], Sequential]
) -> None:
    images = default_rng(2).integers(0, 256, (30, 1, 28, 28)).astype(np.uint8)
    x, dlogits = (
        default_rng(1).random((1, 28, 28, 4), np.float32),
        default_rng(3).standard_normal((10, 4)).astype(np.float32),
    )
    found = []
    for predicts in (False, True):
        model = form(build_model(reference(name, filters=8), (1, 28, 28), 10, default_rng(0)))
        model.reseed((0,), 0)
        model.forward(x, training=True)
        before = training_bytes(model)
        if predicts:
            first = model.predict_proba(images)
            assert training_bytes(model) == before
        model.backward(dlogits.copy())
        found.append({key: g.copy() for key, g in model.grads.items()})
    for key, gradient in found[0].items():
        np.testing.assert_array_equal(found[1][key], gradient, err_msg=key)
    for p in model.params.values():  # what predicts follows the training
        p *= 0.5
    assert np.abs(model.predict_proba(images) - first).max() > 1e-4


@pytest.mark.parametrize(
    "layers",
    [
        [Convolution(3, 4, bias=False), BatchNormalization(), ReLU(), Flatten()],
        [Flatten(), BatchNormalization()],
    ],
)
def test_a_batch_of_one_value_a_channel_leaves_the_running_statistics(layers: list[Layer]) -> None:
    for between in ([], [Convolution(2, 1)]):  # the first convolution's moments, and a later one's
        model = shaken([*between, *layers, Dense(2)], (1, 4, 4))
        start = {name: b.copy() for name, b in model.buffers.items()}
        assert_equal(model, n=1, tolerance=1e-6)
        for name, b in model.buffers.items():
            np.testing.assert_array_equal(b, start[name])
        model.forward(default_rng(0).random((1, 4, 4, 2)), training=True)
        assert all((b != start[name]).all() for name, b in model.buffers.items())


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
def test_a_chained_maximum_finds_the_first_maximum_and_routes_the_gradient_to_it(
    rows: int, columns: int, seed: int
) -> None:
    rng = default_rng(seed)
    values = rng.integers(0, 3, (rows, columns, 4, 5)).astype(np.float64)  # many ties
    pixels = values.reshape(-1, 4, 5)
    best, routing = np.empty((4, 5)), np.empty(values.shape, bool)
    chained_max(values, best, routing)
    np.testing.assert_array_equal(best, pixels.max(axis=0))
    routing[0, 0] = alive = rng.random((4, 5)) < 0.7
    route(routing)
    first = np.arange(len(pixels))[:, None, None] == pixels.argmax(axis=0)
    np.testing.assert_array_equal(routing.reshape(pixels.shape), first & alive)
