"""Names in a contest's folder: which say what a file or folder is for, and which are classes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_core.errors import InputError
from pipeline.configuration import command_line
from pipeline.contest import COMMAND, main
from pipeline.contest_folder.found_files import look_at
from pipeline.contest_folder.names import folder_part
from pipeline.contest_folder.roles import ContestFiles, roles_of

RNG = np.random.default_rng(0)


def pictures(folder: Path, *places: str, count: int = 4) -> Path:
    """Write different pictures into each of the places below a folder; return the folder."""
    for number, place in enumerate(places):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            image = RNG.integers(0, 60, (8, 8), dtype=np.uint8)
            image[2 * (number % 4)] = 250
            Image.fromarray(image).save(folder / place / f"{k}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *(
            (name, "train")
            for name in ("train", "Training", "xy_train", "train_images", "seg_train")
        ),
        *((name, "train") for name in ("train2017", "TrainImages", "trainset", "stage1_train_v2")),
        *(
            (name, "test")
            for name in ("test", "TEST", "test1", "testSet", "test-jpg", "evaluation")
        ),
        *((name, "test") for name in ("unlabeled", "hold-out", "t10k", "t10k-images", "test_data")),
        *((name, "valid") for name in ("val", "validation", "val2017")),
        *((name, "") for name in ("trainers", "medieval", "testudo", "contest", "latest", "testa")),
        *((name, "") for name in ("trainée", "values", "oval", "retrieval", "strain", "1", "")),
    ],
)
def test_what_a_folders_name_says(name: str, part: str) -> None:
    assert folder_part(name) == part


@pytest.mark.parametrize(
    "classes",
    [
        ("gothic", "medieval"),
        ("bag", "boots", "trainers"),
        ("bus", "train"),
        ("bus", "car", "test"),
        ("dog/front", "dog/side", "train/front", "train/side"),
        ("bullet_train/a", "station/a", "test_track/a"),
    ],
)
@pytest.mark.parametrize("labelled", [False, True])
def test_classes_may_be_called_like_parts(
    classes: tuple[str, ...], labelled: bool, tmp_path: Path
) -> None:
    train = pictures(tmp_path / "train", *classes)
    test = pictures(tmp_path / "test", *(classes if labelled else ["."]))
    found = ContestFiles(training=train, test=test)
    assert roles_of(tmp_path, ContestFiles()) == found
    assert roles_of(tmp_path, ContestFiles(training=train)) == found
    assert roles_of(tmp_path, ContestFiles(test=test)) == found


@pytest.mark.parametrize(
    ("places", "training", "test"),
    [
        (("data/train/a", "data/train/b", "data/test"), "data/train", "data/test"),
        (("data/train", "data/val", "data/test"), "data/train", "data/test"),
        (("data/train", "data/test", "data/extra"), "data/train", "data/test"),
        (("xy_train/a", "xy_train/b", "test_images"), "xy_train", "test_images"),
        (("train/train/a", "train/train/b", "test/test"), "train/train", "test/test"),
        (("seg/train_v2/a", "seg/train_v2/b", "seg/TestImages"), "seg/train_v2", "seg/TestImages"),
        (("train/a", "train/b", "holdout"), "train", "holdout"),
        (("retrieval/train", "retrieval/test1"), "retrieval/train", "retrieval/test1"),
    ],
)
def test_folders_are_divided_by_whole_words(
    places: tuple[str, ...], training: str, test: str, tmp_path: Path
) -> None:
    pictures(tmp_path, *places)
    found = roles_of(tmp_path, ContestFiles())
    assert (found.training, found.test) == (tmp_path / training, tmp_path / test)


def test_classes_and_parts_that_cannot_be_told_apart_are_decided_by_the_user(
    tmp_path: Path,
) -> None:
    data = pictures(tmp_path / "data", "dog/a", "train/a")
    with pytest.raises(InputError, match=r"got train beside dog in .*data.*; training=PATH"):
        roles_of(tmp_path, ContestFiles())
    assert roles_of(tmp_path, ContestFiles(training=data)) == ContestFiles(training=data)
    inside = ContestFiles(training=data / "train")
    assert roles_of(tmp_path, inside) == inside
    pictures(tmp_path, "test")
    assert roles_of(tmp_path, inside).test == tmp_path / "test"


def test_nothing_below_or_above_a_set_is_another_one(tmp_path: Path) -> None:
    data = pictures(tmp_path / "data", "train", "test")
    assert roles_of(tmp_path, ContestFiles(training=data)) == ContestFiles(training=data)
    given = ContestFiles(training=data / "train", test=data / "test" / "0.png")
    assert roles_of(tmp_path, given) == given
    other = pictures(tmp_path / "other", "a", "b")
    assert roles_of(tmp_path, ContestFiles(test=other / "a")) == ContestFiles(
        training=data / "train", test=other / "a", unused=(data / "test",)
    )


def test_a_labelled_test_set_is_labelled_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pictures(tmp_path / "mine", "train/bus", "train/train", "test/bus", "test/train")
    words = [f"folder={folder}", f"root={tmp_path / 'out'}", "dry=true"]
    for more in ([], ["training=train"]):
        assert command_line(COMMAND, [*words, *more], main) == 0
        said = capsys.readouterr().out
        assert "test data: test/\n" in said and "8 images to label" in said
        assert "2 classes: bus, train" in said and "not used" not in said


def test_arrays_are_told_by_words_too(tmp_path: Path) -> None:
    images = np.zeros((6, 8, 8), np.uint8)
    path = tmp_path / "all.npz"
    names = {"train_values": images, "test_values": images[:2], "train_label": np.arange(6)}
    np.savez(path, allow_pickle=False, **names)
    parts = roles_of(tmp_path, ContestFiles()).parts
    assert parts is not None and (parts.training, parts.test) == ("train_values", "test_values")
    assert look_at(path).kind == "npz"


def test_words_in_files_names(tmp_path: Path) -> None:
    for name in ("medieval.npy", "trainX.npy", "Xtest.npy"):
        np.save(tmp_path / name, np.zeros((4, 8, 8), np.uint8))
    found = roles_of(tmp_path, ContestFiles())
    assert (found.training, found.test) == (tmp_path / "trainX.npy", tmp_path / "Xtest.npy")
    assert found.unused == (tmp_path / "medieval.npy",)
