"""Tables of every layout become the same images, labels and ids, or are refused with the choices;
never read wrong.
"""

import gzip
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cnn_core.errors import InputError
from pipeline.inputs import Hints, open_input

COUNT, SIDE = 60, 8
PIXELS = SIDE * SIDE
TRAINING = Hints(need_labels=True)
Read = tuple[np.ndarray, list[str], list[str] | None]


def digits(count: int = COUNT, side: int = SIDE, most: int = 255) -> np.ndarray:
    """Return images with a black border, as scanned digits have."""
    images = np.random.default_rng(3).integers(0, most + 1, (count, side, side))
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0
    return images


IMAGES = digits()
LABELS = [int(n) for n in np.random.default_rng(4).integers(0, 10, COUNT)]
LETTERS = ["AbCdEfGhIj"[n] for n in LABELS]


def rows(images: np.ndarray = IMAGES) -> list[list[str]]:
    return [[str(value) for value in image.ravel()] for image in images]


def with_columns(*columns: Sequence[Any], images: np.ndarray = IMAGES, at: int = 0) -> list[list]:
    """Return the rows with columns put in at a place, -1 behind."""
    found = []
    for n, row in enumerate(rows(images)):
        extra = [str(column[n]) for column in columns]
        place = len(row) if at == -1 else at
        found.append([*row[:place], *extra, *row[place:]])
    return found


def text(lines: Sequence[Sequence[str]], header: Sequence[str] = (), sign: str = ",") -> bytes:
    every = [header, *lines] if header else lines
    return "".join(sign.join(line) + "\n" for line in every).encode()


def pixel_names(count: int = PIXELS) -> list[str]:
    return [f"pixel{n}" for n in range(count)]


def read(path: Path, hints: Hints = TRAINING, size: int = 7) -> Read:
    source = open_input(path, hints)
    blocks = list(source.blocks(size))
    assert [len(block.ids) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert all(len(block.pictures) == len(block.ids) for block in blocks)
    again = list(source.blocks(size))
    assert [block.ids for block in again] == [block.ids for block in blocks]
    labels = [label for block in blocks for label in block.labels or ()]
    images = np.concatenate([np.asarray(block.pictures) for block in blocks])
    ids = [name for block in blocks for name in block.ids]
    return images, ids, None if blocks[0].labels is None else labels


def check(
    path: Path,
    content: bytes,
    labels: Sequence[Any] | None,
    ids: Sequence[Any] | None = None,
    hints: Hints = TRAINING,
    images: np.ndarray = IMAGES,
) -> str:
    """Assert what is read, and return what was understood."""
    path.write_bytes(content)
    found, names, texts = read(path, hints)
    np.testing.assert_array_equal(found, images if images.ndim == 4 else images[:, None])
    assert texts == (None if labels is None else [str(label) for label in labels])
    assert names == [str(n) for n in (ids if ids is not None else range(1, len(images) + 1))]
    source = open_input(path, hints)
    assert "\n" not in source.understood
    return source.understood


def refused(path: Path, content: bytes | None, match: str, hints: Hints = TRAINING) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=match) as caught:
        read(path, hints)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_the_last_column_under_an_unknown_name_is_the_label(tmp_path: Path) -> None:
    content = text(with_columns(LETTERS, at=-1), [*pixel_names(), "letter"])
    said = check(tmp_path / "a.csv", content, LETTERS)
    assert said == "label: column 'letter' (last); no ids; 64 pixels (8x8 grey)"
    content = text(with_columns(LABELS, at=-1), [*pixel_names(), "what"])
    assert "label: column 'what' (last)" in check(tmp_path / "a.csv", content, LABELS)
    content = text(with_columns(LABELS, at=30), [*pixel_names()[:30], "x", *pixel_names()[30:]])
    assert "label: column 'x' (31)" in check(tmp_path / "a.csv", content, LABELS)


