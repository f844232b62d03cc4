"""A bundle's operations against the net that they were taken from, and against SciPy."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform, rotate, shift
from scipy.signal import correlate2d

from cnn_core.architectures import ARCHITECTURES, build_model, reference
from cnn_core.layers import (
    AveragePooling,
    BatchNormalization,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Layer,
    LeakyReLU,
    LpPooling,
    MaxPooling,
    MomentNormalization,
    ReLU,
    Sigmoid,
    Tanh,
)
from cnn_core.model import Sequential
from pipeline.bundle.predictor import Net, softmax
from pipeline.bundle.views import IDENTITY, resample_view, view_sampler
from pipeline.bundle.writing import operations_of
from pipeline.ensemble.plan import mirrored, views_of


def _unsettle(model: Sequential) -> None:
    """Give every array, statistics too, values unlike the initial ones."""
    rng = np.random.default_rng(3)
    for name, array in (model.params | model.buffers).items():
        if not name.endswith(".W"):
            array[...] = rng.uniform(0.5, 1.5, array.shape)


def _same(model: Sequential, images: np.ndarray) -> None:
    net = Net(*operations_of(model))
    x = images.transpose(1, 2, 3, 0).astype(np.float32) / 255
    np.testing.assert_allclose(softmax(net.logits(x)).T, model.predict_proba(images), atol=2e-5)


@pytest.mark.parametrize("batch_norm", ["none", "before", "after"])
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_computes_the_same(name: str, batch_norm: str) -> None:
    filters = 6 if name in ("vgg_valid", "vgg_deep") else 4
    model = build_model(
        reference(name, filters=filters, batch_norm=batch_norm),
        (1, 28, 28),
        10,
        np.random.default_rng(0),
    )
    _unsettle(model)
    _same(model, np.random.default_rng(1).integers(0, 256, (7, 1, 28, 28), dtype=np.uint8))


@pytest.mark.parametrize(
    "layers",
    [
        [
            BatchNormalization(),
            Convolution(5, (3, 2), (2, 1), (1, 0)),
            Tanh(),
            AveragePooling(3, 2, 1),
            Flatten(),
            Dense(4),
        ],
        [
            Convolution(5, 3, 2, "same", bias=False),
            BatchNormalization(),
            LeakyReLU(0.1),
            MaxPooling(3, 2, 1),
            Flatten(),
            Dropout(0.5),
            Dense(4),
        ],
        [MomentNormalization("similar"), Convolution(6, 3), ReLU(), Flatten(), Dense(4)],
        [MomentNormalization("box"), Convolution(6, 3), ReLU(), Flatten(), Dense(4)],
        [MomentNormalization("width"), Convolution(6, 3), ReLU(), Flatten(), Dense(4)],
        [
            Convolution(6, 3),
            Sigmoid(),
            LpPooling(2, p=3.0),
            GlobalAveragePooling(),
            Dense(5),
            BatchNormalization(),
            ReLU(),
            Dense(4),
        ],
    ],
)
def test_every_kind_of_layer_computes_the_same(layers: list[Layer]) -> None:
    model = Sequential(layers).build((3, 12, 11), np.random.default_rng(0))
    _unsettle(model)
    _same(model, np.random.default_rng(1).integers(0, 256, (5, 3, 12, 11), dtype=np.uint8))


def test_a_layer_without_operation_is_refused() -> None:
    class Strange(Layer):
        kind = "strange"

    with pytest.raises(ValueError, match="no operation for layer 'strange1' of kind 'strange'"):
        operations_of(Sequential([Strange()]))


def test_convolution_equals_scipy_over_many_blocks() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 8, 3)).astype(np.float32)
    arrays = {
        "W": rng.standard_normal((4, 2, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(4).astype(np.float32),
    }
    op = {"W": "W", "b": "b", "stride": [1, 1], "padding": [1, 1, 1, 1]}
    got = Convolution.infer(x, op, arrays, block_bytes=5000)
    for f in range(4):
        for n in range(3):
            want = (
                sum(correlate2d(x[c, :, :, n], arrays["W"][f, c], mode="same") for c in range(2))
                + arrays["b"][f]
            )
            np.testing.assert_allclose(got[f, :, :, n], want, atol=1e-4)


def test_a_view_equals_scipy_affine_transform() -> None:
    x = np.random.default_rng(0).random((2, 10, 10, 3)).astype(np.float32)
    view = [0.9, 0.2, 0.7, -0.1, 1.1, -1.3]
    got = resample_view(x, view_sampler(view, (10, 10)))
    matrix, centre = np.array([view[:2], view[3:5]]), np.array([4.5, 4.5])
    offset = centre + np.array([view[2], view[5]]) - matrix @ centre
    for c in range(2):
        for n in range(3):
            want = affine_transform(
                x[c, :, :, n].astype(np.float64), matrix, offset, order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(got[c, :, :, n], want, atol=1e-5)
    assert view_sampler(IDENTITY, (10, 10)) is None and resample_view(x, None) is x


def test_the_views_are_the_image_turns_zooms_and_shifts() -> None:
    x = np.random.default_rng(0).random((1, 28, 28, 1)).astype(np.float32)
    seen = [
        resample_view(x, view_sampler(view, (28, 28)))[0, :, :, 0] for view in views_of(9, (28, 28))
    ]
    np.testing.assert_array_equal(seen[0], x[0, :, :, 0])
    for got, degrees in zip(seen[1:3], (10, -10), strict=True):
        want = rotate(
            x[0, :, :, 0].astype(np.float64), degrees, reshape=False, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(got, want, atol=1e-5)
    for got, factor in zip(seen[3:5], (1.08, 1 / 1.08), strict=True):
        want = affine_transform(
            x[0, :, :, 0].astype(np.float64),
            [factor] * 2,
            13.5 * (1 - factor),
            order=1,
            mode="grid-constant",
        )
        np.testing.assert_allclose(got, want, atol=1e-5)
    for got, step in zip(seen[5:], ((-1, 0), (1, 0), (0, -1), (0, 1)), strict=True):
        np.testing.assert_allclose(got, shift(x[0, :, :, 0], step, order=0), atol=1e-6)
    assert views_of(3, (28, 28)) == views_of(9, (28, 28))[:3]


def test_a_mirrored_view_reads_every_pixel_from_the_other_side() -> None:
    x = np.random.default_rng(0).random((3, 9, 12, 2), dtype=np.float32)
    views = mirrored(views_of(3, (9, 12)))
    assert len(views) == 6 and views[:3] == views_of(3, (9, 12))
    seen = [resample_view(x, view_sampler(view, (9, 12))) for view in views]
    np.testing.assert_allclose(seen[3], x[:, :, ::-1], atol=1e-6)
    # A turned view of the mirrored image: mirrored first, then turned.
    turned = resample_view(
        np.ascontiguousarray(x[:, :, ::-1]), view_sampler(views_of(2, (9, 12))[1], (9, 12))
    )
    np.testing.assert_allclose(seen[4], turned, atol=1e-5)
