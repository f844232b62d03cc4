"""Arrays of pictures: what NumPy and SciPy write is read in every usual shape and type, block by
block; what can be read in two ways, or is hostile, is refused.
"""

import gzip
import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from cnn_core.errors import InputError
from pipeline.inputs import Hints, InputSource
from pipeline.inputs.arrays.arrays import ArraySource
from pipeline.inputs.arrays.idx_files import IdxSource

COUNT = 11
GREY = np.random.default_rng(0).integers(0, 256, (COUNT, 9, 8), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (COUNT, 3, 9, 8), dtype=np.uint8)
LABELS = np.arange(COUNT) % 4 + 5
NAMES = [str(label) for label in LABELS]


def _read(source: InputSource, size: int = 4) -> tuple[np.ndarray, list[str], list[str]]:
    blocks = list(source.blocks(size))
    assert all(len(block.ids) == len(block.pictures) <= size for block in blocks)
    assert source.count == sum(len(block.ids) for block in blocks)
    labels = [label for block in blocks for label in block.labels or ()]
    pictures = np.concatenate([np.asarray(block.pictures) for block in blocks])
    return pictures, [name for block in blocks for name in block.ids], labels


def _refused(
    path: Path,
    match: str,
    kind: Callable[[Path, Hints], InputSource] = ArraySource,
    **hints: object,
) -> None:
    with pytest.raises(InputError, match=match) as caught:
        _read(kind(path, Hints(**hints)))
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


SHAPES: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "planes": (GREY, GREY[:, None]),
    "one channel": (GREY[:, None], GREY[:, None]),
    "one channel last": (GREY[..., None], GREY[:, None]),
    "colour": (COLOUR, COLOUR),
    "colour last": (COLOUR.transpose(0, 2, 3, 1), COLOUR),
    "fortran": (np.asfortranarray(COLOUR), COLOUR),
    "square rows": (GREY[:, :8].reshape(COUNT, 64), GREY[:, None, :8]),
    "rows in a column": (GREY[:, :8].reshape(COUNT, 64, 1), GREY[:, None, :8]),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
@pytest.mark.parametrize("packed", [False, True])
def test_every_shape_gives_the_same_pictures(name: str, packed: bool, tmp_path: Path) -> None:
    written, expected = SHAPES[name]
    path = tmp_path / "x.npz" if packed else tmp_path / "x.npy"
    if packed:
        np.savez_compressed(path, images=written)
    else:
        np.save(path, written)
    source = ArraySource(path, Hints())
    for _ in range(2):  # it can be read again
        found, ids, labels = _read(source)
        np.testing.assert_array_equal(found, expected)
        assert ids == [str(n) for n in range(1, COUNT + 1)] and labels == []


@pytest.mark.parametrize("dtype", ["uint16", ">u2", "int64", "float32", ">f8", "bool", "float16"])
def test_every_type_keeps_its_values(dtype: str, tmp_path: Path) -> None:
    values = (GREY % 2 if dtype == "bool" else GREY).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    found, _, _ = _read(ArraySource(tmp_path / "x.npy", Hints()))
    assert found.dtype.kind == np.dtype(dtype).kind
    np.testing.assert_array_equal(found[:, 0], values)