@pytest.mark.parametrize("leading", [[], ["label"], ["", "label"], ["Unnamed: 0", "label"], ["Id"]])
def test_a_header_of_numbers_is_no_image(tmp_path: Path, leading: list[str]) -> None:
    cells: dict[str, Sequence[Any]] = {"label": LABELS, "Id": range(1, COUNT + 1)}
    content = text(
        with_columns(*[cells.get(name, range(COUNT)) for name in leading]),
        [*leading, *map(str, range(PIXELS))],
    )
    labels = LABELS if "label" in leading else None
    said = check(tmp_path / "a.csv", content, labels, hints=Hints())
    assert "a header of numbers" in said


def test_a_label_within_a_header_of_numbers(tmp_path: Path) -> None:
    content = text(with_columns(LABELS), [str(n) for n in range(PIXELS + 1)])
    assert "label: column '0' (first)" in check(tmp_path / "a.csv", content, LABELS)


def test_names_made_of_the_first_image_are_refused(tmp_path: Path) -> None:
    frame = pd.read_csv(io.BytesIO(text(with_columns(LABELS))))  # without header=None
    refused(tmp_path / "a.csv", frame.to_csv(index=False).encode(), "fractions .* first image")


IDS = [f"img_{n}.png" for n in range(COUNT)]
NUMBERS = list(range(1, COUNT + 1))


@pytest.mark.parametrize("name", ["id", "Id", "ImageId", "image_id", "filename", "digit_id"])
def test_an_id_is_no_pixel_in_training_and_prediction(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    for ids in (IDS, NUMBERS):
        content = text(with_columns(ids, LABELS), [name, "label", *pixel_names()])
        assert f"ids: column '{name}' (first)" in check(path, content, LABELS, ids)
        content = text(with_columns(LABELS, ids), ["label", name, *pixel_names()])
        check(path, content, LABELS, ids)
        content = text(with_columns(ids), [name, *pixel_names()])
        check(path, content, None, ids, Hints(class_names=("0", "1")))
        assert open_input(path, Hints()).id_name == name
        content = text(with_columns(ids, at=-1), [*pixel_names(), name])
        check(path, content, None, ids, Hints(shape=(1, 8, 8)))


def test_an_index_column_is_ignored_where_it_only_counts(tmp_path: Path) -> None:
    for name in ("", "Unnamed: 0", "index"):
        content = text(with_columns(range(COUNT), LABELS), [name, "label", *pixel_names()])
        assert "not used: " in check(tmp_path / "a.csv", content, LABELS)
        content = text(with_columns(range(COUNT), IDS), [name, "id", *pixel_names()])
        check(tmp_path / "a.csv", content, None, IDS, Hints())
    shuffled = list(range(100, 100 + COUNT))[::-1]
    content = text(with_columns(shuffled, LABELS), ["", "label", *pixel_names()])
    check(tmp_path / "a.csv", content, LABELS, shuffled)
    assert open_input(tmp_path / "a.csv", TRAINING).id_name is None


def test_pixels_named_by_row_and_column(tmp_path: Path) -> None:
    names = [f"{y}x{x}" for y in range(1, 9) for x in range(1, 9)]
    content = text(with_columns(LABELS), ["label", *names])
    assert "label: column 'label' (first); no ids" in check(tmp_path / "a.csv", content, LABELS)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|", " ", "   "])
@pytest.mark.parametrize("header", [True, False])
def test_delimiters(tmp_path: Path, sign: str, header: bool) -> None:
    names = ["label", *pixel_names()] if header else []
    check(tmp_path / "a.txt", text(with_columns(LABELS), names, sign), LABELS)
    check(tmp_path / "a.txt", text(with_columns(LETTERS), names, sign), LETTERS)


def test_writing_habits(tmp_path: Path) -> None:
    content = text(with_columns(LABELS), ["label", *pixel_names()])
    quoted = "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in content.decode().splitlines()
    ).encode()
    byte_order = b"\xef\xbb\xbf"
    path = tmp_path / "a.csv"
    for written in (
        byte_order + content,
        content.replace(b"\n", b"\r\n"),
        content + b"\n\r\n  \n",
        content.replace(b"\n", b"\r"),
        content.rstrip(b"\n"),
        b"\n\n" + content,
        quoted,
        byte_order + quoted,
        content.replace(b"\n", b",\n"),
        content.replace(b",", b", "),
        gzip.compress(content),
    ):
        check(path, written, LABELS)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", content)
        archive.writestr("__MACOSX/._train.csv", b"x")
    check(path, path.read_bytes(), LABELS)


