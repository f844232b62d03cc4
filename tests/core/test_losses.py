"""Softmax with cross-entropy against SciPy, finite differences and numbers that would overflow;
metrics against counting by hand.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax

from cnn_core.axes import Array
from cnn_core.errors import InputError
from cnn_core.losses import (
    accuracy,
    balanced_weights,
    confusion_matrix,
    correct_count,
    log_loss,
    softmax,
    softmax_cross_entropy,
)

LOGITS = arrays(np.float64, (4, 3), elements=st.floats(-50, 50))
LABELS = np.array([2, 0, 3])


@given(LOGITS)
def test_softmax_is_scipys(logits: Array) -> None:
    np.testing.assert_allclose(softmax(logits), scipy_softmax(logits, axis=0), rtol=1e-12)
    assert logits.max() <= 50, "the argument is not changed"


@given(LOGITS, st.sampled_from([0.0, 0.1, 0.7]))
def test_loss_is_the_cross_entropy_of_smoothed_targets(logits: Array, smoothing: float) -> None:
    targets = (1 - smoothing) * np.eye(4)[:, LABELS] + smoothing / 4
    expected = -(targets * log_softmax(logits, axis=0)).sum(axis=0).mean()
    loss, gradient = softmax_cross_entropy(logits, LABELS, smoothing)
    assert loss == pytest.approx(expected, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(gradient, (scipy_softmax(logits, axis=0) - targets) / 3, atol=1e-14)


@given(LOGITS, arrays(np.float64, (4, 3), elements=st.floats(-1, 1)))
def test_gradient_by_finite_differences(logits: Array, direction: Array) -> None:
    _, gradient = softmax_cross_entropy(logits, LABELS, 0.1)
    step = 1e-5
    up, down = (
        softmax_cross_entropy(logits + sign * step * direction, LABELS, 0.1)[0] for sign in (1, -1)
    )
    assert (up - down) / (2 * step) == pytest.approx(float((gradient * direction).sum()), abs=1e-8)


def test_huge_logits_give_a_large_loss_and_not_infinity() -> None:
    logits = np.array([[1e30], [0.0]], np.float32)
    loss, gradient = softmax_cross_entropy(logits, np.array([1]))
    assert loss == pytest.approx(1e30, rel=1e-6)
    np.testing.assert_array_equal(gradient, [[1], [-1]])
    assert softmax_cross_entropy(logits, np.array([0]))[0] == 0


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, math.nan])
def test_smoothing_out_of_range_is_refused(smoothing: float) -> None:
    with pytest.raises(
        InputError, match=r"train.label_smoothing: must be at least 0 and less than 1, got"
    ):
        softmax_cross_entropy(np.zeros((2, 1)), np.array([0]), smoothing)


def test_metrics_by_hand() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    labels = np.array([0, 1, 1, 2])
    assert accuracy(probabilities, labels) == 0.5
    assert correct_count(probabilities.T, labels) == 2
    assert log_loss(probabilities, labels) == pytest.approx(
        -(math.log(0.7) + math.log(0.3) + math.log(0.5) + math.log(1e-12)) / 4
    )
    expected = [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    np.testing.assert_array_equal(
        confusion_matrix(probabilities.argmax(axis=1), labels, 3), expected
    )


def test_balanced_weights_by_hand() -> None:
    # 8 images: 6, 2 and none of three classes; each of the two that occur weighs 4 in all.
    weights = balanced_weights(np.array([0, 0, 0, 0, 0, 0, 1, 1]), 3)
    np.testing.assert_allclose(weights, [8 / (2 * 6), 8 / (2 * 2), 0.0], rtol=1e-6)
    assert weights.dtype == np.float32  # else a training in single precision would become double


def test_weights_multiply_each_images_loss_and_gradient() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 1.0]])
    labels, weights = np.array([0, 1]), np.array([0.5, 3.0])
    expected = np.mean([0.5 * -log_softmax(logits[:, 0])[0], 3.0 * -log_softmax(logits[:, 1])[1]])
    loss, gradient = softmax_cross_entropy(logits, labels, 0.0, weights)
    _, plain = softmax_cross_entropy(logits, labels)
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(gradient, plain * [0.5, 3.0])
