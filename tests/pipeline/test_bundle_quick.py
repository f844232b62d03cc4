"""Quick nets give what the nets of predict.py give, to rounding, whatever the convolution and the
batch.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bundle import running
from pipeline.bundle.predictor import Bundle, Net, load
from pipeline.bundle.running import QuickNet, quicken
from tests.pipeline.made_manifest import made_manifest


@st.composite
def nets(draw: st.DrawFn) -> tuple[Net, tuple[int, int, int]]:
    """A convolution of any window, mostly wide enough for Winograd, with a ReLU, and a second one
    behind it.
    """
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kernel = (
        (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
        if draw(st.booleans())
        else (draw(st.sampled_from([3, 5])),) * 2
    )
    stride = draw(st.sampled_from([[1, 1], [1, 1], [2, 1], [2, 3]]))
    padding = [draw(st.integers(0, k - 1)) for k in (kernel[0], kernel[0], kernel[1], kernel[1])]
    channels, middle, last = draw(st.sampled_from([(1, 4, 3), (12, 16, 8)]))
    size = draw(st.integers(6, 13)), draw(st.integers(6, 13))
    arrays = {
        "W": rng.standard_normal((middle, channels, *kernel)),
        "b": rng.standard_normal(middle),
        "V": rng.standard_normal((last, middle, 1, 1)),
        "c": rng.standard_normal(last),
    }
    operations: list[dict[str, object]] = [
        {"op": "convolution", "W": "W", "b": "b", "stride": stride, "padding": padding},
        {"op": "relu"},
        {"op": "convolution", "W": "V", "b": "c", "stride": [1, 1], "padding": [0, 0, 0, 0]},
        {"op": "global_average_pooling"},
    ]
    return Net(operations, {name: array.astype(np.float32) for name, array in arrays.items()}), (
        channels,
        *size,
    )


@settings(max_examples=60, deadline=None)
@given(nets(), st.lists(st.integers(1, 30), min_size=1, max_size=3))
def test_quick_nets_equal_plain_ones(
    case: tuple[Net, tuple[int, int, int]], batches: list[int]
) -> None:
    net, shape = case
    quick = QuickNet(net.operations, net.arrays)
    for n in batches:
        x = np.random.default_rng(n).standard_normal((*shape, n)).astype(np.float32)
        want = net.logits(x)
        np.testing.assert_allclose(
            quick.logits(x), want, atol=1e-4 * max(1.0, float(np.abs(want).max()))
        )


def test_nets_that_share_memory_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(0)
    operations: list[dict[str, object]] = [
        {"op": "convolution", "W": "W", "b": "b", "stride": [1, 1], "padding": [1, 1, 1, 1]},
        {"op": "convolution", "W": "V", "b": "b", "stride": [1, 1], "padding": [1, 1, 1, 1]},
        {"op": "global_average_pooling"},
    ]

    def net() -> Net:
        arrays = {
            "W": rng.standard_normal((16, 16, 3, 3)),
            "V": rng.standard_normal((16, 16, 3, 3)),
            "b": rng.standard_normal(16),
        }
        return Net(
            operations, {name: array.astype(np.float32) / 9 for name, array in arrays.items()}
        )

    bundle = Bundle(made_manifest((16, 9, 9), 16, (1.0, 1.0)), [[net(), net()], [net()]])
    images = rng.integers(0, 256, (230, 16, 9, 9), dtype=np.uint8)
    want = bundle.member_proba(images)
    np.testing.assert_allclose(quicken(bundle).member_proba(images), want, atol=1e-5)
    assert np.abs(want[0] - want[1]).max() > 0.01


@pytest.mark.parametrize("operation", ["dense", "pooling", "scale_shift"])
def test_other_operations_are_the_plain_ones(operation: str) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "W": rng.standard_normal((3, 5)),
        "b": rng.standard_normal(3),
        "scale": rng.random(5),
        "shift": rng.random(5),
    }
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    steps = {
        "dense": {"op": "dense", "W": "W", "b": "b"},
        "pooling": {
            "op": "pooling",
            "kind": "max",
            "size": [2, 2],
            "stride": [2, 2],
            "padding": [0, 0, 0, 0],
        },
        "scale_shift": {"op": "scale_shift", "flat": True, "scale": "scale", "shift": "shift"},
    }
    x = rng.standard_normal((5, 4, 4, 7) if operation == "pooling" else (5, 7)).astype(np.float32)
    got, want = (kind([steps[operation]], arrays).logits(x) for kind in (QuickNet, Net))
    np.testing.assert_array_equal(got, want)


def test_predictions_from_files_take_the_quick_nets(final_root: Path) -> None:
    folder = final_root / "small" / "bundle"
    bundle = load(folder)
    images = np.random.default_rng(1).integers(0, 256, (3, *bundle.image_shape), dtype=np.uint8)
    found = running._predict(str(folder), bundle.manifest.digest, images)
    np.testing.assert_allclose(found, bundle.member_proba(images), atol=1e-5)
    used = running._loaded(str(folder), bundle.manifest.digest)
    assert all(isinstance(net, QuickNet) for member in used.nets for net in member)