def test_labels_are_names(tmp_path: Path) -> None:
    names = ["label", *pixel_names()]
    for kinds in (["cat", "dog"], ["-1", "1"], ["3", "5", "77777"], ["a b", "ü"], ["x,y", "z"]):
        labels = [kinds[n % len(kinds)] for n in range(COUNT)]
        written = [f'"{label}"' for label in labels]
        check(tmp_path / "a.csv", text(with_columns(written), names), labels)
    floats = [f"{label}.0" for label in LABELS]
    check(tmp_path / "a.csv", text(with_columns(floats), names), LABELS)
    check(tmp_path / "a.csv", text(with_columns(floats)), LABELS)
    check(tmp_path / "a.csv", text(with_columns(LETTERS)), LETTERS)
    check(tmp_path / "a.csv", text(with_columns(LETTERS, at=5)), LETTERS)


def test_tables_without_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    said = check(path, text(with_columns(LABELS)), LABELS)
    assert said == "no header; label: first column; no ids; 64 pixels (8x8 grey)"
    check(path, text(with_columns(LABELS, at=-1)), LABELS)
    check(path, text(rows()), None, hints=Hints())
    check(path, text(with_columns(IDS, LABELS)), LABELS, IDS)
    check(path, text(with_columns(LABELS, IDS)), LABELS, IDS)
    check(path, text(with_columns(LABELS, IDS, at=-1)), LABELS, IDS)
    many = digits(300)
    labels = [n % 10 for n in range(300)]
    numbers = list(range(1000, 1300))
    check(path, text(with_columns(numbers, labels, images=many)), labels, numbers, images=many)
    check(path, text(with_columns(labels, numbers, images=many)), labels, numbers, images=many)
    check(path, text(with_columns(numbers, images=many)), None, numbers, Hints(), many)


def test_photographs_without_header_are_refused_until_the_label_is_said(tmp_path: Path) -> None:
    photographs = np.random.default_rng(0).integers(0, 256, (900, 8, 8))
    labels = [n % 10 for n in range(900)]
    path = tmp_path / "a.csv"
    for at, word in ((0, "first"), (-1, "last")):
        content = text(with_columns(labels, images=photographs, at=at))
        refused(path, content, "label=first or label=last.*`label` says which")
        told = Hints(need_labels=True, label=word)
        check(path, content, labels, hints=told, images=photographs)
        classes = tuple(map(str, range(10)))
        known = Hints(class_names=classes, shape=(1, 8, 8))
        check(path, content, labels, hints=known, images=photographs)
    content = text(with_columns(range(1, 901), labels, images=photographs))
    refused(path, content, "id=first, label=2 or id=first, label=last")
    told = Hints(need_labels=True, label="2", id="first")
    check(path, content, labels, list(range(1, 901)), told, photographs)


def test_an_unclear_column_in_prediction(tmp_path: Path) -> None:
    few, path = IMAGES[:5], tmp_path / "a.csv"
    content = text(with_columns([1, 2, 3, 4, 5], images=few), ["code", *pixel_names()])
    known = Hints(class_names=tuple(map(str, range(10))), shape=(1, 8, 8))
    refused(path, content, "label='code' or label=none, with id='code'", known)
    check(path, content, None, [1, 2, 3, 4, 5], Hints(id="code"), few)
    check(path, content, [1, 2, 3, 4, 5], None, Hints(label="code"), few)
    check(path, content, None, None, Hints(label="none", id="none"), few)
    content = text(with_columns([7, 7, 3, 4, 5], images=few), ["code", *pixel_names()])
    check(path, content, [7, 7, 3, 4, 5], None, known, few)
    content = text(with_columns([71, 72, 3, 4, 5], images=few), ["code", *pixel_names()])
    check(path, content, None, [71, 72, 3, 4, 5], known, few)


