"""What the files of a contest's folder are for: found by names and content, or refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_core.errors import InputError
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
        (tmp_path / name).write_bytes(b"\x1f\x8b")
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
