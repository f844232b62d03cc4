"""How the labels of a file are joined with pictures that have no names."""

import pytest

from cnn_core.errors import InputError
from pipeline.inputs.labels.label_files import LabelFile

WAY = "`id`=no"  # as a message says how to take an index that nobody named


def file(*ids: str, index_way: str = "") -> LabelFile:
    """Labels a, b, c, ... of these ids."""
    return LabelFile(ids or None, tuple("abcdefgh"[: len(ids) or 3]), "labels.csv", index_way)


@pytest.mark.parametrize(
    ("ids", "labels", "how"),
    [
        ((), "abc", "in order"),
        (("0", "1", "2"), "abc", "by number"),
        (("1", "2", "3"), "abc", "by number"),
        (("2", "0", "1"), "bca", "by number"),
        (("3", "1", "2"), "bca", "by number"),
        (("3.0", "1.0", "2.0"), "bca", "by number"),
    ],
)
def test_ids_that_count_from_zero_or_one_tell_the_order(
    ids: tuple[str, ...], labels: str, how: str
) -> None:
    assert file(*ids).counted("x.npy") == (tuple(labels), how)
    assert file(*ids).in_order(3, "x.npy") == (tuple(labels), how)


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (("2", "3", "4"), "'2', '3', '4' for"),
        (("0", "1", "3"), "'0', '1', '3' for"),
        (("0", "1", "1"), "'0', '1', '1' for"),
        (("a", "0", "1"), "'a', '0', '1' for"),
        (("-1", "0", "1"), "'-1', '0', '1' for"),
        (("1", "2", "3", "5"), "'1', '2', '3', ... for"),
        (("9" * 5000, "1"), "'9{5000}', '1' for"),
    ],
)
def test_ids_that_do_not_count_are_refused(ids: tuple[str, ...], shown: str) -> None:
    with pytest.raises(InputError, match=rf"from 0 or 1, got {shown} x.npy \(labels.csv\)"):
        file(*ids).counted("x.npy")


def test_an_index_that_nobody_named_may_rise_and_nothing_else() -> None:
    assert file("3", "7", "20", index_way=WAY).counted("x.npy") == (("a", "b", "c"), "in order")
    with pytest.raises(InputError, match=rf"does not rise .*in order, {WAY} by these numbers"):
        file("1", "0", "2", index_way=WAY).counted("x.npy")
    with pytest.raises(InputError, match="in order, say so by these numbers"):
        file("1", "0", "2", index_way=WAY).counted("x.npy", "say so")


def test_names_of_the_pictures_come_before_numbers() -> None:
    labels = file("1", "0", "2")
    assert labels.in_order(3, "x", ("0", "2", "1")) == (("b", "c", "a"), "by id")
    assert labels.in_order(3, "x", ("0", "1", "9")) == (("b", "a", "c"), "by number")
    with pytest.raises(InputError, match=r"got 4 images in x.npy and 3 labels \(labels.csv\)"):
        labels.in_order(4, "x.npy")
