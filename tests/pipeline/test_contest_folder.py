"""What the files of a contest's folder are for: found by names and content, or refused."""

import csv
import gzip
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_core.errors import InputError
from pipeline.contest_folder.found_files import found_files
from pipeline.contest_folder.roles import ContestFiles, roles_of
from pipeline.contest_folder.sizes import fitting_size

RNG = np.random.default_rng(0)


def table(path: Path, columns: int, rows: int = 4) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"c{k}" for k in range(columns)])
        writer.writerows(RNG.integers(0, 255, (rows, columns)).tolist())
    return path


def pictures(folder: Path, count: int = 3, size: tuple[int, int] = (12, 10)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        Image.fromarray(RNG.integers(0, 255, size, dtype=np.uint8)).save(folder / f"{k}.png")
    return folder


def test_a_contest_of_tables(tmp_path: Path) -> None:
    train, test = table(tmp_path / "train.csv", 65), table(tmp_path / "test.csv", 64)
    template = table(tmp_path / "sample_submission.csv", 2)
    notes = tmp_path / "notes.csv"
    table(notes, 3)
    notes.rename(tmp_path / "readme.md")
    assert roles_of(tmp_path, ContestFiles()) == ContestFiles(
        training=train, test=test, template=template
    )


def test_a_comment_above_a_table_hides_it_not(tmp_path: Path) -> None:
    train, test = table(tmp_path / "train.csv", 65), table(tmp_path / "test.csv", 64)
    test.write_text("# exported\n" + test.read_text())
    assert roles_of(tmp_path, ContestFiles()) == ContestFiles(training=train, test=test)


def test_a_contest_of_pictures_with_a_table_of_labels(tmp_path: Path) -> None:
    train, test = pictures(tmp_path / "images" / "train"), pictures(tmp_path / "images" / "test")
    labels = table(tmp_path / "train.csv", 2)
    template = table(tmp_path / "SampleSubmission.csv", 5)
    found = roles_of(tmp_path, ContestFiles())
    assert found == ContestFiles(training=train, labels=labels, test=test, template=template)


def test_class_folders_are_one_set(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        pictures(tmp_path / "train" / name)
    test = pictures(tmp_path / "test")
    assert roles_of(tmp_path, ContestFiles()) == ContestFiles(
        training=tmp_path / "train", test=test
    )


def test_mnists_own_files(tmp_path: Path) -> None:
    names = (
        *("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        *("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
    )
    for name in names:
        axes = 3 if "images" in name else 1
        header = struct.pack(f">BBBB{axes}I", 0, 0, 8, axes, *(2,) * axes)
        (tmp_path / name).write_bytes(gzip.compress(header + bytes(2**axes)))
    found = roles_of(tmp_path, ContestFiles())
    assert [path and path.name for path in (found.training, found.labels, found.test)] == [
        *names[:2],
        names[2],
    ]
    assert [path.name for path in found.unused] == [names[3]]


def test_two_candidates_are_refused_with_the_key_that_decides(tmp_path: Path) -> None:
    table(tmp_path / "a.csv", 65)
    chosen = table(tmp_path / "b.csv", 65)
    with pytest.raises(InputError, match=r"one training file or folder, got 2 \(a.csv, b.csv\)"):
        roles_of(tmp_path, ContestFiles())
    assert roles_of(tmp_path, ContestFiles(training=chosen)).training == chosen


def test_a_folder_without_training_data_is_refused(tmp_path: Path) -> None:
    table(tmp_path / "test.csv", 64)
    with pytest.raises(InputError, match="must hold training data"):
        roles_of(tmp_path, ContestFiles())


def test_a_pipe_among_pictures_is_waited_for_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    os.mkfifo(tmp_path / "train" / "a" / "p.png")
    with pytest.raises(InputError, match=r"p\.png: must be a regular file, got a pipe"):
        roles_of(tmp_path, ContestFiles())


def test_what_a_file_holds_decides_not_its_ending(tmp_path: Path) -> None:
    train, test = table(tmp_path / "train.csv", 65), table(tmp_path / "test", 64)
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.write(train, "train.csv")
    train.unlink()
    labels = tmp_path / "train_labels.txt"
    labels.write_text("1\n2\n3\n4\n")
    assert roles_of(tmp_path, ContestFiles()) == ContestFiles(
        training=tmp_path / "train.zip", labels=labels, test=test
    )


def test_pixels_in_one_cell_make_a_table_of_images(tmp_path: Path) -> None:
    train = tmp_path / "faces.csv"
    train.write_text("emotion,pixels\n" + f"1,{' '.join(['7'] * 64)}\n" * 3)
    (tmp_path / "about.txt").write_text("A text of many words is no image: " + "word " * 40)
    assert roles_of(tmp_path, ContestFiles()).training == train


def test_pictures_need_no_endings(tmp_path: Path) -> None:
    for part in ("train/3", "train/8", "test"):
        for path in pictures(tmp_path / part).iterdir():
            path.rename(path.with_suffix(""))
    found = roles_of(tmp_path, ContestFiles())
    assert found == ContestFiles(training=tmp_path / "train", test=tmp_path / "test")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train.csv", "label,pixel0\n1,2\n".encode("utf-16"), "UTF-16 text"),
        ("train.csv", b"<!DOCTYPE html><html></html>", "an HTML page"),
        ("train.pkl", pickle.dumps([1]), "a Python pickle"),
        ("train.csv", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("train.csv", b"a,b,c\n1,2,3\n", "a table of few columns holds no pixels"),
    ],
)
def test_a_file_that_cannot_have_its_role_is_named_with_the_reason(
    name: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"training data .* got none that .*{reason}.*{name}"):
        roles_of(tmp_path, ContestFiles())
    test = tmp_path / name.replace("train", "test")
    (tmp_path / name).rename(test)
    table(tmp_path / "train.csv", 65)
    with pytest.raises(InputError, match=rf"test data.* got none that .*{reason}.*{test.name}"):
        roles_of(tmp_path, ContestFiles())
    found = roles_of(tmp_path, ContestFiles(), ["test"])
    assert found.training == tmp_path / "train.csv" and found.test is None


def test_what_is_not_needed_may_be_unreadable_and_is_said(tmp_path: Path) -> None:
    train, test = table(tmp_path / "train.csv", 65), table(tmp_path / "test.csv", 64)
    (tmp_path / "train.pkl").write_bytes(pickle.dumps([1]))
    found = roles_of(tmp_path, ContestFiles())
    assert (found.training, found.test) == (train, test)
    assert any("a Python pickle" in line for line in found.lines(tmp_path))


def test_the_word_contest_does_not_say_test(tmp_path: Path) -> None:
    train = table(tmp_path / "contest" / "pixels.csv", 65)
    table(tmp_path / "latest.csv", 3)
    assert roles_of(tmp_path, ContestFiles(labels=tmp_path)).training == train


def test_an_unreadable_table_of_labels_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "train")
    (tmp_path / "labels.csv").write_bytes("id,label\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"labels of its pictures, .*UTF-16.*labels=none"):
        roles_of(tmp_path, ContestFiles())


def test_one_archive_of_training_and_test_arrays(tmp_path: Path) -> None:
    images = np.zeros((6, 8, 8), np.uint8)
    path = tmp_path / "all.npz"
    arrays = {"x_train": images, "x_test": images[:2], "x_val": images[:3]}
    labels = {"y_train": np.arange(6), "y_test": np.arange(2)}
    np.savez(path, allow_pickle=False, **arrays, **labels)
    found = roles_of(tmp_path, ContestFiles())
    assert found.training == found.test == path
    assert found.parts is not None
    assert (found.parts.training, found.parts.test) == ("x_train", "x_test")
    assert any("arrays not used: x_val, y_test" in line for line in found.lines(tmp_path))
    np.savez(path, allow_pickle=False, x=images, y=np.arange(6))
    assert roles_of(tmp_path, ContestFiles()) == ContestFiles(training=path)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ([(12, 10)], {}),
        ([(12, 10), (14, 10), (16, 10)], {"size": [14, 10]}),
        ([(300, 200)], {"size": [64, 43]}),
        ([(4, 40)], {"size": [8, 40]}),
    ],
)
def test_the_size_follows_from_the_pictures(
    sizes: list[tuple[int, int]], says: dict[str, list[int]], tmp_path: Path
) -> None:
    for number, size in enumerate(sizes):
        pictures(tmp_path / "train" / str(number), 2, size)
    assert fitting_size(ContestFiles(training=tmp_path / "train")) == says


