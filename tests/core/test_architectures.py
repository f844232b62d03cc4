"""Named nets: the shapes of their sources, every option in every net, and refusals that name rule
and shapes.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnn_core.architectures import (
    ARCHITECTURES,
    REFERENCE,
    build_model,
    reference,
)
from cnn_core.axes import Shape
from cnn_core.errors import InputError
from cnn_core.initializers import INITIALIZERS
from cnn_core.laws.model_laws import MODEL_LAWS
from cnn_core.layer_groups import ACTIVATIONS
from cnn_core.layers import BatchNormalization, Dropout
from cnn_core.model import Sequential
from cnn_core.spec import ModelSpec
from cnn_core.streams import stream


def build(spec: ModelSpec, shape: Shape = (1, 28, 28)) -> Sequential:
    return build_model(spec, shape, 10, stream((0,), "init"))


# Shapes of one image behind the layers named, from the sources.
SHAPES: dict[str, dict[str, Shape]] = {
    "contest": {"conv1": (32, 28, 28), "pool1": (32, 14, 14), "dense1": (10,)},
    "simple_convnet": {
        "conv1": (30, 24, 24),
        "pool1": (30, 12, 12),
        "dense1": (100,),
        "dense2": (10,),
    },
    "two_conv": {
        "conv1": (20, 24, 24),
        "conv2": (50, 8, 8),
        "flatten1": (800,),
        "dense1": (500,),
        "dense2": (10,),
    },
    "three_conv": {"conv3": (128, 3, 3), "pool3": (128, 1, 1), "dense1": (64,), "dense2": (10,)},
    "mlp": {"flatten1": (784,), "dense1": (40,), "dense2": (20,), "dense3": (10,)},
    "vgg_bn": {
        "conv2": (32, 28, 28),
        "pool1": (32, 14, 14),
        "conv4": (64, 14, 14),
        "flatten1": (3136,),
        "dense1": (10,),
    },
    "vgg_valid": {
        "conv2": (32, 24, 24),
        "conv4": (64, 8, 8),
        "conv5": (128, 2, 2),
        "flatten1": (512,),
        "dense1": (10,),
    },
    "vgg_deep": {
        "conv2": (32, 24, 24),
        "conv3": (64, 12, 12),
        "conv5": (64, 8, 8),
        "conv6": (128, 2, 2),
        "flatten1": (512,),
    },
    "pyramid": {
        "conv2": (32, 28, 28),
        "pool1": (32, 14, 14),
        "conv4": (64, 14, 14),
        "conv6": (128, 7, 7),
        "global_average_pooling1": (128,),
        "dense1": (10,),
    },
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes_of_the_sources(name: str) -> None:
    shapes = {layer.name: layer.out_shape for layer in build(reference(name)).layers}
    assert {key: shapes[key] for key in SHAPES[name]} == SHAPES[name]


def test_multiply_adds_of_the_nets_that_do_best() -> None:
    assert build(reference("vgg_valid")).multiply_adds() == pytest.approx(10.0e6, rel=0.01)
    assert build(reference("vgg_deep")).multiply_adds() == pytest.approx(14.5e6, rel=0.01)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_option_builds_in_every_net(name: str) -> None:
    for activation, init, batch_norm in itertools.product(
        ACTIVATIONS, INITIALIZERS, ("none", "before", "after")
    ):
        spec = replace(
            REFERENCE[name],
            filters=2,
            hidden=(5,),
            dropout=0.2,
            activation=activation,
            init=init,
            batch_norm=batch_norm,
        )
        model = build(spec)
        kinds = [type(layer) for layer in model.layers]
        assert ACTIVATIONS[activation] in kinds
        assert kinds.count(Dropout) == (1 if name == "mlp" else 2)
        assert kinds.count(BatchNormalization) == (
            0 if batch_norm == "none" else kinds.count(ACTIVATIONS[activation])
        )
        assert all(not p.any() for key, p in model.params.items() if key.endswith(".b")), (
            "biases start at zero"
        )


def test_batch_norm_stands_where_it_is_asked_for() -> None:
    def order(batch_norm: str) -> list[str]:
        return [
            layer.name for layer in build(reference("contest", batch_norm=batch_norm)).layers[:3]
        ]

    assert order("before") == ["conv1", "norm1", "relu1"]
    assert order("after") == ["conv1", "relu1", "norm1"]
    assert "conv1.b" not in build(reference("contest", batch_norm="before")).params


def test_later_blocks_keep_the_ratios() -> None:
    shapes = {
        layer.name: layer.out_shape[0] for layer in build(reference("two_conv", filters=8)).layers
    }
    assert (shapes["conv1"], shapes["conv2"]) == (8, 20)
    shapes = {
        layer.name: layer.out_shape[0] for layer in build(reference("vgg_valid", filters=16)).layers
    }
    assert [shapes[f"conv{i}"] for i in range(1, 6)] == [16, 16, 32, 32, 64]


def test_a_large_kernel_replaces_a_pair_of_small_ones() -> None:
    layers = [
        layer
        for layer in build(reference("vgg_valid", kernel=5)).layers
        if layer.name.startswith("conv")
    ]
    assert [layer.out_shape for layer in layers] == [(32, 24, 24), (64, 8, 8), (128, 2, 2)]
    layers = [
        layer
        for layer in build(reference("vgg_deep", kernel=5)).layers
        if layer.name.startswith("conv")
    ]
    assert [layer.out_shape for layer in layers] == [
        (32, 24, 24),
        (64, 12, 12),
        (64, 8, 8),
        (128, 2, 2),
    ]


def test_the_reports_three_ensemble_members() -> None:
    for kernel, pool, features in ((3, 2, 6272), (5, 2, 6272), (3, 4, 1568)):
        model = build(reference("contest", kernel=kernel, pool=pool))
        assert {layer.name: layer.out_shape for layer in model.layers}["flatten1"] == (features,)


def test_nets_that_fit_small_digits() -> None:
    fits = []
    for name in ARCHITECTURES:
        try:
            build(reference(name), (1, 8, 8))
            fits.append(name)
        except InputError:
            pass
    assert fits == ["contest", "simple_convnet", "mlp", "vgg_bn", "pyramid"]


def test_a_net_that_does_not_fit_is_refused_with_the_shapes() -> None:
    message = (
        r"model three_conv does not fit images 1x8x8 \(CxHxW\): "
        r'max_pooling "pool2": .* got kernel 2x2, input 1x1'
    )
    with pytest.raises(InputError, match=message):
        build(reference("three_conv"), (1, 8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "contset"}, r"model.name: must be one of contest, .*, got 'contset'"),
        (
            {"activation": "rlu"},
            r"model.activation: must be one of relu, leaky_relu, sigmoid, tanh, got 'rlu'",
        ),
        ({"batch_norm": "yes"}, r"model.batch_norm: must be one of none, before, after, got 'yes'"),
        ({"init": "hee"}, r"model.init: must be one of .*, got 'hee'"),
        ({"filters": 0}, r"model.filters: must be at least 1, got 0"),
        ({"kernel": 0}, r"model.kernel: must be at least 1, got 0"),
        ({"pool": -1}, r"model.pool: must be at least 1, got -1"),
        ({"hidden": (10, 0)}, r"model.hidden: must be at least 1, got 0"),
        ({"dropout": 1.0}, r"model.dropout: must be at least 0 and less than 1, got 1.0"),
        ({"dropout": float("nan")}, r"model.dropout: must be finite, got nan"),
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(replace(ModelSpec(), **changes))


@pytest.mark.parametrize(
    ("shape", "classes", "got"),
    [((28, 28), 10, r"\(28, 28\) and 10"), ((1, 0, 28), 10, r"\(1, 0, 28\)"), ((1, 8, 8), 1, "1$")],
)
def test_what_are_no_images_of_classes_is_refused(shape: Shape, classes: int, got: str) -> None:
    rule = r"model contest: images must be \(C, H, W\) of at least 2 classes, got "
    with pytest.raises(InputError, match=rule + ".*" + got):
        build_model(ModelSpec(name="contest"), shape, classes, stream((0,), "init"))


def test_a_source_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.name: must be one of contest, .*, got 'contset'"):
        reference("contset")


def test_laws_of_a_net_that_fits_no_image_say_why() -> None:
    with pytest.raises(InputError, match=r"does not fit images 3x32x32 .* got kernel 40x40"):
        MODEL_LAWS[0](reference("simple_convnet", kernel=40))


def test_colour_images_and_float64() -> None:
    model = build_model(
        reference("vgg_bn", filters=2), (3, 12, 12), 4, stream((0,), "init"), np.float64
    )
    assert model.params["conv1.W"].shape == (2, 3, 3, 3)
    assert all(a.dtype == np.float64 for a in (*model.params.values(), *model.buffers.values()))


def test_the_same_seed_draws_the_same_net() -> None:
    one, two, other = (
        build_model(reference("contest"), (1, 8, 8), 10, stream(seed, "init"))
        for seed in ((1,), (1,), (2,))
    )
    for name, p in one.params.items():
        np.testing.assert_array_equal(two.params[name], p)
    assert (other.params["conv1.W"] != one.params["conv1.W"]).any()


@pytest.mark.parametrize("law", MODEL_LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_net_keeps_the_laws(name: str, law: Callable[[ModelSpec], None]) -> None:
    law(reference(name, filters=2))
