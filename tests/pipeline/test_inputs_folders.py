"""A folder of pictures: every picture is read and named, whatever its ending; labels come from
folders or from a table; what does not fit is refused with what was found.
"""

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_core.errors import InputError
from pipeline.inputs import Hints, open_input
from pipeline.inputs.pictures.picture_folder import PictureSource


def _draw(path: Path, grey: int, size: tuple[int, int] = (4, 3), form: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, grey, np.uint8)).save(path, form, **_lossless(path, form))


def _lossless(path: Path, form: str | None) -> dict[str, bool]:
    return {"lossless": True} if path.suffix == ".webp" or form == "WEBP" else {}


def _read(path: Path, size: int = 3, **hints: object) -> tuple[list[int], list[str], list[str]]:
    """Return each picture's first value (-1 for an empty one), ids and labels."""
    source = PictureSource(path, Hints(**hints))
    blocks = list(source.blocks(size))
    assert source.count == sum(len(block.ids) for block in blocks)
    assert all(len(block.ids) == len(block.pictures) <= size for block in blocks)
    values = [int(p.flat[0]) if p.size else -1 for block in blocks for p in block.pictures]
    labels = [label for block in blocks for label in block.labels or ()]
    return values, [name for block in blocks for name in block.ids], labels


def _refused(path: Path, match: str, **hints: object) -> None:
    with pytest.raises(InputError, match=match) as caught:
        _read(path, **hints)
    assert "\n" not in str(caught.value) and path.name in str(caught.value)


def test_one_picture_and_a_flat_folder_in_natural_order(tmp_path: Path) -> None:
    for n, ending in ((10, "png"), (9, "webp"), (2, "tif"), (1, "gif")):
        _draw(tmp_path / f"img{n}.{ending}", 20 * n)
    _draw(tmp_path / "noending", 5, form="PNG")
    _draw(tmp_path / "false.jpg", 6, form="BMP")
    values, ids, labels = _read(tmp_path)
    assert ids == ["false.jpg", "img1.gif", "img2.tif", "img9.webp", "img10.png", "noending"]
    assert values == [6, 20, 40, 180, 200, 5] and labels == []
    assert _read(tmp_path / "img10.png") == ([200], ["img10.png"], [])


def test_other_sizes_come_as_a_list_and_one_size_as_an_array(tmp_path: Path) -> None:
    for n in range(3):
        _draw(tmp_path / f"{n}.png", n, (4, 3 if n < 2 else 5))
    (block,) = PictureSource(tmp_path, Hints()).blocks(9)
    assert [p.shape for p in block.pictures] == [(1, 4, 3), (1, 4, 3), (1, 4, 5)]
    (first, _) = PictureSource(tmp_path, Hints()).blocks(2)
    assert isinstance(first.pictures, np.ndarray) and first.pictures.shape == (2, 1, 4, 3)


@pytest.mark.parametrize(
    "classes", [("1", "2", "10"), ("3", "5", "7"), ("cat", "dog 2", "dog 10"), ("-1", "Été", "é")]
)
def test_folders_are_labels_whatever_their_names(tmp_path: Path, classes: tuple[str, ...]) -> None:
    for k, name in enumerate(classes):
        _draw(tmp_path / name / "a.png", 10 * k)
        _draw(tmp_path / name / "left" / "deep" / "b.webp", 10 * k + 1)
    source = PictureSource(tmp_path, Hints(need_labels=True))
    assert source.understood.startswith("6 pictures; labels: the names of 3 folders, ")
    values, ids, labels = _read(tmp_path, need_labels=True)
    assert labels == [name for name in classes for _ in range(2)]
    assert ids[:2] == [f"{classes[0]}/a.png", f"{classes[0]}/left/deep/b.webp"]
    assert values == [0, 1, 10, 11, 20, 21]


def test_folders_that_are_no_classes_give_no_labels_in_prediction(tmp_path: Path) -> None:
    _draw(tmp_path / "batch1" / "a.png", 1)
    _draw(tmp_path / "batch2" / "a.png", 2)
    assert _read(tmp_path, class_names=("cat", "dog")) == (
        [1, 2],
        ["batch1/a.png", "batch2/a.png"],
        [],
    )
    known = ("batch1", "batch2", "x")
    assert _read(tmp_path, class_names=known)[2] == ["batch1", "batch2"]
    asked = _read(tmp_path, class_names=("cat", "dog"), need_labels=True)[2]
    assert asked == ["batch1", "batch2"]  # and refused where labels become numbers
    assert _read(tmp_path, label="none")[2] == []


def test_companions_are_said_and_everything_else_is_refused_by_name(tmp_path: Path) -> None:
    _draw(tmp_path / "a.png", 1)
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini", "README", "notes.txt", "meta.json"):
        (tmp_path / name).write_bytes(b"\x00\x05whatever")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "._a.png").write_bytes(b"\x00\x05\x16\x07")
    source = PictureSource(tmp_path, Hints())
    assert source.ids == ("a.png",)
    assert "6 other files ignored: .DS_Store, " in source.understood
    (tmp_path / "b.png").write_bytes(b"<html>Not found</html>")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "model.bin").write_bytes(b"\x01\x02\x03\x04")
    _refused(tmp_path, r"got 3 others: b\.png, c\.png, model\.bin in .*on_damaged=skip")