def test_what_is_needed_and_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    refused(path, text(rows()), "labels are needed: `label` must .* `labels`")
    content = text(with_columns(IDS), ["id", *pixel_names()])
    refused(path, content, "labels are needed")
    content = text(with_columns(["A"] * COUNT), ["letter", *pixel_names()])
    refused(path, content, "labels are needed.*other columns 'letter'")
    content = text(with_columns([5] * COUNT, LETTERS), ["fold", "letter", *pixel_names()])
    assert "not used: 'fold'" in check(path, content, LETTERS)
    content = text(with_columns(LABELS, LETTERS), ["label", "class", *pixel_names()])
    refused(path, content, "label='label' or label='class'")
    content = text(with_columns(LABELS, LETTERS), ["fold", "letter", *pixel_names()])
    refused(path, content, "label='fold' or label='letter'")
    check(path, content, LETTERS, hints=Hints(need_labels=True, label="letter"))
    refused(path, content, 'did you mean "letter"', Hints(label="leter"))


def _colours(height: int = 8, width: int = 8) -> np.ndarray:
    """Return pictures (N, 3, H, W) whose neighbours are alike, as photographs have them."""
    y, x = np.mgrid[:height, :width]
    waves = [
        [100 + 90 * np.sin(y / 4 + n) + 10 * np.cos(x / 5 + n * (c + 1)) for c in range(3)]
        for n in range(COUNT)
    ]
    return np.asarray(np.round(waves), np.uint8)


def test_colours(tmp_path: Path) -> None:
    pictures, path = _colours(), tmp_path / "a.csv"
    flat = pictures.reshape(COUNT, -1)
    content = text(with_columns(LETTERS, images=flat))
    assert "3 channels plane by plane" in check(path, content, LETTERS, images=pictures)
    by_pixel = pictures.transpose(0, 2, 3, 1).reshape(COUNT, -1)
    content = text(with_columns(LETTERS, images=by_pixel))
    assert "3 channels pixel by pixel" in check(path, content, LETTERS, images=pictures)
    noise = np.random.default_rng(1).integers(0, 256, (COUNT, 192))
    refused(path, text(with_columns(LETTERS, images=noise)), r"shape=\[3,8,8\].*shape=\[8,8,3\]")
    told = Hints(need_labels=True, shape=(8, 8, 3), shape_told=True)
    shaped = noise.reshape(COUNT, 8, 8, 3).transpose(0, 3, 1, 2)
    check(path, path.read_bytes(), LETTERS, hints=told, images=shaped)


def test_shapes_that_are_no_squares(tmp_path: Path) -> None:
    wide = np.random.default_rng(2).integers(0, 256, (COUNT, 6, 10))
    path = tmp_path / "a.csv"
    content = text(with_columns(LABELS, images=wide), ["label", *pixel_names(60)])
    refused(path, content, "square number of pixels")
    told = Hints(need_labels=True, shape=(6, 10))
    check(path, content, LABELS, hints=told, images=wide)
    refused(path, content, r"784 pixels \(1x28x28\)", Hints(shape=(1, 28, 28)))


def test_values_other_than_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for images in (IMAGES / 256, digits(most=1023), np.where(IMAGES > 9, IMAGES, 0.5)):
        content = text(with_columns(LABELS, images=images), ["label", *pixel_names()])
        check(path, content, LABELS, images=images)
    content = text(with_columns(LABELS, images=IMAGES * 1.0), ["label", *pixel_names()])
    check(path, content, LABELS)
    assert next(open_input(path, TRAINING).blocks(9)).pictures.dtype == np.uint8  # type: ignore[union-attr]
    late = digits(4000).astype(object)
    late[3990, 3, 3] = 0.25
    content = text(with_columns([n % 7 for n in range(4000)], images=late), ["y", *pixel_names()])
    check(path, content, [n % 7 for n in range(4000)], images=late.astype(np.float64))


