"""The net for any small image: it builds and trains at every size, and its cost stays bounded."""

import numpy as np
import pytest

from cnn_core.architectures import build_model, reference
from cnn_core.axes import Shape
from cnn_core.layers import Convolution, MaxPooling
from cnn_core.losses import softmax_cross_entropy
from cnn_core.pyramid import pools_of, stem_stride
from cnn_core.streams import stream


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("size", "classes"),
    [((8, 8), 2), ((28, 28), 10), ((32, 32), 1000), ((9, 120), 3), ((64, 64), 26), ((128, 128), 7)],
)
def test_every_image_gets_logits_and_gradients(
    channels: int, size: tuple[int, int], classes: int
) -> None:
    shape = (channels, *size)
    model = build_model(reference("pyramid", filters=4), shape, classes, stream((0,), "init"))
    x = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
    logits = model.forward(x, training=True)
    assert logits.shape == (classes, 3)
    model.backward(softmax_cross_entropy(logits, np.array([0, 1, 0]))[1])
    assert all(np.isfinite(grad).all() and grad.any() for grad in model.grads.values())


@pytest.mark.parametrize(
    ("size", "maps"),
    [
        ((8, 8), [(8, 8), (4, 4)]),
        ((16, 16), [(16, 16), (8, 8)]),
        ((28, 28), [(28, 28), (14, 14), (7, 7)]),
        ((32, 32), [(32, 32), (16, 16), (8, 8)]),
        ((48, 48), [(48, 48), (24, 24), (12, 12), (6, 6)]),
        ((64, 64), [(32, 32), (16, 16), (8, 8)]),
        ((128, 128), [(32, 32), (16, 16), (8, 8)]),
        ((5, 40), [(5, 40), (5, 20), (5, 10), (5, 5)]),
    ],
)
def test_the_stages_follow_from_the_side(size: tuple[int, int], maps: list[Shape]) -> None:
    model = build_model(
        reference("pyramid", filters=2, depth=1), (1, *size), 3, stream((0,), "init")
    )
    found = [layer.out_shape[1:] for layer in model.layers if isinstance(layer, Convolution)]
    widths = [layer.out_shape[0] for layer in model.layers if isinstance(layer, Convolution)]
    assert found == maps
    assert widths == [2 * 2**k for k in range(len(maps))]


def test_depth_is_the_convolutions_of_a_stage() -> None:
    for depth in (1, 2, 3):
        spec = reference("pyramid", filters=2, depth=depth)
        model = build_model(spec, (3, 32, 32), 3, stream((0,), "init"))
        assert sum(isinstance(layer, Convolution) for layer in model.layers) == 3 * depth
        assert sum(isinstance(layer, MaxPooling) for layer in model.layers) == 2


def test_large_images_cost_at_most_four_times_as_much_as_small_ones() -> None:
    def cost(side: int) -> int:
        shape = (3, side, side)
        return build_model(reference("pyramid"), shape, 10, stream((0,), "init")).multiply_adds()

    assert max(map(cost, (40, 48, 64, 80, 96, 112, 128))) < 4 * cost(32)


def test_stride_and_pools_by_hand() -> None:
    assert [stem_stride((side, 32)) for side in (8, 48, 49, 96, 97, 128)] == [
        (1, 1),
        (1, 1),
        (2, 1),
        (2, 1),
        (4, 1),
        (4, 1),
    ]
    assert pools_of((8, 8)) == [(2, 2)]
    assert pools_of((4, 4)) == []
    assert pools_of((32, 8)) == [(2, 2), (2, 1)]