def test_transparency_is_laid_on_paper(tmp_path: Path) -> None:
    alpha = np.zeros((COUNT, 1, 9, 8), np.uint8)
    np.save(tmp_path / "x.npy", np.concatenate([COLOUR // 2, alpha], axis=1))
    found, _, _ = _read(ArraySource(tmp_path / "x.npy", Hints()))
    assert found.shape == COLOUR.shape and (found == 255).all()


def test_rows_take_the_shape_that_is_given(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", GREY.reshape(COUNT, -1))
    found, _, _ = _read(ArraySource(tmp_path / "x.npy", Hints(shape=(9, 8))))
    np.testing.assert_array_equal(found[:, 0], GREY)
    _refused(tmp_path / "x.npy", r"square image, grey or colour, or shape .* got 72 values")
    _refused(tmp_path / "x.npy", r"64 values \(shape \[8, 8\]\), got 72", shape=(8, 8))
    np.save(tmp_path / "x.npy", COLOUR.transpose(0, 2, 3, 1).reshape(COUNT, -1))
    found, _, _ = _read(ArraySource(tmp_path / "x.npy", Hints(shape=(9, 8, 3))))
    np.testing.assert_array_equal(found, COLOUR)


def test_the_order_of_colours_in_a_row_is_told_by_the_pictures(tmp_path: Path) -> None:
    y, x = np.mgrid[0:16, 0:16]
    smooth = np.stack([8 * y + 4 * x, 255 - 9 * y, 40 + 10 * x + 0 * y]).astype(np.uint8)
    pictures = np.stack([smooth, smooth[::-1], smooth[:, ::-1]])
    for rows in (pictures.reshape(3, -1), pictures.transpose(0, 2, 3, 1).reshape(3, -1)):
        np.save(tmp_path / "x.npy", rows)
        np.testing.assert_array_equal(_read(ArraySource(tmp_path / "x.npy", Hints()))[0], pictures)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (9, 768)))
    _refused(tmp_path / "x.npy", r"give shape=\[3,16,16\] or shape=\[16,16,3\]")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64, 64), r"got shape \(64, 64\) .*one picture alone\? add an axis"),
        ((40, 30, 3), r"got shape \(40, 30, 3\) .*one colour picture alone"),
        ((7, 3, 5, 3), "first or its last axis: give shape"),
        ((7, 5, 6, 2), "1, 3 or 4 channels"),
        ((7,), r"got shape \(7,\)"),
        ((0, 8, 8), "hold at least one"),
        ((2, 2, 2, 2, 2), "an array of images must be"),
    ],
)
def test_shapes_that_are_not_certain(shape: tuple[int, ...], message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    _refused(tmp_path / "x.npy", message)
    if shape == (7, 3, 5, 3):
        first = ArraySource(tmp_path / "x.npy", Hints(shape=(3, 5, 3)))
        last = ArraySource(tmp_path / "x.npy", Hints(shape=(3, 3, 5)))
        assert "channels first" in first.understood and "channels last" in last.understood


HOT = (LABELS[:, None] - 5 == np.arange(4)).astype(np.float32)
LABEL_FORMS = {
    "numbers": (LABELS, NAMES),
    "a column": (LABELS[:, None], NAMES),
    "floats": (LABELS.astype(np.float64), NAMES),
    "text": (np.array(NAMES), NAMES),
    "bytes": (np.array(NAMES, dtype="S3"), NAMES),
    "one-hot": (HOT, [str(n) for n in LABELS - 5]),
    "negative": (LABELS - 7, [str(n) for n in LABELS - 7]),
}


@pytest.mark.parametrize("name", sorted(LABEL_FORMS))
def test_every_form_of_labels(name: str, tmp_path: Path) -> None:
    written, expected = LABEL_FORMS[name]
    np.savez(tmp_path / "x.npz", images=GREY, labels=written)
    assert _read(ArraySource(tmp_path / "x.npz", Hints(need_labels=True)))[2] == expected
    np.save(tmp_path / "images.npy", GREY)
    np.save(tmp_path / "labels.npy", written)
    hints = Hints(labels=tmp_path / "labels.npy", need_labels=True)
    assert _read(ArraySource(tmp_path / "images.npy", hints))[2] == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS[:-1], "as many, got 11 images and 10 labels"),
        (LABELS + 0.5, "text or whole numbers, got 5.5 at label 1"),
        (np.full(COUNT, np.nan), "text or whole numbers, got nan at label 1"),
        (np.zeros((COUNT, 4)), "exactly one 1 a row .* row 1"),
        (np.ones((COUNT, 4)), "exactly one 1 a row"),
        (np.array([*NAMES[:-1], " "]), "must not be empty, got none at label 11"),
    ],
)
def test_labels_that_are_none(labels: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=GREY, labels=labels)
    _refused(tmp_path / "x.npz", message)
    assert _read(ArraySource(tmp_path / "x.npz", Hints(label="none")))[2] == []


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("x_train", "y_train"),
        ("X", "y"),
        ("images", "labels"),
        ("trainImages", "trainLabels"),
        ("test_images", "test_labels"),
        ("data", "target"),
        ("arr_0", "arr_1"),
        ("arr_1", "arr_0"),
        ("first", "second"),
    ],
)
def test_arrays_are_found_by_name_or_by_shape(images: str, labels: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **{images: GREY, labels: LABELS})
    source = ArraySource(tmp_path / "x.npz", Hints(need_labels=True))
    found, _, names = _read(source)
    np.testing.assert_array_equal(found[:, 0], GREY)
    assert names == NAMES
    assert f"images: array '{images}'; labels: array '{labels}'" in source.understood


