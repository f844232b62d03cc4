"""Every form of input becomes the same images; everything hostile is refused in one line, in
bounded memory.
"""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnn_core.errors import InputError
from pipeline.inputs import Wanted, open_input

WANTED = Wanted(image_shape=(1, 28, 28), classes=10)
COUNT = 7


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 28, 28), dtype=np.uint8)


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
    "cut.gz": (gzip.compress(bytes(10_000))[:30], "must be whole"),
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


def test_missing_files(tmp_path: Path) -> None:
    _refused(tmp_path / "absent.csv", "readable file")
