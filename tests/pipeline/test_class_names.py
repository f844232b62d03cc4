"""Labels are names, in an order that people expect."""

import pytest

from cnn_core.errors import InputError
from pipeline.inputs.labels.labels import class_names, class_numbers, label_text
from pipeline.inputs.pictures.folder_listing import in_order
from pipeline.predictions.class_columns import class_columns

E, E_MARK = "\u00e9t\u00e9", "e\u0301te\u0301"  # alike to the eye, as macOS writes the second


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ("10 9 2 10", ("2", "9", "10")),
        ("3 -1 0", ("-1", "0", "3")),
        ("dog cat dog", ("cat", "dog")),
        ("img10 img2", ("img2", "img10")),
        ("01 1 2", ("01", "1", "2")),
    ],
)
def test_their_order(labels: str, names: tuple[str, ...]) -> None:
    assert class_names(labels.split(), "x") == names


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["cat"] * 5, "at least 2 classes, got cat alone"),
        ([str(k // 2) for k in range(2002)], "at most 1000 classes, got 1001"),
        ([str(k) for k in range(30)] * 1 + ["0"], "two pictures each in the mean, got 30 classes"),
    ],
)
def test_what_is_no_set_of_classes(labels: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        class_names(labels, "x")


def test_numbers_are_places_in_the_names() -> None:
    assert class_numbers(["b", "a", "b"], ("a", "b"), "x").tolist() == [1, 0, 1]
    with pytest.raises(InputError, match=r"got 'c' at picture 2 of x"):
        class_numbers(["b", "c"], ("a", "b"), "x")
    assert label_text(" 3.0 ") == "3" and label_text("3.5") == "3.5" and label_text("007") == "007"


def test_a_class_is_one_in_any_form_of_unicode() -> None:
    assert class_numbers([E_MARK, E, "z"], ("z", E), "x").tolist() == [1, 1, 0]
    assert class_numbers([E], ("z", E_MARK), "x").tolist() == [1]
    assert class_columns((f"p_{E_MARK}", "p_z"), ("z", E), "x") == (1, 0)
    with pytest.raises(InputError, match=r"one form of Unicode, got .* at pictures 1 and 3 of x"):
        class_names([E, "z", E_MARK, "z"], "x")


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("0.000000000000000000e+00", "0"),
        ("1.200000000000000000e+01", "12"),
        ("-3.0E+00", "-3"),
        ("3.e+00", "3"),
        ("-0.0", "0"),
        ("-0.000000000000000000e+00", "0"),
        ("1.250000000000000000e+01", "1.250000000000000000e+01"),
        ("1.0e+99", "1.0e+99"),
        ("1e5", "1e5"),
        ("1E+05", "1E+05"),
    ],
)
def test_a_whole_number_is_a_class_however_a_float_was_written(cell: str, label: str) -> None:
    assert label_text(cell) == label


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "NA", "<NA>", "null"])
def test_a_label_that_is_missing_among_numbers_is_no_class(word: str) -> None:
    said = rf"must not be missing, got '{word}' among numbers in picture 3 of x"
    for other in ("0", "0.5", "1e5"):
        with pytest.raises(InputError, match=said):
            class_names([other, other, word, "1"], "x")
    assert {*class_names(["fr", "1", word, "fr"], "x")} == {"fr", "1", word}


def test_names_of_more_digits_than_python_takes_for_a_number_are_in_order() -> None:
    """Python refuses to make a number of more than 4,300 digits."""
    long = "1" + "0" * 5000
    assert class_names(["10", long, "9"], "x") == ("9", "10", long)
    assert class_names(["a10", f"a{long}", "a9", "a010"], "x") == ("a9", "a010", "a10", f"a{long}")


def test_names_that_differ_in_leading_zeros_have_one_order() -> None:
    names = ["a10", "a010", "a0010", "a2", "b1", "1", "01", "a2/10", "a2/010", "a02/3"]
    wanted = ["01", "1", "a02/3", "a2", "a2/010", "a2/10", "a0010", "a010", "a10", "b1"]
    assert in_order(names) == in_order(names[::-1]) == wanted
