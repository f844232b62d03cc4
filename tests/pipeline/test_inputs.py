"""Every form of input becomes the same images; everything hostile is refused in one line, in
bounded memory.
"""

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_core.errors import InputError
from pipeline.inputs import Wanted, open_input

WANTED = Wanted(image_shape=(1, 28, 28), classes=10)
COUNT = 7


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)


def _idx(images: np.ndarray) -> bytes:
    return b"\0\0\x08\x03" + struct.pack(">3I", *images.shape) + images.tobytes()


def _rows(images: np.ndarray, separator: str = ",") -> list[str]:
    return [separator.join(map(str, image.ravel())) for image in images]


def _read(
    path: Path, wanted: Wanted = WANTED, normalize: str = "auto", size: int = 3
) -> tuple[np.ndarray, list[str], np.ndarray | None]:
    blocks = list(open_input(path, wanted, normalize).blocks(size))
    assert all(len(block.images) <= size for block in blocks)
    labels = [block.labels for block in blocks]
    joined = (
        None if labels[0] is None else np.concatenate([part for part in labels if part is not None])
    )
    return (
        np.concatenate([block.images for block in blocks]),
        [i for block in blocks for i in block.ids],
        joined,
    )


FORMS: dict[str, Callable[[np.ndarray], bytes]] = {
    "t10k-images-idx3-ubyte": _idx,
    "images-idx3-ubyte.gz": lambda x: gzip.compress(_idx(x)),
    "kaggle.csv": lambda x: "\n".join(
        [",".join(f"pixel{k}" for k in range(784)), *_rows(x)]
    ).encode(),
    "bare.csv": lambda x: "\n".join(_rows(x)).encode() + b"\n\n",
    "semicolons.csv": lambda x: "\r\n".join(_rows(x, ";")).encode(),
    "floats.csv": lambda x: "\n".join(
        ",".join(f"{v}.0" for v in image.ravel()) for image in x
    ).encode(),
    "contest.txt": lambda x: "\n".join(_rows(x, " ")).encode(),
    "contest.txt.gz": lambda x: gzip.compress("\n".join(_rows(x, "  ")).encode()),
    "bom.csv": lambda x: b"\xef\xbb\xbf" + "\n".join(_rows(x)).encode(),
}


def _npy(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values)
    return content.getvalue()