def test_archives_that_hold_training_and_test(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=GREY, y_train=LABELS, x_test=GREY[:5], y_test=LABELS[:5])
    training = ArraySource(path, Hints(need_labels=True))
    assert training.count == COUNT and _read(training)[2] == NAMES
    assert "not used: x_test, y_test" in training.understood
    _refused(path, "give images_key .* one of x_test, x_train, y_test, y_train")
    told = ArraySource(path, Hints(images_key="x_test"))
    assert told.count == 5 and _read(told)[2] == NAMES[:5]
    _refused(path, "images_key=x_tset must be one of .*did you mean", images_key="x_tset")
    np.savez(path, r_train=GREY, y_train=LABELS, r_test=GREY[:5], y_test=LABELS[:5])
    assert _read(ArraySource(path, Hints(need_labels=True)))[2] == NAMES
    np.savez(path, a=GREY, b=GREY, c=LABELS, d=LABELS)
    _refused(path, "give images_key")
    _refused(path, "give labels_key, one of c, d", images_key="a")
    assert _read(ArraySource(path, Hints(images_key="b", labels_key="d")))[2] == NAMES
    np.savez(path, images=GREY, ids=np.arange(COUNT) + 100)
    _refused(path, "labels, a file of them, or labels_key", need_labels=True)
    found = ArraySource(path, Hints())
    assert "ids: array 'ids'" in found.understood and found.id_name == "id"
    assert next(found.blocks(2)).ids == ("100", "101")
    assert "not used: ids" in ArraySource(path, Hints(id="none")).understood


