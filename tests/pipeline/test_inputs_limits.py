"""What readers of arrays, tables and archives refuse or pass over at the edge of what they know."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from cnn_core.errors import InputError
from pipeline.inputs import Hints, contents, open_input, unpacking
from pipeline.inputs.arrays import mat_format
from pipeline.inputs.arrays.arrays import ArraySource
from pipeline.inputs.labels.label_arrays import label_names
from pipeline.inputs.pictures.folder_listing import FolderListing
from pipeline.inputs.pictures.picture_folder import classes_of
from pipeline.inputs.pictures.pictures import _check
from pipeline.inputs.tables import table_columns
from pipeline.inputs.tables.column_values import profile_of
from pipeline.inputs.tables.pixel_names import as_trained, in_order, missing
from pipeline.inputs.tables.pixel_shape import PixelShape, planes_of, shapes
from pipeline.inputs.tables.table_header import split_header

SQUARE = PixelShape(channels=1, height=8, width=8)


def element(kind: int, content: bytes, stated: int | None = None) -> bytes:
    """Return an element of a MATLAB file, padded to 8 bytes."""
    size = len(content) if stated is None else stated
    return struct.pack("<II", kind, size) + content + bytes(-len(content) % 8)


def matlab(path: Path, *arrays: bytes) -> Path:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(head + b"".join(struct.pack("<II", 14, len(a)) + a for a in arrays))
    return path


FLAGS = element(6, struct.pack("<II", 9, 0))  # uint8


def array(shape: tuple[int, ...], values: bytes, stated: int | None = None) -> bytes:
    sizes = element(5, struct.pack(f"<{len(shape)}i", *shape))
    return FLAGS + sizes + element(1, b"x") + element(2, values, stated)[: 8 + len(values)]


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ([FLAGS[:12]], "got its end inside an element in"),
        ([array((-2, 2), b"1234")], r"got an array of the sizes \(-2, 2\) in"),
        ([array((8, 8), b"12345678", 64)], "got its end inside an array in"),
        ([array((1, 8), b"12345678")] * 3, "got more than 2 arrays in"),
    ],
)
def test_matlab_files_that_end_early_or_state_what_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: list[bytes], says: str
) -> None:
    monkeypatch.setattr(mat_format, "_MOST_ARRAYS", 2)
    whole = matlab(tmp_path / "x.mat", array((2, 4), bytes(range(8))))
    found = mat_format.read_mat_arrays(whole, frozenset("x"))["x"]
    assert found.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]  # columns first, as MATLAB stores them
    with pytest.raises(InputError, match=says):
        mat_format.read_mat_arrays(matlab(tmp_path / "y.mat", *arrays), frozenset("x"))


def test_a_shape_of_one_side_and_two_arrays_of_ids_are_refused(tmp_path: Path) -> None:
    images = np.zeros((5, 8, 8), np.uint8)
    np.save(tmp_path / "rows.npy", images.reshape(5, 64))
    with pytest.raises(InputError, match=r"shape must be \[height,width\] or .*, got \[64\]"):
        open_input(tmp_path / "rows.npy", Hints(shape=(64,)))
    np.savez(tmp_path / "x.npz", images=images, id=np.arange(5), ids=np.arange(5))
    with pytest.raises(InputError, match=r"must hold one array of ids, got .*id.*; id=none goes"):
        open_input(tmp_path / "x.npz", Hints())
    assert open_input(tmp_path / "x.npz", Hints(id="none")).count == 5
    (tmp_path / "x.txt").write_text("1 2 3")
    with pytest.raises(InputError, match=r"begin with their own signs, got b'1 2 3' in"):
        ArraySource(tmp_path / "x.txt", Hints())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.zeros(3, complex), "text or whole numbers, got values of complex128"),
        (np.array([["a", "b"]]), r"must be one-hot numbers, got shape \(1, 2\) of <U1"),
        (np.zeros((0, 2)), r"must be one-hot numbers, got shape \(0, 2\)"),
    ],
)
def test_arrays_that_are_no_labels(values: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        label_names(values, "here")


def test_a_folder_of_much_data_is_refused_after_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_MANY_FILES", 2)
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"got files of data \(a\.npy, b\.npy\) in"):
        contents.check_folder(tmp_path)


def test_pictures_deep_in_one_folder_are_of_its_class() -> None:
    names = ["cat/small/1.png", "cat/small/2.png"]
    assert classes_of(names, FolderListing(pictures=names), Path("x")) == ("cat",)


def test_a_picture_without_a_pixel_is_refused() -> None:
    with pytest.raises(InputError, match="at least one pixel, got 0x5 in here"):
        _check(Image.new("L", (0, 5)), "here")


def test_values_that_cannot_be_classes_are_not_all_remembered() -> None:
    many = [str(n) for n in range(1001)]
    found = profile_of([[*many, "7"], ["fresh"]])
    assert (found.rows, found.twice, len(found.values)) == (1003, "7", 1001)


def write_parquet(path: Path, **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([[1] * 64, None], "a row must hold a picture, got none in row 2"),
        (
            [[1] * 64, [1] * 63],
            "must be a square, or have the known shape, got 63",
        ),
        ([[[1, 2], [3, 4]], [[1, 2], [3]]], "a list of pixels must be even, got .* in row 2"),
    ],
)
def test_cells_that_hold_no_picture(tmp_path: Path, cells: list[Any], says: str) -> None:
    path = write_parquet(tmp_path / "x.parquet", image=pa.array(cells))
    with pytest.raises(InputError, match=says):
        list(open_input(path, Hints()).blocks(10))


def test_a_parquet_table_without_a_row_and_one_with_labels_beside(tmp_path: Path) -> None:
    empty = write_parquet(tmp_path / "e.parquet", pixel0=pa.array([], pa.uint8()))
    with pytest.raises(InputError, match="a table must hold at least one row, got none in"):
        open_input(empty, Hints())
    path = write_parquet(tmp_path / "x.parquet", image=pa.array([[k] * 64 for k in range(3)]))
    (tmp_path / "labels.txt").write_text("cat\ndog\ncat\n")
    source = open_input(path, Hints(labels=tmp_path / "labels.txt"))
    assert [block.labels for block in source.blocks(10)] == [("cat", "dog", "cat")]
    assert "; labels: " in source.understood


def test_names_of_pixels_that_tell_no_order() -> None:
    names = ["r0", "r1", "g0"]  # colours of different numbers
    assert in_order(names, [2, 0, 1], SQUARE, "here") == [2, 0, 1]
    assert as_trained(["b", "a"], [1, 0], ["a", "b"], "here") == ([1, 0], "")
    assert missing([f"p{n}" for n in (0, 1, 3)], [0, 1, 2]) == ["p2"]
    assert missing([f"p{n}" for n in (0, 50, 99)], [0, 1, 2]) == []


def test_shapes_of_lists_of_pixels() -> None:
    with pytest.raises(InputError, match=r"or channels, height and width, got \[1, 2, 3, 4\]"):
        shapes(24, (1, 2, 3, 4))
    last = np.arange(90).reshape(6, 5, 3)
    np.testing.assert_array_equal(planes_of(last, Hints(), "here")[2], last[:, :, 2])
    first = np.arange(60).reshape(3, 4, 5)
    np.testing.assert_array_equal(planes_of(first, Hints(), "here"), first)
    for values, says in (
        (np.zeros(63), "must be a square, or have the known shape, got 63 in here"),
        (np.zeros((1, 1, 1, 1)), "must be a square, or have the known shape, got 1x1x1x1"),
        (np.zeros(48), "the order of a list's colours must be known, got 48 values in here"),
    ):
        with pytest.raises(InputError, match=says):
            planes_of(values, Hints(), "here")


def test_cells_parted_by_blanks_are_read_with_one_sign_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_columns, "BLOCK_BYTES", 8)  # so that the text comes in two parts
    text = b"1   2 3\n\t4 5 6 \n7 8 9"
    stream = table_columns._ByUnits(io.BytesIO(text))
    parts = list(iter(lambda: stream.read(4), b""))
    assert b"".join(parts).split(b"\n") == [b"1\x1f2\x1f3", b"4\x1f5\x1f6", b"7\x1f8\x1f9", b""]
    monkeypatch.setattr(table_columns, "LONGEST_LINE", 7)
    with pytest.raises(table_columns.FaultyTableError, match="too long a line"):
        table_columns._ByUnits(io.BytesIO(text)).readall()


def test_columns_that_are_two_pictures_and_lines_of_other_lengths(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (30, 49))
    np.savetxt(tmp_path / "x.csv", values, "%d", ",")
    with pytest.raises(InputError, match=r"several that fit \(.* and 0 more columns or .* and 1"):
        open_input(tmp_path / "x.csv", Hints())
    values = values[:, :17] / 256  # fractions are no classes and no ids
    values[:, 1:-1] = np.rint(255 * values[:, 1:-1])
    np.savetxt(tmp_path / "y.csv", values, "%.6g", ",")
    with pytest.raises(
        InputError, match=r"none of them can be \(columns first, last were tried\) in"
    ):
        open_input(tmp_path / "y.csv", Hints())
    rows = [["1", "2", "9"], ["4", "5"], ["7", "8", "3"]]
    assert split_header(rows, "here") == (None, rows)


def two_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "2")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (two_files, "must hold one file to be read as it is, got 2 files in"),
        (
            lambda path: path.write_bytes(gzip.compress(bytes(5000))),
            "compressed data may grow at most 2 times, got more after 5,000 bytes",
        ),
    ],
)
def test_archives_that_cannot_be_read_as_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Any], says: str
) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 100)
    monkeypatch.setattr(unpacking, "MAX_RATIO", 2)
    write(tmp_path / "x")
    with pytest.raises(InputError, match=says), unpacking.open_unpacked(tmp_path / "x") as stream:
        stream.read()
