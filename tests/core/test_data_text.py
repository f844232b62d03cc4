"""Rows of numbers: text and CSV, and refusals that name the file and the line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cnn_core.data.text import ROWS_AT_ONCE, images_of, read_table
from cnn_core.errors import InputError


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "rows.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@given(
    arrays(np.uint8, (3, 9)),
    st.sampled_from([" ", "  ", "\t", ","]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(max_examples=30)
def test_a_contest_file_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, separator: str, newline: str, last: bool
) -> None:
    text = newline.join(separator.join(map(str, row)) for row in rows) + (newline if last else "")
    images = images_of(read_table(written(tmp_path_factory.getbasetemp(), text)), None, 1)[0]
    np.testing.assert_array_equal(images, rows.reshape(3, 1, 3, 3))


def test_more_rows_than_are_read_at_once(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (2 * ROWS_AT_ONCE + 3, 4))
    path = written(tmp_path, "\n".join(" ".join(map(str, row)) for row in rows))
    np.testing.assert_array_equal(read_table(path).values, rows)


def test_a_contests_training_file(tmp_path: Path) -> None:
    path = written(tmp_path, "label,pixel0,pixel1,pixel2,pixel3\n5,0,1,2,255\n0,9,8,7,6\n")
    table = read_table(path, ",")
    assert table.header == ("label", "pixel0", "pixel1", "pixel2", "pixel3")
    images, labels = images_of(table, 0, 10)
    np.testing.assert_array_equal(labels, [5, 0])
    np.testing.assert_array_equal(images, [[[[0, 1], [2, 255]]], [[[9, 8], [7, 6]]]])


def test_labels_may_stand_last_and_headers_be_absent(tmp_path: Path) -> None:
    images, labels = images_of(read_table(written(tmp_path, "1,2,3,4,7\n5,6,7,8,9\n"), ","), 4, 10)
    np.testing.assert_array_equal(labels, [7, 9])
    np.testing.assert_array_equal(images[0].ravel(), [1, 2, 3, 4])


def test_a_byte_order_mark_and_whole_floats_are_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        read_table(written(tmp_path, b"\xef\xbb\xbf1.0 2\n3 4.\n")).values, [[1, 2], [3, 4]]
    )


BAD: dict[str, tuple[str | bytes, str]] = {
    "empty file": ("", r"line 1: must be a row of numbers or a header, got none"),
    "empty first line": (
        "\n1 2 3 4\n",
        r"line 1: must be a row of numbers or a header, got an empty line",
    ),
    "header alone": ("a,b,c,d\n", r"line 2: must hold at least one row of numbers"),
    "width": ("1 2 3 4\n1 2 3\n", r"line 2: rows must have 4 numbers as the first one, got 3"),
    "word": ("1 2 3 4\n1 2 x 4\n", r"line 2, column 3: must be a whole number, got 'x'"),
    "fraction": ("1 2 3 4\n1 2 3.5 4\n", r"line 2, column 3: must be a whole number, got '3.5'"),
    "nan": ("1 2 3 4\n1 nan 3 4\n", r"line 2, column 2: must be a whole number, got 'nan'"),
    "exponent": (
        "1 2 3 4\n1 1e400 3 4\n",
        r"line 2, column 2: must be a whole number, got '1e400'",
    ),
    "empty cell": ("1,2,3,4\n1,,3,4\n", r"line 2, column 2: must be a whole number, got ''"),
    "huge": ("1 2 3 4\n1 2 3 9999999999\n", r"line 2, column 4: must be a whole number"),
    "hole": ("1 2 3 4\n\n1 2 3 4\n", r"line 3: rows must follow each other without empty lines"),
    "dark": ("1 2 3 4\n1 2 3 -4\n", r"line 2, pixel 4: must be from 0 to 255, got -4"),
    "bright": ("1 2 3 4\n1 256 3 4\n", r"line 2, pixel 2: must be from 0 to 255, got 256"),
    "no square": ("1 2 3\n", r"a row must be a square image such as 784 = 28 x 28, got 3"),
    "bytes": (b"1 2 \xff 4\n", r"offset 4: must be UTF-8 text, got byte 0xff"),
    "endless line": ("1 " * (1 << 20), r"line 1: a line may have at most 1,048,576 characters"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    text, message = BAD[name]
    with pytest.raises(InputError, match=rf"rows\.txt: {message}"):
        images_of(read_table(written(tmp_path, text)), None, 1)


def test_a_late_mistake_is_named_with_its_own_line(tmp_path: Path) -> None:
    path = written(tmp_path, "1 2 3 4\n" * (ROWS_AT_ONCE + 10) + "1 2 3 oops\n")
    with pytest.raises(
        InputError, match=rf"line {ROWS_AT_ONCE + 11}, column 4: must be a whole number, got 'oops'"
    ):
        read_table(path)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (9, r"the label column must be from 0 to 4, got 9"),
        (1, r"line 3: labels must be from 0 to 9, got 77"),
    ],
)
def test_label_columns_that_are_none(tmp_path: Path, column: int, message: str) -> None:
    path = written(tmp_path, "label,a,b,c,d\n5,1,2,3,4\n5,77,2,3,4\n")
    with pytest.raises(InputError, match=message):
        images_of(read_table(path, ","), column, 10)


@given(st.text(max_size=80))
@settings(max_examples=150)
def test_arbitrary_text_never_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = written(tmp_path_factory.getbasetemp(), text.encode("utf-8", "surrogatepass"))
    try:
        assert read_table(path).values.dtype == np.int32
    except InputError as error:
        assert str(path) in str(error)