def test_a_folder_without_a_readable_picture_asks_for_no_size(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "1.png").write_bytes(b"\x89PNG cut")
    assert fitting_size(ContestFiles(training=tmp_path / "train")) == {}


def test_files_are_looked_for_down_to_a_depth_and_a_picture_beside_them_is_no_data(
    tmp_path: Path,
) -> None:
    outer, inner = (table(tmp_path / place / "a.csv", 65) for place in ("x", "x/y"))
    Image.new("L", (9, 9)).save(tmp_path / "x" / "logo.png")  # makes x a folder of pictures
    assert [found.kind for found in found_files(tmp_path, 2)] == ["pictures"]
    (tmp_path / "x" / "logo.png").rename(tmp_path / "logo.png")
    for depth, expected in ((0, []), (1, [outer]), (2, [outer, inner])):
        assert [found.path for found in found_files(tmp_path, depth)] == expected


@pytest.mark.parametrize(("shape", "images"), [((9,), False), ((9, 4, 4), True)])
def test_an_array_of_one_axis_holds_no_images(
    tmp_path: Path, shape: tuple[int, ...], images: bool
) -> None:
    np.save(tmp_path / "values.npy", np.zeros(shape, np.uint8))
    (found,) = found_files(tmp_path)
    assert (found.kind, found.images, found.fault) == ("npy", images, "")


def test_the_size_is_that_of_upright_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    for number, width in enumerate((48, 56, 48)):
        turned = Image.fromarray(RNG.integers(0, 255, (width, 96), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6  # shown upright: 96 high
        turned.save(folder / f"{number}.jpg", exif=exif)
    assert fitting_size(ContestFiles(training=folder)) == {"size": [64, 32]}


def test_a_sample_submission_of_another_form_is_not_passed_over(tmp_path: Path) -> None:
    table(tmp_path / "train.csv", 65)
    table(tmp_path / "test.csv", 64)
    (tmp_path / "sample_submission.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match=r"sample submission.*sample_submission.json"):
        roles_of(tmp_path, ContestFiles())


@pytest.mark.parametrize("name", ["intestine", "protest", "testis"])
def test_a_class_is_no_test_set_by_its_name(name: str, tmp_path: Path) -> None:
    for folder in (name, "liver"):
        pictures(tmp_path / folder)
    with pytest.raises(InputError, match="one training file or folder, got 2"):
        roles_of(tmp_path, ContestFiles())