def _npz(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


FORMS |= {
    "flat.npy": lambda x: _npy(x.reshape(-1, 784)),
    "channels.npy": lambda x: _npy(x[:, None]),
    "channels_last.npy": lambda x: _npy(x[..., None]),
    "integers.npy": lambda x: _npy(x.astype(np.int32)),
    "floats.npy": lambda x: _npy(x / 255),
    "fortran.npy": lambda x: _npy(np.asfortranarray(x)),
    "named.npz": lambda x: _npz(images=x),
    "alone.npz": lambda x: _npz(whatever=x),
}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_form_reads_as_the_same_images(name: str, images: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMS[name](images))
    found, ids, labels = _read(tmp_path / name)
    np.testing.assert_array_equal(found[:, 0], images)
    assert ids == ["1", "2", "3", "4", "5", "6", "7"] and labels is None


def test_labels_and_ids_of_tables(images: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    rows = _rows(images)
    path.write_text(
        "\n".join(
            [
                "label," + ",".join(f"pixel{k}" for k in range(784)),
                *(f"{n},{row}" for n, row in enumerate(rows)),
            ]
        )
    )
    found, _, labels = _read(path)
    np.testing.assert_array_equal(found[:, 0], images)
    np.testing.assert_array_equal(labels, np.arange(COUNT))
    path.write_text("\n".join(f"{n},{row}" for n, row in enumerate(rows)))
    np.testing.assert_array_equal(_read(path)[2], np.arange(COUNT))
    path.write_text("\n".join(f"{row} {n}" for n, row in enumerate(_rows(images, " "))))
    last = Wanted(image_shape=(1, 28, 28), classes=10, label="last")
    np.testing.assert_array_equal(_read(path, last)[2], np.arange(COUNT))
    np.testing.assert_array_equal(_read(path, last)[0][:, 0], images)
    path.write_text(
        "\n".join(
            [
                "id," + ",".join(map(str, range(784))),
                *(f"img{n},{row}" for n, row in enumerate(rows)),
            ]
        )
    )
    assert _read(path)[1] == [f"img{n}" for n in range(COUNT)]


def test_labels_beside_an_idx_file(images: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(_idx(images))
    (tmp_path / "t-labels-idx1-ubyte").write_bytes(
        b"\0\0\x08\x01" + struct.pack(">I", COUNT) + bytes(range(COUNT))
    )
    np.testing.assert_array_equal(_read(tmp_path / "t-images-idx3-ubyte")[2], np.arange(COUNT))


def test_folders_of_pictures_in_natural_order_and_by_class(
    images: np.ndarray, tmp_path: Path
) -> None:
    for n in (10, 9, 2):
        Image.fromarray(images[n % COUNT]).save(tmp_path / f"img{n}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    found, ids, labels = _read(tmp_path)
    assert ids == ["img2.png", "img9.png", "img10.png"] and labels is None
    np.testing.assert_array_equal(found[:, 0], images[[2, 2, 3]])
    classes = tmp_path / "by_class"
    for label in (3, 1):
        (classes / str(label)).mkdir(parents=True)
        Image.fromarray(images[label]).save(classes / str(label) / "a.png")
    found, _, labels = _read(classes)
    assert labels is not None and labels.tolist() == [1, 3]
    np.testing.assert_array_equal(found[:, 0], images[[1, 3]])


def test_a_single_picture(images: np.ndarray, tmp_path: Path) -> None:
    Image.fromarray(images[0]).save(tmp_path / "one.png")
    np.testing.assert_array_equal(_read(tmp_path / "one.png")[0][0, 0], images[0])


def _refused(path: Path, match: str, wanted: Wanted = WANTED) -> None:
    with pytest.raises(InputError, match=match) as caught:
        _read(path, wanted)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


BAD: dict[str, tuple[bytes, str]] = {
    "empty.csv": (b"", "must not be empty"),
    "blank.csv": (b"\n \n\n", "must not be empty"),
    "header_only.csv": (",".join(f"pixel{k}" for k in range(784)).encode(), "at least one row"),
    "narrow.csv": (b"1,2,3\n", "784 pixels .* got 3 values"),
    "range.csv": (
        ("0," * 783 + "256\n").encode(),
        "integer from 0 to 255, got '256' on line 1, column 784",
    ),
    "negative.csv": (
        ("0," * 783 + "0\n" + "-1," * 783 + "0\n").encode(),
        "got '-1' on line 2, column 1",
    ),
    "nan.csv": (("0," * 783 + "nan\n").encode(), "got 'nan' on line 1, column 784"),
    "fraction.csv": (("0," * 783 + "0.5\n").encode(), "got '0.5'"),
    "word.csv": (("0," * 783 + "dog\n").encode(), "got 'dog' on line 1"),
    "ragged.csv": (("0," * 783 + "0\n" + "0,0\n").encode(), "784 values, got 2 on line 2"),
    "label.csv": (
        ("11," + "0," * 783 + "0\n").encode(),
        "label must be an integer from 0 to 9, got '11' on line 1",
    ),
    "binary.csv": (b"\xff\xfe\x00\x01" * 50, "must be text"),
    "endless.csv": (b"1" * 200_000, "at most 25152 characters"),
    "short_idx": (b"\0\0\x08\x03" + struct.pack(">3I", 5, 28, 28) + bytes(100), "bytes early"),
    "long_idx": (
        b"\0\0\x08\x03" + struct.pack(">3I", 1, 28, 28) + bytes(800),
        "end where its header says",
    ),
    "wrong_idx": (b"\0\0\x08\x01" + struct.pack(">I", 5) + bytes(50), "begins with 00 00 08 03"),
    "size_idx": (
        b"\0\0\x08\x03" + struct.pack(">3I", 1, 27, 28) + bytes(756),
        "size, 28x28, got 27x28",
    ),
    "huge_idx": (b"\0\0\x08\x03" + struct.pack(">3I", 4_000_000_000, 28, 28), "may hold at most"),
    "cut.gz": (gzip.compress(bytes(10_000))[:30], "must be whole"),
    "range.npy": (
        _npy(np.full((2, 28, 28), 256, np.int64)),
        "integers from 0 to 255, got 256 at image 0",
    ),
    "nan.npy": (_npy(np.full((2, 28, 28), np.nan)), "floats from 0 to 1, got nan"),
    "bright.npy": (_npy(np.full((2, 28, 28), 200.0)), "floats from 0 to 1, got 200.0"),
    "size.npy": (_npy(np.zeros((2, 8, 8), np.uint8)), "28x28, got 8x8"),
    "none.npy": (_npy(np.zeros((0, 28, 28), np.uint8)), "at least one"),
    "cut.npy": (_npy(np.zeros((5, 28, 28), np.uint8))[:500], "whole array|as long as its header"),
    "huge.npy": (
        _npy(np.zeros((1, 28, 28), np.uint8)).replace(b"(1, 28, 28)", b"(99999999, 28, 28)")[:5000],
        "whole array|as long|header",
    ),
    "text.npz": (_npz(images=np.array(["a", "b"])), "integers from 0 to 255|at least one"),
    "not.png": (b"GIF89a not a picture", "PNG, JPEG or BMP"),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_bad_files_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, match = BAD[name]
    (tmp_path / name).write_bytes(content)
    _refused(tmp_path / name, match)


def test_a_label_column_where_none_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "labelled.csv"
    path.write_text("1," + "0," * 783 + "0\n")
    _refused(
        path,
        "got 785 values .* label column",
        Wanted(image_shape=(1, 28, 28), classes=10, label="none"),
    )
    path.write_text("0," * 783 + "0\n")
    _refused(
        path, "label column is expected", Wanted(image_shape=(1, 28, 28), classes=10, label="first")
    )


def test_missing_files_and_empty_folders(tmp_path: Path) -> None:
    _refused(tmp_path / "absent.csv", "readable file")
    (tmp_path / "nothing").mkdir()
    _refused(tmp_path / "nothing", "folder of pictures must hold")