def test_skipped_pictures_keep_their_rows(tmp_path: Path) -> None:
    for n in (1, 2, 3, 4):
        _draw(tmp_path / "7" / f"{n}.png", n, (40, 40))
    _draw(tmp_path / "8" / "5.png", 5)
    cut = tmp_path / "7" / "3.png"
    cut.write_bytes(cut.read_bytes()[:50])
    (tmp_path / "7" / "2.png").write_bytes(b"")
    _refused(tmp_path, r"got 1 others: 7/2\.png")
    source = PictureSource(tmp_path, Hints(on_damaged="skip"))
    blocks = list(source.blocks(2))
    names = [name for block in blocks for name in block.ids]
    assert names == ["7/1.png", "7/2.png", "7/3.png", "7/4.png", "8/5.png"]
    shapes = [p.shape for block in blocks for p in block.pictures]
    assert shapes == [(1, 40, 40), (0, 0, 0), (0, 0, 0), (1, 40, 40), (1, 4, 3)]
    assert [label for block in blocks for label in block.labels or ()] == ["7"] * 4 + ["8"]
    list(source.blocks(2))  # a second reading lists nothing twice
    assert sorted(source.damaged) == ["7/2.png", "7/3.png"]


def test_folders_that_are_not_certain_are_refused(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    _refused(nothing, "at least one that Pillow reads, got none")
    flat = tmp_path / "flat"
    _draw(flat / "a.png", 1)
    _refused(flat, "one folder a class, or labels=.* got 1 pictures without", need_labels=True)
    mixed = tmp_path / "mixed"
    _draw(mixed / "a.png", 1)
    _draw(mixed / "cat" / "b.png", 1)
    _refused(mixed, r"got both: 1 pictures \(a\.png\) beside folders \(cat\)")
    hollow = tmp_path / "hollow"
    _draw(hollow / "cat" / "a.png", 1)
    (hollow / "dog").mkdir()
    (hollow / "emu" / "inner").mkdir(parents=True)
    (hollow / "emu" / "inner" / "notes.txt").write_text("none yet")
    _refused(hollow, "every folder of a class must hold a picture, got none in dog, emu")
    wrapped = tmp_path / "wrapped"
    _draw(wrapped / "train" / "cat" / "a.png", 1)
    _draw(wrapped / "train" / "dog" / "a.png", 1)
    _refused(wrapped, r"train alone, which holds folders \(cat, dog\): give .*wrapped/train inst")


def test_links_pipes_and_names_do_no_harm(tmp_path: Path) -> None:
    _draw(tmp_path / "real" / "1" / "a.png", 3)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    assert _read(tmp_path / "linked")[0] == [3]
    (tmp_path / "real" / "1" / "loop").symlink_to(tmp_path / "real")
    _refused(tmp_path / "real", "not hold themselves")
    (tmp_path / "real" / "1" / "loop").unlink()
    os.mkfifo(tmp_path / "real" / "1" / "pipe.png")
    _refused(tmp_path / "real", r"got 1 others: 1/pipe\.png")
    (tmp_path / "real" / "1" / "pipe.png").unlink()
    Path(os.fsdecode(os.fsencode(tmp_path / "real" / "1") + b"/\xff.png")).touch()
    _refused(tmp_path / "real", "names of files must be UTF-8 text")


def test_links_beside_links_come_to_an_end(tmp_path: Path) -> None:
    """Each level doubles the ways to the one below: more of them than anybody can walk."""
    for level in range(22):
        (tmp_path / f"d{level}").mkdir()
        for name in "ab":
            (tmp_path / f"d{level}" / name).symlink_to(tmp_path / f"d{level + 1}")
    _draw(tmp_path / "d22" / "a.png", 3)
    _refused(tmp_path / "d0", "links to a folder of pictures may be 16, got more")
    assert _read(tmp_path / "d18")[0] == [3] * 16


@pytest.mark.parametrize(
    "written",
    [
        lambda name: name,
        lambda name: name.removesuffix(".png"),
        lambda name: name.rpartition("/")[2],
        lambda name: name.rpartition("/")[2].removesuffix(".png"),
        lambda name: f"train/{name}",
        lambda name: f"./train/{name}".removesuffix(".png"),
        lambda name: f"C:/data/train/{name}",
        lambda name: name.replace("/", "\\"),
    ],
)
def test_a_tables_ids_are_names_with_or_without_ending_and_folders(
    written: object, tmp_path: Path
) -> None:
    assert callable(written)
    names = [f"{k % 2}/img.{k}.png" for k in range(1, 13)]
    for k, name in enumerate(names):
        _draw(tmp_path / "train" / name, 10 * k)
    rows = [f"{written(name)},kind {10 * k}" for k, name in enumerate(names)]
    table = tmp_path / "train.csv"
    table.write_text("\n".join(["id,label", *rows[::-1]]))
    values, ids, labels = _read(tmp_path / "train", labels=table, need_labels=True)
    assert sorted(ids) == sorted(names)
    assert labels == [f"kind {value}" for value in values]


def test_a_tables_paths_may_begin_with_the_folders_own_name(tmp_path: Path) -> None:
    for k in range(4):  # the file names alone would not tell
        _draw(tmp_path / "train" / f"{k % 2}" / f"{k // 2}.png", k)
    table = tmp_path / "train.csv"
    rows = [f"train/{k % 2}/{k // 2}.png,kind {k}" for k in range(4)]
    table.write_text("\n".join(["id,label", *rows]))
    values, _, labels = _read(tmp_path / "train", labels=table)
    assert labels == [f"kind {value}" for value in values]


def test_a_table_and_a_folder_that_do_not_agree(tmp_path: Path) -> None:
    folder, table = tmp_path / "train", tmp_path / "train.csv"
    for n in range(8):
        _draw(folder / f"{n}.png", n)
    rows = [f"{n},{'ab'[n % 2]}" for n in range(8)]
    table.write_text("\n".join(["id,label", *rows[:6]]))
    _refused(folder, r"got 2 pictures without a row \(6\.png, 7\.png\) in", labels=table)
    table.write_text("\n".join(["id,label", *rows, "80,a", "81,b"]))
    _refused(folder, r"got 2 rows without a picture \(80, 81\) in", labels=table)
    _draw(folder / "7.jpg", 7)
    table.write_text("\n".join(["id,label", *rows]))
    _refused(folder, r"got 1 ids for two pictures or rows \(7\) in", labels=table)
    (folder / "7.jpg").unlink()
    table.write_text("\n".join("ab" * 4))
    _refused(folder, "must be a table with a column of ids", labels=table)
    _draw(folder / "8.png", 8)
    inside = folder / "labels.csv"
    inside.write_text("\n".join(["id,label", *rows, "8,a"]))
    source = PictureSource(folder, Hints(labels=inside))
    assert "ignored" not in source.understood  # the table has its own use


def test_a_hundred_thousand_files_are_listed_quickly_in_little_memory(tmp_path: Path) -> None:
    _draw(tmp_path / "0" / "first.png", 1)
    first = tmp_path / "0" / "first.png"
    for n in range(5000):  # links are files too: a twentieth of it here
        os.link(first, tmp_path / "0" / f"{n}.png")
    begin = time.process_time()
    tracemalloc.start()
    source = PictureSource(tmp_path, Hints())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert source.count == 5001 and source.ids[:2] == ("0/0.png", "0/1.png")
    assert peak < 12e6 and time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("file", "written", "how"),
    [
        ("{:05}.png", "{}", "as numbers"),
        ("{}.png", "{}.0", "as numbers"),
        ("{:05}.png", "{}.png", "as numbers"),
        ("a/{:03}.png", "{:02}", "as numbers"),
        ("IMG_{}.PNG", "img_{}.png", "upper or lower case"),
        ("img_{}.png", "IMG_{}", "upper or lower case"),
        ("A/{}.png", "a/{}.PNG", "upper or lower case"),
        ("cafe\u0301_{}.png", "caf\u00e9_{}", "one form of Unicode"),
        ("CAFE\u0301_{}.png", "caf\u00e9_{}", "upper or lower case"),
    ],
)
def test_a_tables_ids_match_as_numbers_and_in_any_case(
    tmp_path: Path, file: str, written: str, how: str
) -> None:
    for n in range(12):
        _draw(tmp_path / "train" / file.format(n), n)
    table = tmp_path / "train.csv"
    table.write_text("\n".join(["id,label", *(f"{written.format(n)},kind {n}" for n in range(12))]))
    values, _, labels = _read(tmp_path / "train", labels=table)
    assert labels == [f"kind {value}" for value in values]
    said = open_input(tmp_path / "train", Hints(labels=table)).understood
    assert f"ids match {how}" in said or f"ids match in {how}" in said


def test_ids_that_match_two_files_in_another_case_or_as_numbers_are_refused(tmp_path: Path) -> None:
    folder, table = tmp_path / "train", tmp_path / "train.csv"
    for n, name in enumerate(("x_1", "X_1", "5", "05")):
        _draw(folder / f"{name}.png", n)
    table.write_text("id,label\nX_1.PNG,a\nx_1.PNG,b\n5,c\n005,d\n")
    _refused(folder, "every picture must have one row", labels=table)
    table.write_text("id,label\nX_1,a\nx_1,b\n5,c\n05,d\n")
    labels = dict(zip(*_read(folder, labels=table)[1:], strict=True))
    assert labels == {"X_1.png": "a", "x_1.png": "b", "5.png": "c", "05.png": "d"}
    assert "ids match" not in open_input(folder, Hints(labels=table)).understood
