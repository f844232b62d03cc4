"""Temperatures, selections and intervals on synthetic probabilities whose answers are known."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix
from sklearn.metrics import log_loss as sklearn_log_loss

from pipeline.ensemble.combine import Combination, accuracy, fit_temperature, log_loss, softmax
from pipeline.ensemble.gain import calibration_error, confusion, gain_over, wilson
from pipeline.ensemble.selection import (
    METHODS,
    _forward,
    _parts,
    choose,
    cross_fitted,
    fit,
    greedy,
    stacking,
    uniform,
    weighted,
    within_cap,
)


def _sample(count: int, scale: float, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels that are drawn from their softmax: calibrated at temperature 1."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((count, classes)) * scale
    cumulative = softmax(logits).cumsum(axis=1)
    return logits, (rng.random((count, 1)) > cumulative).sum(axis=1).clip(0, classes - 1)


def _noisy_members(count: int, noises: list[float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    truth = 3.0 * np.eye(3)[labels]
    return np.stack([softmax(truth + noise * rng.standard_normal((count, 3))) for noise in noises]), labels


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_temperature_undoes_a_known_scaling(factor: float) -> None:
    logits, labels = _sample(20_000, 2.0, 0)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_log_loss_equals_sklearn() -> None:
    logits, labels = _sample(500, 2.0, 1)
    assert log_loss(softmax(logits), labels) == pytest.approx(sklearn_log_loss(labels, softmax(logits), labels=range(4)), rel=1e-9)


def test_uniform_of_equally_noisy_members_beats_each() -> None:
    members, labels = _noisy_members(4000, [2.0] * 5)
    joined = uniform(members, labels).apply(members)
    assert accuracy(joined, labels) > max(accuracy(m, labels) for m in members) + 0.02
    np.testing.assert_allclose(joined.sum(axis=1), 1)


def test_weighted_finds_the_mixture_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    members = np.stack([softmax(rng.standard_normal((30_000, 3)) * 3) for _ in range(3)])
    mixture = np.tensordot([0.7, 0.3, 0.0], members, axes=1)
    labels = (rng.random((30_000, 1)) > mixture.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    np.testing.assert_allclose(weighted(members, labels).weights, [0.7, 0.3, 0.0], atol=0.03)


@pytest.mark.parametrize("method", [greedy, weighted])
def test_a_useless_member_gets_next_to_no_weight(method) -> None:  # type: ignore[no-untyped-def]
    members, labels = _noisy_members(3000, [1.5, 1.5, 1.5])
    useless = np.full_like(members[:1], 1 / 3)
    weights = method(np.concatenate([members, useless]), labels).weights
    assert sum(weights) == pytest.approx(1) and min(weights) >= 0
    assert weights[3] < 0.1 and min(weights[:3]) > 0.15


def test_greedy_first_step_by_hand() -> None:
    # Losses -ln(0.9 x 0.4) / 2 = 0.51 and -ln(0.7 x 0.7) / 2 = 0.36: the second of those allowed, member 0, is taken.
    right = np.array([[0.9, 0.4], [0.7, 0.7]])
    taken = _forward(right, np.array([2, 0]), 3, 1)
    np.testing.assert_array_equal(taken, [1, 0, 0])


def test_stacking_learns_a_member_that_swaps_two_classes() -> None:
    members, labels = _noisy_members(3000, [1.0])
    swapped = members[:, :, [1, 0, 2]]
    assert accuracy(swapped[0], labels) < 0.5
    assert accuracy(stacking(swapped, labels).apply(swapped), labels) > 0.9


def test_stacking_with_a_class_missing_from_the_fit_never_predicts_it() -> None:
    members, labels = _noisy_members(600, [1.0, 1.0])
    seen = labels != 2
    fitted = stacking(members[:, seen], labels[seen])
    predicted = fitted.apply(members).argmax(axis=1)
    assert set(predicted.tolist()) == {0, 1} and accuracy(fitted.apply(members[:, seen]), labels[seen]) > 0.9


@pytest.mark.parametrize("method", sorted(METHODS))
def test_cross_fitting_uses_no_image_for_itself(method: str) -> None:
    members, labels = _noisy_members(300, [2.0, 2.0])
    joined = cross_fitted(method, members, labels)
    np.testing.assert_allclose(joined.sum(axis=1), 1, atol=1e-9)
    part = _parts(labels, 5, np.random.default_rng(2005))
    held = part == 3
    damaged = members.copy()
    damaged[:, held] = damaged[:, held][:, ::-1]  # what part 3 looks like changes nothing in how part 3's combination is fitted
    again = fit(method, damaged[:, ~held], labels[~held]).apply(members[:, held])
    np.testing.assert_allclose(joined[held], again, atol=1e-9)


def test_choose_keeps_the_uniform_average_unless_another_is_surely_better() -> None:
    members, labels = _noisy_members(2000, [1.5] * 4)
    chosen, scores = choose(members, labels)
    assert chosen.method == "uniform" and set(scores) == set(METHODS)
    bad = np.concatenate([members, np.repeat(members[:1, :, [1, 2, 0]], 4, axis=0)])
    assert choose(bad, labels)[0].method != "uniform"


def test_the_cap_keeps_the_best_members_that_fit() -> None:
    members, labels = _noisy_members(1000, [3.0, 1.0, 2.0])
    cost = np.array([1.0, 2.0, 1.5])
    assert within_cap(members, labels, cost, None) == [0, 1, 2]
    assert within_cap(members, labels, cost, 3.6) == [1, 2]
    assert within_cap(members, labels, cost, 3.2) == [0, 1]
    assert within_cap(members, labels, cost, 0.1) == [0]


def test_combination_applies_weights_by_hand() -> None:
    members = np.array([[[0.8, 0.2]], [[0.4, 0.6]]])
    np.testing.assert_allclose(Combination(method="weighted", weights=(0.25, 0.75)).apply(members), [[0.5, 0.5]])
    # 0.6 and 0.4, squared: 0.36 and 0.16 of 0.52.
    sharpened = Combination(method="weighted", weights=(0.5, 0.5), temperature=0.5).apply(members)
    np.testing.assert_allclose(sharpened, [[0.36 / 0.52, 0.16 / 0.52]])


def test_gain_counts_wins_and_losses() -> None:
    labels = np.zeros(100, np.int64)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    best = np.array([wrong] * 10 + [right] * 90)
    ensemble = np.array([wrong] * 4 + [right] * 94 + [wrong] * 2)
    gain = gain_over(best, ensemble, labels)
    assert (gain.errors_best, gain.errors_ensemble) == (10, 6)
    assert gain.gain == pytest.approx(0.04) and gain.errors_removed == pytest.approx(0.4)
    # Standard deviation of the difference: sqrt((0.06 + 0.02 - 0.04^2) / 100) = 0.028.
    assert gain.low == pytest.approx(0.04 - 1.96 * 0.028, abs=0.012) and gain.high == pytest.approx(0.04 + 1.96 * 0.028, abs=0.012)


@pytest.mark.parametrize(("right", "count"), [(9975, 10000), (0, 10), (10, 10), (7, 9)])
def test_wilson_equals_scipy(right: int, count: int) -> None:
    want = binomtest(right, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson(right, count), (want.low, want.high), atol=1e-6)


def test_calibration_error_by_hand() -> None:
    # Two bins: confidence 0.9 with accuracy 0.5 (half of the images), confidence 0.6 with accuracy 1.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert calibration_error(probabilities, np.array([0, 1, 0, 0]), bins=10) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_confusion_equals_sklearn() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 5, (2, 300))
    np.testing.assert_array_equal(confusion(predicted, labels, 5), confusion_matrix(labels, predicted, labels=range(5)))