BAD = {
    "ragged": ("5,5\n", "65 values as the first line has, got 2 on line 62 of"),
    "long": ("5," + "0," * 64 + "7\n", "65 values as the first line has, got 66 on line 62 of"),
    "negative": ("5," + "-1," * 63 + "7\n", "number from 0, got '-1' on line 62, column 2 of"),
    "nan": ("5,0,nan," + "0," * 61 + "7\n", "number from 0, got 'nan' on line 62, column 3 of"),
    "word": ("5,0,dog," + "0," * 61 + "7\n", "number from 0, got 'dog' on line 62, column 3 of"),
    "none": ("5,,0," + "0," * 61 + "7\n", "number from 0, got '' on line 62, column 2 of"),
    "infinite": ("5,0,1e999," + "0," * 61 + "7\n", "number from 0, got '1e999' on line 62"),
    "label": (" ,0,0," + "0," * 61 + "7\n", "label must not be empty, got '' on line 62, column 1"),
    "hole": ("\n5," + "0," * 63 + "7\n", "without empty lines, got one on line 62"),
}


@pytest.mark.parametrize("sign", [",", " "])
@pytest.mark.parametrize("name", sorted(BAD))
def test_a_fault_is_named_with_its_place(tmp_path: Path, name: str, sign: str) -> None:
    line, match = BAD[name]
    if sign == " " and name in ("none", "label"):
        match = "65 values as the first line has, got 64 on line 62"
    content = text(with_columns(LABELS), ["label", *pixel_names()], sign)
    refused(tmp_path / "a.csv", content + line.replace(",", sign).encode(), match)


def test_what_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    content = text(with_columns(LABELS), ["label", *pixel_names()])
    refused(path, b"", "must not be empty")
    refused(path, b"\n \n\n", "must not be empty")
    refused(path, content.partition(b"\n")[0], "at least one row")
    refused(path, b"1,2,3\n" * 50, "square number of pixels")
    refused(path, b"just a line of words\nand another, of words\n", "5 values .* got 4 on line 2")
    refused(path, b"words, more words\nand others, more\n", "square number of pixels")
    refused(path, content + b"5,\xff\xfe,1\n", "UTF-8 text, got byte 0xff on line 62")
    refused(path, content + b"5,\x00,1\n", "zero byte on line 62")
    refused(path, b"1," * (3 << 20), "a line must have at most 4,194,304 bytes")
    refused(path, gzip.compress(content)[:-300], "compressed data must be whole")
    half = [*pixel_names(32), *["7"] * 32]
    refused(path, text(rows(), half), "names or values, got both", Hints())


def test_labels_of_a_file_beside(tmp_path: Path) -> None:
    pytest.importorskip("pipeline.inputs.labels.label_files")
    images, labels = tmp_path / "images.txt", tmp_path / "labels.txt"
    labels.write_text("".join(f"{label}\n" for label in LETTERS))
    told = Hints(need_labels=True, labels=labels)
    check(images, text(rows(), sign=" "), LETTERS, hints=told)
    labels.write_text("".join(f"{label}\n" for label in LETTERS[:-1]))
    refused(images, None, "as many as images, got 59", told)
    labels.write_text("".join(f"{label}\n" for label in [*LETTERS, "A"]))
    refused(images, None, "as many as images, got 61", told)
    turned = sorted(zip(IDS, LETTERS, strict=True), reverse=True)
    labels.write_text("id,label\n" + "".join(f"{name},{label}\n" for name, label in turned))
    check(images, text(with_columns(IDS), ["id", *pixel_names()]), LETTERS, IDS, told)
    named = Hints(need_labels=True, labels=labels, label="kind")
    labels.write_text("id,kind\n" + "".join(f"{name},{label}\n" for name, label in turned))
    check(images, images.read_bytes(), LETTERS, IDS, named)
    labels.write_text("id,label\n" + "".join(f"{name},{label}\n" for name, label in turned[1:]))
    refused(images, None, "every image must have a label, got none for 'img_9.png'", told)


