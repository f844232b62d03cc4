"""Temperatures, selections and intervals on synthetic probabilities whose answers are known."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import log_loss as sklearn_log_loss

from pipeline.ensemble.member_weights import (
    _parts,
    choose,
    choose_useful,
    cross_fitted,
    fit,
    within_cap,
)
from pipeline.ensemble.methods import (
    METHODS,
    Combination,
    _forward,
    fit_temperature,
    geometric,
    greedy,
    softmax,
    stacking,
    uniform,
    weighted,
)
from pipeline.reporting.scores import (
    accuracy,
    calibration_error,
    gain_over,
    log_loss,
    wilson,
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
    return np.stack(
        [softmax(truth + noise * rng.standard_normal((count, 3))) for noise in noises]
    ), labels


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_temperature_undoes_a_known_scaling(factor: float) -> None:
    logits, labels = _sample(20_000, 2.0, 0)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.05)


def test_log_loss_equals_sklearn() -> None:
    logits, labels = _sample(500, 2.0, 1)
    assert log_loss(softmax(logits), labels) == pytest.approx(
        sklearn_log_loss(labels, softmax(logits), labels=range(4)), rel=1e-9
    )


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
    # Losses -ln(0.9 x 0.4) / 2 = 0.51 and -ln(0.7 x 0.7) / 2 = 0.36: the second of those allowed,
    # member 0, is taken.
    right = np.array([[0.9, 0.4], [0.7, 0.7]])
    taken = _forward(right, np.array([2, 0]), 3, 1)
    np.testing.assert_array_equal(taken, [1, 0, 0])


def test_geometric_finds_the_pool_that_made_the_labels() -> None:
    rng = np.random.default_rng(0)
    members = np.stack([softmax(rng.standard_normal((30_000, 3)) * 2) for _ in range(3)])
    pool = members[0] ** 0.9 * members[1] ** 0.3
    pool /= pool.sum(axis=1, keepdims=True)
    labels = (rng.random((30_000, 1)) > pool.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    found = geometric(members, labels)
    np.testing.assert_allclose(found.weights, [0.75, 0.25, 0.0], atol=0.03)
    assert found.temperature == pytest.approx(1 / 1.2, rel=0.03)
    np.testing.assert_allclose(found.apply(members), pool, atol=0.03)


def test_geometric_of_worthless_members_is_nearly_uniform() -> None:
    labels = np.array([0, 1] * 50)
    wrong = np.where(np.eye(2)[labels] == 1, 0.1, 0.9)[None]
    found = geometric(wrong, labels)
    assert found.weights == (1.0,)
    np.testing.assert_allclose(found.apply(wrong), 0.5, atol=0.01)


@pytest.mark.parametrize("method", [weighted, geometric, stacking])
def test_an_image_that_counts_twice_is_as_good_as_two(method) -> None:  # type: ignore[no-untyped-def]
    members, labels = _noisy_members(400, [1.0, 2.0, 3.0])
    counts = np.repeat([1.0, 2.0, 0.0], [200, 100, 100])
    twice = np.r_[0:300, 200:300]
    got, want = (
        fit(method.__name__, members, labels, counts),
        fit(method.__name__, members[:, twice], labels[twice]),
    )
    np.testing.assert_allclose(got.apply(members), want.apply(members), atol=2e-3)
    assert log_loss(members[0], labels, counts) == pytest.approx(
        log_loss(members[0][twice], labels[twice])
    )
    assert accuracy(members[2], labels, counts) == pytest.approx(
        accuracy(members[2][twice], labels[twice])
    )


def test_greedy_listens_to_the_images_that_count() -> None:
    labels = np.zeros(400, np.int64)
    sure, unsure = np.full((200, 2), (0.95, 0.05)), np.full((200, 2), (0.4, 0.6))
    members = np.stack(
        [np.concatenate([sure, unsure]), np.concatenate([unsure, sure])]
    )  # each knows one half of the images
    first = np.repeat([0.9, 0.1], 200)
    assert (
        greedy(members, labels, first).weights[0] > 0.7
        and greedy(members, labels, first[::-1]).weights[0] < 0.3
    )


def test_an_image_is_left_out_with_its_copy() -> None:
    members, labels = _noisy_members(60, [1.0, 2.0])
    both, twice = np.concatenate([members, members[::-1]], axis=1), np.tile(labels, 2)
    counts = np.repeat([0.3, 0.7], 60)
    changed = both.copy()
    changed[:, 60 + 7] = (
        np.roll(np.eye(3)[labels[7]], 1) * 0.998 + 0.001
    )  # the copy of image 7: all members are surely wrong
    before, after = (
        cross_fitted("geometric", one, twice, counts, copies=2) for one in (both, changed)
    )
    np.testing.assert_array_equal(before[7], after[7])
    assert np.abs(before - after).max() > 1e-3


def test_members_without_a_say_are_left_out() -> None:
    members, labels = _noisy_members(2000, [1.0, 1.0, 1.0])
    swapped = members[2:, :, [1, 2, 0]]  # worse than nothing
    kept, choice = choose_useful(
        np.concatenate([members[:2], swapped]),
        labels,
        np.ones(2000),
        [0, 1, 2],
        "geometric",
        copies=1,
    )
    assert kept == [0, 1] and len(choice.combination.weights) == 2
    want = fit("geometric", members[:2], labels)
    np.testing.assert_allclose(choice.combination.weights, want.weights)
    kept, choice = choose_useful(
        np.concatenate([members[:2], swapped]),
        labels,
        np.ones(2000),
        [0, 1, 2],
        "stacking",
        copies=1,
    )
    assert kept == [0, 1, 2]


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
    assert (
        set(predicted.tolist()) == {0, 1}
        and accuracy(fitted.apply(members[:, seen]), labels[seen]) > 0.9
    )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_cross_fitting_uses_no_image_for_itself(method: str) -> None:
    members, labels = _noisy_members(300, [2.0, 2.0])
    joined = cross_fitted(method, members, labels)
    np.testing.assert_allclose(joined.sum(axis=1), 1, atol=1e-9)
    part = _parts(labels, 5, np.random.default_rng(2005))
    held = part == 3
    damaged = members.copy()
    damaged[:, held] = damaged[:, held][
        :, ::-1
    ]  # what part 3 looks like changes nothing in how part 3's combination is fitted
    again = fit(method, damaged[:, ~held], labels[~held]).apply(members[:, held])
    np.testing.assert_allclose(joined[held], again, atol=1e-9)


def test_choose_keeps_the_uniform_average_unless_another_is_surely_better() -> None:
    members, labels = _noisy_members(2000, [1.5] * 4)
    choice = choose(members, labels)
    chosen, scores = choice.combination, choice.methods
    assert chosen.method == "uniform" and set(scores) == set(METHODS)
    bad = np.concatenate([members, np.repeat(members[:1, :, [1, 2, 0]], 4, axis=0)])
    assert choose(bad, labels).combination.method != "uniform"


def test_the_cap_keeps_the_best_members_that_fit() -> None:
    members, labels = _noisy_members(1000, [3.0, 1.0, 2.0])
    cost = np.array([1.0, 2.0, 1.5])
    assert within_cap(members, labels, cost, None) == [0, 1, 2]
    assert within_cap(members, labels, cost, 3.6) == [1, 2]
    assert within_cap(members, labels, cost, 3.2) == [0, 1]
    assert within_cap(members, labels, cost, 0.1) == [0]


def test_combination_applies_weights_by_hand() -> None:
    members = np.array([[[0.8, 0.2]], [[0.4, 0.6]]])
    np.testing.assert_allclose(
        Combination(method="weighted", weights=(0.25, 0.75)).apply(members), [[0.5, 0.5]]
    )
    # 0.6 and 0.4, squared: 0.36 and 0.16 of 0.52.
    sharpened = Combination(method="weighted", weights=(0.5, 0.5), temperature=0.5).apply(members)
    np.testing.assert_allclose(sharpened, [[0.36 / 0.52, 0.16 / 0.52]])
    # sqrt(0.8 x 0.4) = 0.566 and sqrt(0.2 x 0.6) = 0.346.
    pooled = Combination(method="geometric", weights=(0.5, 0.5)).apply(members)
    np.testing.assert_allclose(pooled, [[0.6202, 0.3798]], atol=1e-4)


def test_gain_counts_wins_and_losses() -> None:
    labels = np.zeros(100, np.int64)
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    best = np.array([wrong] * 10 + [right] * 90)
    ensemble = np.array([wrong] * 4 + [right] * 94 + [wrong] * 2)
    gain = gain_over(best, ensemble, labels)
    assert (gain.errors_best, gain.errors_ensemble) == (10, 6)
    assert gain.gain == pytest.approx(0.04) and gain.errors_removed == pytest.approx(0.4)
    # Standard deviation of the difference: sqrt((0.06 + 0.02 - 0.04^2) / 100) = 0.028.
    assert gain.low == pytest.approx(0.04 - 1.96 * 0.028, abs=0.012) and gain.high == pytest.approx(
        0.04 + 1.96 * 0.028, abs=0.012
    )


@pytest.mark.parametrize(("right", "count"), [(9975, 10000), (0, 10), (10, 10), (7, 9)])
def test_wilson_equals_scipy(right: int, count: int) -> None:
    want = binomtest(right, count).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson(right, count), (want.low, want.high), atol=1e-6)


def test_calibration_error_by_hand() -> None:
    # Two bins: confidence 0.9 with accuracy 0.5 (half of the images), confidence 0.6 with accuracy
    # 1.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert calibration_error(probabilities, np.array([0, 1, 0, 0]), bins=10) == pytest.approx(
        0.5 * 0.4 + 0.5 * 0.4
    )
