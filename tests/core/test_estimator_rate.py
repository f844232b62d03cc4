"""Parameters of the estimator that ask for what something else decides."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnn_core.estimator import CNNClassifier


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    """Return 100 digits as rows of 64 values from 0 to 16, and their labels."""
    X, y = load_digits(return_X_y=True)
    return X[:100], y[:100]


def made(**changes: Any) -> CNNClassifier:
    return CNNClassifier(random_state=0, epochs=1, **changes)


def same(one: CNNClassifier, other: CNNClassifier, X: Any) -> bool:
    return bool(np.array_equal(one.predict_proba(X), other.predict_proba(X)))


def test_a_part_validates_on_nothing_so_its_last_epoch_is_kept(digits: tuple[Any, Any]) -> None:
    X, y = digits
    best, last, average = (
        made(valid_fraction=0.25, select=select).partial_fit(X, y, classes=range(10))
        for select in ("best", "last", "average")
    )
    assert same(best, last, X) and not same(best, average, X)


def test_a_rate_of_none_is_the_optimizers_own(digits: tuple[Any, Any]) -> None:
    X, y = digits
    own, rate, other = (made(optimizer="adam", lr=lr).fit(X, y) for lr in (None, 1e-3, 0.02))
    assert same(own, rate, X) and not same(own, other, X)
