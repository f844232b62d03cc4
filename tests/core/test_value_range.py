"""What stands for white: found where the values say it with certainty, else refused."""

import numpy as np
import pytest

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
