"""A table that says which pictures of a folder count."""

from pathlib import Path

import pytest

from cnn_core.errors import InputError
from pipeline.inputs.pictures.picture_choice import chosen

PICTURES = ("a.png", "b.png", "sub/c.png", "d.png")


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "test.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("id,x\na,1\nc,2\n", ("a.png", "sub/c.png"), "; 2 others left out"),
        ("id\nd\nb\na\nc\n", PICTURES, ""),
        ("b.png,1\nd.png,1\n", ("b.png", "d.png"), "; 2 others left out"),  # without names
    ],
)
def test_those_that_its_rows_name_count_in_the_folders_order(
    tmp_path: Path, text: str, names: tuple[str, ...], words: str
) -> None:
    found, understood = chosen(PICTURES, table(tmp_path, text), "auto", "folder")
    assert found == names
    title = text.partition("\n")[0].partition(",")[0]
    assert understood.startswith(f"those that test.csv names by column {title!r}")
    assert ("others left out" in understood) == bool(words) and understood.endswith(words)


def test_a_column_may_be_named(tmp_path: Path) -> None:
    path = table(tmp_path, "first,second\na,b\nc,d\n")
    with pytest.raises(
        InputError, match=r"got several that name other pictures, 'first', 'second' of"
    ):
        chosen(PICTURES, path, "auto", "folder")
    assert chosen(PICTURES, path, "second", "folder")[0] == ("b.png", "d.png")
    with pytest.raises(InputError, match=r"id=secnd must be a column .* did you mean .second"):
        chosen(PICTURES, path, "secnd", "folder")


def test_columns_that_name_the_same_pictures_agree(tmp_path: Path) -> None:
    path = table(tmp_path, "id,file\nb,b.png\na,a.png\n")
    assert chosen(PICTURES, path, "auto", "folder")[0] == ("a.png", "b.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id\na\nz\n", "by column 'id'"),  # names no picture
        ("id\na\na\n", "no such column"),  # one twice
    ],
)
def test_rows_that_name_no_picture_or_one_twice_are_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(InputError, match=rf"all different, got .*{words} .* in folder"):
        chosen(PICTURES, table(tmp_path, text), "auto", "folder")
