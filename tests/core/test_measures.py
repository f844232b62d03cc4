"""What contests rank by, against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from cnn_core.errors import InputError
from cnn_core.losses import softmax
from cnn_core.measures import MEASURES, is_minimized, measured, metric_of, ranked_by, top_k


def test_every_measure_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    for classes in (2, 3, 12):
        labels = rng.choice(classes, 400, p=rng.dirichlet(np.ones(classes)))
        logits = rng.standard_normal((400, classes)) + 1.5 * np.eye(classes)[labels]
        probabilities = softmax(logits, axis=1)
        predicted = probabilities.argmax(axis=1)
        every = np.arange(classes)
        expected = {
            "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
            "log_loss": sklearn_metrics.log_loss(labels, probabilities, labels=every),
            "macro_f1": sklearn_metrics.f1_score(labels, predicted, average="macro"),
            "balanced_accuracy": sklearn_metrics.recall_score(
                labels, predicted, labels=np.unique(labels), average="macro"
            ),
            "kappa": sklearn_metrics.cohen_kappa_score(labels, predicted),
        }
        assert {*expected, "top_k"} == set(MEASURES)
        for name, value in expected.items():
            assert measured(name, probabilities, labels) == pytest.approx(value, abs=1e-9), name
        if classes > 2:
            for k in range(1, classes):
                value = sklearn_metrics.top_k_accuracy_score(
                    labels, probabilities, k=k, labels=every
                )
                assert measured("top_k", probabilities, labels, k) == pytest.approx(value)


@given(st.integers(0, 10_000))
def test_top_k_grows_with_k_and_one_is_accuracy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.random((30, 6)), rng.integers(0, 6, 30)
    shares = [top_k(probabilities, labels, k) for k in range(1, 7)]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert shares[0] == measured("accuracy", probabilities, labels)


def test_one_class_alone_gives_numbers() -> None:
    probabilities, labels = np.tile([0.9, 0.1], (5, 1)), np.zeros(5, int)
    assert measured("kappa", probabilities, labels) == 0.0
    assert measured("macro_f1", probabilities, labels) == 1.0
    assert measured("balanced_accuracy", probabilities, labels) == 1.0


def test_a_row_is_judged_by_the_contests_measure() -> None:
    row = {"valid_loss": 0.5, "valid_accuracy": 0.8}
    assert ranked_by(row) == 0.8
    assert ranked_by({**row, "valid_kappa": 0.6}) == 0.6
    assert ranked_by({"train_loss": 1.0}) is None


def test_directions_and_unknown_names() -> None:
    assert [name for name in MEASURES if is_minimized(metric_of(name))] == ["log_loss"]
    assert is_minimized("multiply_adds")
    with pytest.raises(InputError, match=r"study\.objective: must be one of accuracy, .*'auc'"):
        measured("auc", np.ones((1, 2)), np.zeros(1, int))
