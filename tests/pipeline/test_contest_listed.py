"""All pictures of a contest in one folder, divided by the tables that name them."""

import csv
from collections.abc import Iterable
from pathlib import Path

import pytest
from PIL import Image

from cnn_core.errors import InputError
from pipeline.configuration import command_line
from pipeline.contest import COMMAND, main
from pipeline.contest_folder.roles import ContestFiles, roles_of
from pipeline.inputs import Hints, open_input
from tests.pipeline.contests import digits

TRAIN, TEST = range(40), range(40, 52)


def names(numbers: Iterable[int]) -> list[str]:
    return [f"i{k}" for k in numbers]


def table(path: Path, header: list[str], *columns: Iterable[object]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *zip(*columns, strict=True)])
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of images/, train.csv, test.csv and sample_submission.csv."""
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    images, _ = digits()
    for k in (*TRAIN, *TEST):
        Image.fromarray(images[k]).save(folder / "images" / f"i{k}.png")
    table(folder / "train.csv", ["id", "label"], names(TRAIN), (k % 3 for k in TRAIN))
    table(folder / "test.csv", ["id"], names(TEST))
    table(folder / "sample_submission.csv", ["id", "label"], names(TEST), (0 for _ in TEST))
    return folder


def dry(folder: Path, *words: str) -> int:
    root = folder.parent / "out"
    return command_line(COMMAND, [f"folder={folder}", f"root={root}", "dry=true", *words], main)


@pytest.mark.parametrize("words", [(), ("training=images", "test=images"), ("test=test.csv",)])
def test_tables_divide_the_pictures_of_one_folder(
    words: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry(folder, *words) == 0
    said = capsys.readouterr().out
    assert "train.csv names those of training, test.csv those of the test\n" in said
    assert "images: 40 pictures; those that train.csv names by column 'id'; 12 others left" in said
    assert "3 classes: 0, 1, 2" in said and "12 images to label; template: ids" in said
    assert "not used" not in said


def test_without_a_test_the_pictures_of_its_table_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dry(folder, "test=none") == 0
    said = capsys.readouterr().out
    assert "test data: none" in said and "40 images, 8x8" in said and "to label" not in said


def test_a_sample_submission_names_the_test_where_no_other_table_does(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "test.csv").unlink()
    (folder / "images" / "i51.png").rename(folder / "images" / "beside.png")
    sample = table(folder / "sample_submission.csv", ["id", "label"], names(TEST[:-1]), TEST[:-1])
    assert dry(folder, "format=submission") == 0
    said = capsys.readouterr().out
    assert "sample_submission.csv those of the test; 1 pictures in neither: beside.png" in said
    assert "11 images to label" in said
    sample.unlink()
    assert dry(folder) == 2
    assert "12 pictures without a row" in (error := capsys.readouterr().err)
    assert "; only, a table of the pictures that count, leaves others out" in error
    assert dry(folder, "only=train.csv") == 0


def test_lists_that_do_not_divide_the_pictures_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(folder / "test.csv", ["id"], names([*TEST, 77]))
    assert dry(folder) == 2
    said = capsys.readouterr().err
    assert "1 rows without a picture (i77) by column 'id' of" in said and "test=none" in said
    table(folder / "test.csv", ["id"], names([*TEST, 3]))
    assert dry(folder) == 2
    assert "1 (i3.png) both in" in capsys.readouterr().err
    table(folder / "train.csv", ["id", "label"], names(range(52)), (k % 3 for k in range(52)))
    assert dry(folder) == 2
    assert "test=none labels none" in capsys.readouterr().err
    assert dry(folder, "test=none") == 0
    assert "52 images, 8x8" in capsys.readouterr().out


def test_the_column_of_ids_is_told_where_two_name_pictures(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (folder / "images").iterdir():
        path.rename(path.with_name(path.name[1:]))
    table(folder / "train.csv", ["id", "label"], TRAIN, (k % 3 for k in TRAIN))
    table(folder / "test.csv", ["row", "key"], range(len(TEST)), TEST)
    (folder / "sample_submission.csv").unlink()
    assert dry(folder) == 2
    assert "other pictures, 'row', 'key' of" in (said := capsys.readouterr().err)
    assert "`test_id` says which" in said
    assert dry(folder, "test_id=key") == 0
    assert dry(folder, "test_id=keys") == 2
    assert "test_id=keys must be a column" in capsys.readouterr().err


def test_test_pictures_in_a_folder_of_their_own_need_no_list(folder: Path) -> None:
    (folder / "test").mkdir()
    for name in names(TEST):
        (folder / "images" / f"{name}.png").rename(folder / "test" / f"{name}.png")
    found = roles_of(folder, ContestFiles())
    assert found.test == folder / "test" and found.listed is None


def test_a_table_without_a_header_names_pictures(tmp_path: Path, folder: Path) -> None:
    wanted = tmp_path / "list.txt"
    wanted.write_text("images/i7.png\nimages/i5.png\n")
    source = open_input(folder / "images", Hints(only=wanted))
    assert [name for block in source.blocks(9) for name in block.ids] == ["i5.png", "i7.png"]
    wanted.write_text("i5\n")
    assert open_input(folder / "images", Hints(only=wanted)).count == 1
    with pytest.raises(InputError, match=r"`only` must go with a folder of pictures, got .*list"):
        open_input(folder / "train.csv", Hints(only=wanted))


def test_a_damaged_picture_that_no_table_names_is_not_in_the_way(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images" / "beside.png").write_bytes(b"<html>")
    (folder / "images" / "i45.png").write_bytes(b"")
    assert dry(folder) == 2
    assert "got 1 others: i45.png in" in capsys.readouterr().err
    assert dry(folder, "on_damaged=skip") == 0
    assert "damaged pictures left out" not in capsys.readouterr().out