def test_ids_to_be_predicted_are_distinct(tmp_path: Path) -> None:
    path, known = tmp_path / "a.csv", Hints(class_names=tuple(map(str, range(10))))
    twice = ["b17", *IDS[1:-1], "b17"]
    content = text(with_columns(twice), ["id", *pixel_names()])
    refused(path, content, "ids must be distinct, got 'b17' twice in column 'id'", known)
    told = Hints(class_names=known.class_names, id="id")
    refused(path, content, "ids must be distinct, got 'b17' twice in column 'id'", told)
    assert "not used: 'id'" in check(
        path, content, None, hints=Hints(class_names=("0",), id="none")
    )
    content = text(with_columns(twice, IDS), ["name", "id", *pixel_names()])
    check(path, content, None, IDS, known)
    content = text(with_columns(twice, LABELS), ["id", "label", *pixel_names()])
    assert "not used: 'id'" in check(path, content, LABELS)
    judged = Hints(class_names=known.class_names, need_labels=True)
    assert "not used: 'id'" in check(path, content, LABELS, hints=judged)
    few = IMAGES[:4]  # these ids could be classes too
    content = text(with_columns([1, 1, 2, 3], images=few), ["image_id", *pixel_names()])
    refused(path, content, "ids must be distinct, got '1' twice in column 'image_id'", known)
    content = text(with_columns([1, 1, 2, 3], images=few), ["name", *pixel_names()])
    check(path, content, [1, 1, 2, 3], hints=known, images=few)
    frame = pd.DataFrame(IMAGES.reshape(COUNT, -1), columns=pixel_names()).assign(id=twice)
    frame.to_parquet(tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", None, "ids must be distinct, got 'b17' twice", known)


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_first_line_that_tells_the_separator_is_followed_and_said(
    tmp_path: Path, sign: str
) -> None:
    path = tmp_path / "a.csv"
    content = text(with_columns(LABELS), ["label", *pixel_names()], sign)
    for first in (f"sep={sign}\n", f'"sep={sign}"\r\n', f"\ufeffSep={sign}\n"):
        said = check(path, first.encode() + content, LABELS)
        assert said.startswith("separator as the first line says; label: column 'label'")
        path.write_bytes(first.encode() + content.replace(b"255", b"x", 1))
        line = content.split(b"255")[0].count(b"\n") + 2
        refused(path, None, f"got 'x' on line {line}")


@pytest.mark.parametrize("header", [True, False])
def test_comments_above_a_table_are_skipped_and_said(tmp_path: Path, header: bool) -> None:
    path, names = tmp_path / "a.csv", ["label", *pixel_names()] if header else []
    content = text(with_columns(LABELS), names)
    for comment, count in ((b"# exported 2024\n", 1), (b"#a, b\n\n# c;d;e\n#\n", 3)):
        said = check(path, comment + content, LABELS)
        assert said.startswith(f"{count} lines of comment skipped; " if count > 1 else "1 line of")
        path.write_bytes(comment + content.replace(b"255", b"x", 1))
        line = (comment + content).split(b"255")[0].count(b"\n") + 1
        refused(path, None, f"got 'x' on line {line}")
    said = check(path, b"#" + text(with_columns(LABELS), ["label", *pixel_names()]), LABELS)
    assert "comment" not in said and "label: column '#label'" in said
    refused(path, b"# nothing\n# else\n", "a table must not be empty, got comments alone")
    refused(path, content + b"# end\n", "every row must have 65 values")


@pytest.mark.parametrize("sign", [";", "\t", " "])
def test_decimal_commas_are_refused_by_name(tmp_path: Path, sign: str) -> None:
    path, shares = tmp_path / "a.csv", [[f"0,{cell}" for cell in row] for row in rows()]
    content = text(shares, pixel_names(), sign)
    refused(path, content, "numbers must have a decimal point, got a comma \\('0,0'\\)", Hints())
    refused(path, text(shares, sign=sign), "decimal point, got a comma \\('0,0'\\)", Hints())
    late = text([*rows()[:-1], shares[-1]], pixel_names(), sign)
    refused(path, late, "decimal point, got a comma \\('0,0'\\) on line 61, column 1", Hints())