def test_ids_in_a_file_of_labels_count_the_images(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", GREY)
    table = tmp_path / "labels.csv"
    order = np.random.default_rng(3).permutation(COUNT)
    for first in (0, 1):
        table.write_text("\n".join(["id,label", *(f"{n + first},{NAMES[n]}" for n in order)]))
        assert _read(ArraySource(tmp_path / "x.npy", Hints(labels=table)))[2] == NAMES
    table.write_text("\n".join(["id,label", *(f"{n + 7},{NAMES[n]}" for n in order)]))
    _refused(
        tmp_path / "x.npy", "must count the images, which have none, from 0 or 1", labels=table
    )
    table.write_text("\n".join(NAMES[:-1]))
    _refused(tmp_path / "x.npy", "as many, got 11 images .* and 10 labels", labels=table)


def _header(descr: str, shape: str) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


HOSTILE = {
    "no size": (_header("'S0'", "(-1,)"), "plain numbers or text"),
    "no size, no shape": (_header("'|S0'", "(9, 8, 8)"), "plain numbers or text"),
    "negative": (_header("'|u1'", "(-1, 8, 8)") + bytes(64), "plain numbers or text"),
    "endless": (_header("'|u1'", f"({10**30}, 8, 8)") + bytes(64), "as long as its header says"),
    "many axes": (_header("'|u1'", f"({'1, ' * 200})") + b"\0", "plain numbers or text"),
    "long number": (_header("'|u1'", "(" + "9" * 3900 + ",)"), "as long as its header"),
    "wide text": (_header("'|S99999999999999999999'", "(1,)"), "header must give|plain numbers"),
    "short": (_header("'|u1'", "(2, 8, 8)") + bytes(100), "needs 128 bytes, got 100"),
    "long": (_header("'|u1'", "(2, 8, 8)") + bytes(129), "needs 128 bytes, got 129"),
    "objects": (_header("'|O'", "(1,)") + b"x", "no objects"),
    "cut header": (_header("'|u1'", "(2, 8, 8)")[:30], "header must give"),
    "version": (b"\x93NUMPY\x01\x2d" + _header("'|u1'", "(1, 8, 8)")[8:] + bytes(64), "version 1"),
    "cut start": (b"\x93NUMPY\x01", "begins with 93 'NUMPY'"),
    "one number": (_header("'|u1'", "()") + b"x", "got one number"),
    "text": (_header("'|S1'", "(2, 8, 8)") + bytes(128), "images must be numbers, got"),
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_headers_are_refused_before_anything_is_mapped(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    (tmp_path / "x.npy").write_bytes(content)
    _refused(tmp_path / "x.npy", message)


def test_hostile_archives_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, images=np.array([{"a": 1}], dtype=object))
    _refused(path, "no objects")
    content = io.BytesIO()
    np.save(content, GREY)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.npy", content.getvalue())
    _refused(path, "inside the archive")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", _header("'|u1'", "(2, 8, 8)")[:8] + b"\x60\xea" + bytes(99))
    _refused(path, "header may have at most")
    np.savez(path, images=GREY)
    damaged = bytearray(path.read_bytes())
    damaged[300] ^= 1
    path.write_bytes(bytes(damaged))
    _refused(path, "Bad CRC-32")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((3000, 96, 96), np.uint8))  # 27 MB
    np.save(tmp_path / "x.npy", np.zeros((3000, 96, 96), np.uint8))
    for path in (tmp_path / "x.npz", tmp_path / "x.npy"):
        tracemalloc.start()
        assert sum(len(b.ids) for b in ArraySource(path, Hints()).blocks(64)) == 3000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4e6, path


def test_pictures_on_the_last_axis_are_refused_where_their_size_is_known(tmp_path: Path) -> None:
    """(H, W, N) would be H pictures of W x N, and as many answers."""
    np.save(tmp_path / "x.npy", np.zeros((28, 28, 80), np.uint8))
    for shape in ((1, 28, 28), (28, 28), (28, 28, 1)):
        with pytest.raises(InputError, match="on the last axis"):
            ArraySource(tmp_path / "x.npy", Hints(shape=shape))
    np.save(tmp_path / "x.npy", np.zeros((80, 28, 28), np.uint8))
    assert ArraySource(tmp_path / "x.npy", Hints(shape=(1, 28, 28))).count == 80


def test_one_colour_picture_alone_is_not_taken_for_grey_ones(tmp_path: Path) -> None:
    """It would have an answer for each of its colours, or for each of its rows."""
    path = tmp_path / "x.npy"
    trained = Hints(shape=(3, 8, 8), class_names=("a", "b"))
    for shape in ((3, 8, 8), (8, 8, 3), (8, 8, 4), (3, 30, 20)):
        np.save(path, np.zeros(shape, np.uint8))
        with pytest.raises(InputError, match=r"colour pictures are expected \(3x8x8\): one alone"):
            ArraySource(path, trained)
        np.savez(tmp_path / "x.npz", x=np.zeros(shape, np.uint8))
        with pytest.raises(InputError, match=r"add an axis in front, x\[None\]; grey ones"):
            ArraySource(tmp_path / "x.npz", trained)
        np.save(path, np.zeros((1, *shape), np.uint8))
        assert ArraySource(path, trained).count == 1
    for shape in ((3, 1, 8, 8), (5, 8, 8)):
        np.save(path, np.zeros(shape, np.uint8))
        assert ArraySource(path, trained).count == shape[0]
    np.save(path, np.zeros((3, 8, 8), np.uint8))
    assert ArraySource(path, Hints(shape=(1, 8, 8), class_names=("a", "b"))).count == 3


def test_matlab_files_with_the_pictures_along_the_last_axis(tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    savemat(path, {"X": COLOUR.transpose(2, 3, 1, 0), "y": LABELS[:, None].astype(np.uint8)})
    source = ArraySource(path, Hints(need_labels=True))
    found, _, labels = _read(source)
    np.testing.assert_array_equal(found, COLOUR)
    assert labels == NAMES and "along the last axis of (9, 8, 3, 11)" in source.understood
    savemat(path, {"X": COLOUR.transpose(2, 3, 1, 0)})
    np.testing.assert_array_equal(_read(ArraySource(path, Hints()))[0], COLOUR)
    savemat(path, {"images": GREY, "labels": LABELS}, do_compression=True)
    found, _, labels = _read(ArraySource(path, Hints()))
    np.testing.assert_array_equal(found[:, 0], GREY)
    assert labels == NAMES
    savemat(path, {"data": GREY[:, :8].reshape(COUNT, 64).T, "target": LABELS.astype(float)})
    np.testing.assert_array_equal(_read(ArraySource(path, Hints()))[0][:, 0], GREY[:, :8])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", "bool"]
)
def test_matlab_files_keep_their_values(dtype: str, packed: bool, tmp_path: Path) -> None:
    values = (GREY / 2).astype(dtype)
    savemat(tmp_path / "x.mat", {"images": values, "note": "text"}, do_compression=packed)
    found, _, labels = _read(ArraySource(tmp_path / "x.mat", Hints(shape=(9, 8))))
    np.testing.assert_array_equal(found[:, 0], values)
    assert labels == []


def test_damaged_matlab_files_end_in_a_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x.mat"
    for packed in (False, True):
        savemat(path, {"X": GREY, "y": LABELS, "s": {"a": 1}}, do_compression=packed)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        refused = 0
        for _ in range(300):  # SciPy's own reader ends by a signal on some of these
            damaged = whole.copy()
            damaged[rng.integers(124, len(whole), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            try:
                _read(ArraySource(path, Hints()))
            except InputError:
                refused += 1
        assert refused > 30


def test_matlab_files_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    savemat(path, {"X": np.zeros((8, 8, 8)), "y": np.arange(8)})
    _refused(path, "first or the last axis .* give shape")
    savemat(path, {"X": np.zeros((9, 9, 20))})
    _refused(path, "first or the last axis .* give shape")
    assert ArraySource(path, Hints(shape=(1, 9, 9))).count == 20
    savemat(path, {"X": np.zeros((9, 9, 20)), "y": np.arange(7)})
    _refused(path, "as many")
    savemat(path, {"s": {"a": 1}, "c": np.array([[1], "b"], dtype=object)})
    _refused(path, "no text, cells, structures or objects, got c, s")
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(600, b"\0"))
    _refused(path, "version 7.3")
    savemat(path, {"X": GREY, "y": LABELS})
    whole = path.read_bytes()
    for cut in (130, 200, len(whole) - 40):
        path.write_bytes(whole[:cut])
        _refused(path, "a MATLAB file must")


def _idx(values: np.ndarray, code: int = 8) -> bytes:
    return (
        bytes((0, 0, code, values.ndim))
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(values.dtype.newbyteorder(">")).tobytes()
    )


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        ("emnist-letters-train-images-idx3-ubyte", "emnist-letters-train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"),
        (
            "train-images-idx3-ubyte/train-images-idx3-ubyte",
            "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
        ),
        (
            "train-images.idx3-ubyte/train-images.idx3-ubyte",
            "train-labels.idx1-ubyte/train-labels.idx1-ubyte",
        ),
    ],
)
def test_labels_beside_an_idx_file_under_the_public_names(
    images: str, labels: str, tmp_path: Path
) -> None:
    for name, values in ((images, GREY), (labels, LABELS.astype(np.uint8))):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        content = _idx(values)
        file.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for path in (tmp_path / images, (tmp_path / images).parent):
        if path != tmp_path:
            source = IdxSource(path, Hints(need_labels=True))
            found, ids, names = _read(source)
            np.testing.assert_array_equal(found[:, 0], GREY)
            assert names == NAMES and ids[-1] == str(COUNT)
            assert "labels: " in source.understood
    assert _read(IdxSource(tmp_path / images, Hints(label="none")))[2] == []


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "uint8"), (9, "int8"), (11, "int16"), (12, "int32"), (13, "float32"), (14, "float64")],
)
def test_every_idx_type_and_four_dimensions(code: int, dtype: str, tmp_path: Path) -> None:
    values = (COLOUR // 2).astype(dtype)
    path = tmp_path / "colours.idx"
    for stored in (values, values.transpose(0, 2, 3, 1)):
        path.write_bytes(_idx(stored, code))
        found, _, _ = _read(IdxSource(path, Hints()))
        np.testing.assert_array_equal(found, values)


IDX_BAD = {
    "short": (_idx(GREY)[:300], "hold what its header says"),
    "long": (_idx(GREY) + b"\0", "end where its header says"),
    "labels": (_idx(LABELS.astype(np.uint8)), "3 or 4 dimensions"),
    "type": (b"\0\0\x0a\x03" + bytes(50), "an IDX file begins with"),
    "cut": (b"\0\0\x08\x03\0\0", "3 sizes of 4 bytes"),
    "none": (_idx(GREY[:0]), "at least 1"),
    "huge": (b"\0\0\x08\x03" + struct.pack(">3I", 4_000_000_000, 28, 28), "may hold at most"),
    "packed": (gzip.compress(_idx(GREY))[:-300], "gzip data must be whole"),
    "bomb": (
        gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 1_370_000, 28, 28) + bytes(9000)),
        "may hold at most",
    ),
}


@pytest.mark.parametrize("name", sorted(IDX_BAD))
def test_bad_idx_files_are_refused(name: str, tmp_path: Path) -> None:
    content, message = IDX_BAD[name]
    (tmp_path / "x-images-idx3-ubyte").write_bytes(content)
    _refused(tmp_path / "x-images-idx3-ubyte", message, IdxSource)


def test_idx_labels_that_are_absent_or_too_few(tmp_path: Path) -> None:
    path = tmp_path / "x-images-idx3-ubyte"
    path.write_bytes(_idx(GREY))
    _refused(path, "must have labels here; give labels", IdxSource, need_labels=True)
    (tmp_path / "x-labels-idx1-ubyte").write_bytes(_idx(LABELS[:5].astype(np.uint8)))
    _refused(path, "11 images and 5 labels", IdxSource)
