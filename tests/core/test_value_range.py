"""What stands for white: found where the values say it with certainty, else refused."""

import re

import numpy as np
import pytest

from cnn_core.data.image_form import full_scale_of
from cnn_core.data.value_range import ValueRange
from cnn_core.errors import InputError


def _scale(trained: float, *pictures: np.ndarray) -> float:
    found = ValueRange(trained)
    found.add(pictures)
    return found.full_scale("x")


def test_another_range_of_values_is_found_where_it_is_certain() -> None:
    rng = np.random.default_rng(0)
    whole, shares = rng.integers(0, 256, (1, 8, 8)), rng.random((1, 8, 8))
    assert _scale(255, whole) == 255 and _scale(1, whole) == 255 and _scale(16, whole) == 255
    assert _scale(255, shares) == 1 and _scale(1, shares) == 1
    assert _scale(255, shares > 0.5) == 1
    assert _scale(255, whole * 257) == 65535 and _scale(16, whole // 16) == 16
    assert _scale(255, np.zeros((1, 8, 8))) == 255


@pytest.mark.parametrize(
    ("trained", "pictures", "message"),
    [
        (255, [np.eye(8)], "set full_scale=255 or full_scale=1"),
        (255, [np.eye(8) * 16], "got 16 as the largest value of 1 pictures"),
        (
            255,
            [np.eye(8) * 255] * 9 + [np.eye(8) * 60_000],
            "up to 60000 in 1 of 10 pictures, first in picture 10",
        ),
        (255, [np.eye(8) * 300], "from 0 to 255 as in training, got values up to 300"),
        (1, [np.eye(8) * 3], "full_scale=1 or full_scale=16"),
    ],
)
def test_a_range_that_is_not_certain_is_refused(
    trained: float, pictures: list[np.ndarray], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _scale(trained, *pictures)


def test_no_more_pictures_are_needed_once_the_range_is_training_s() -> None:
    found = ValueRange(255)
    found.add([np.zeros((1, 4, 4), np.uint8)])
    assert not found.settled
    found.add([np.full((1, 4, 4), 200, np.uint8)])
    assert found.settled
    shares = ValueRange(255)
    shares.add([np.full((1, 4, 4), 0.75)])
    assert not shares.settled


def test_values_that_no_picture_has_are_left_to_the_form() -> None:
    assert _scale(255, np.full((1, 2, 2), np.nan), np.full((1, 2, 2), 255.0)) == 255


def test_training_of_dark_fractions_is_predicted_by_its_own_range() -> None:
    rng = np.random.default_rng(0)
    trained = full_scale_of(0.001)
    dark = rng.random((1, 8, 8)) / 1000
    assert 0.001 <= trained < 0.002 and _scale(trained, dark) == trained
    assert _scale(trained, rng.random((1, 8, 8))) == 1
    assert _scale(trained, rng.integers(0, 256, (1, 8, 8))) == 255
    with pytest.raises(InputError, match="as the largest value of 1 pictures"):
        _scale(trained, np.eye(8) / 10_000)


@pytest.mark.parametrize(
    ("trained", "largest"), [(1, 0.001), (255, 20), (255, 0.3), (65535, 1000), (0.25, 0.01)]
)
def test_no_choice_is_offered_twice(trained: float, largest: float) -> None:
    with pytest.raises(InputError) as refusal:
        _scale(trained, np.eye(8) * largest)
    choices = re.findall(r"full_scale=([\d.]+)", str(refusal.value))
    assert len(set(choices)) == len(choices) >= 1
    assert all(float(choice) >= largest for choice in choices)
