"""What a column's values say, at the borders where the answer changes."""

from collections.abc import Sequence

import pytest

from pipeline.inputs.tables.column_values import Profile, profile_of


def profile(cells: Sequence[object]) -> Profile:
    return profile_of([[str(cell) for cell in cells]])


@pytest.mark.parametrize(("classes", "may"), [(1000, True), (1001, False)])
def test_labels_have_at_most_a_thousand_classes(classes: int, may: bool) -> None:
    assert profile([*range(classes), *range(classes)]).can_be_label([]) is may


def test_from_twenty_rows_on_labels_come_twice_on_average() -> None:
    assert profile([*range(10), *range(10)]).can_be_label([])
    assert not profile([*range(11), *range(9)]).can_be_label([])
    assert profile(range(19)).can_be_label([])  # fewer say nothing


def test_labels_are_of_the_known_classes() -> None:
    cells = ["a", "b"] * 10
    assert profile(cells).can_be_label(["a", "b", "c"])
    assert not profile(cells).can_be_label(["a", "c"])


def test_a_constant_column_is_told_from_twenty_rows_on() -> None:
    assert not profile([7] * 19).constant and profile([7] * 20).constant
    assert not profile([7] * 20 + [8]).constant
    assert [profile([value] * 20).empty_ground for value in (0, 1, 255, 2)] == [True] * 3 + [False]


@pytest.mark.parametrize(
    ("cells", "counts"),
    [
        ((0, 1, 2), True),
        ((1, 2, 3), True),
        ((2, 3, 4), False),
        ((0, 1, 3), False),
        ((0, 2, 1), False),
        ((0, 1, 1), False),
        (("0.0", "1.0"), True),
        ((0, 0.5, 1), False),
    ],
)
def test_a_column_counts_its_rows_from_0_or_1(cells: Sequence[object], counts: bool) -> None:
    assert profile(cells).counts is counts


def test_an_id_never_comes_twice_and_is_whole_or_a_text() -> None:
    assert profile(["a", "b"]).can_be_id and profile([3, 1]).can_be_id
    assert not profile(["a", "a"]).can_be_id and not profile([0.5, 1.5]).can_be_id
    assert profile_of([["a", " b"], ["c", "b "]]).twice == "b"


def test_a_column_is_a_text_where_half_of_its_values_are_no_numbers() -> None:
    assert profile(["a", 1]).text and not profile(["a", 1, 2]).text


def test_pixels_are_within_the_range_that_the_others_reach() -> None:
    assert profile([0, 255]).can_be_pixel(200.0) and not profile([0, 256]).can_be_pixel(200.0)
    assert not profile([-1, 3]).can_be_pixel(200.0) and not profile(["a", "b"]).can_be_pixel(9.0)
    assert profile([0, 1] * 10).can_be_pixel(1.0) and not profile([0, 2] * 10).can_be_pixel(1.0)
