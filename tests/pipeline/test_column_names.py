"""Names that tell what a column is, as contests and programs that save tables spell them."""

from pathlib import Path

import pytest

from pipeline.inputs import Hints, open_input
from pipeline.inputs.tables.pixel_names import _by_colour, forms_of
from pipeline.inputs.tables.table_header import named_ids, named_indexes, named_labels

LABELS = (
    *("label", "labels", "class", "classes", "target", "targets", "digit", "y", "category"),
    *("class_name", "classId", "Class", "Label", "label_name", "labelID", "category_id"),
    *("target_id", "Class Name"),
)
IDS = (
    *("id", "ImageId", "filename", "image_name", "image-file", "file", "name", "image", "img"),
    *("path", "file_path", "image_path", "key", "uid", "uuid", "guid"),
    *("sampleId", "sample_id", "photoID", "Image Id"),
)
INDEXES = (
    *("index", "row", "rownum", "row_number", "rownames", "level_0", "__index_level_0__"),
    *("", "Unnamed: 0"),
)
NONE = (
    "pixel0",
    "colour",
    "size",
    "labelled",
    "identity",
    "px",
    "x",
    "0",
    "28x28",
    "valid",
    "grid",
)


@pytest.mark.parametrize("name", LABELS)
def test_names_of_labels(name: str) -> None:
    assert named_labels([name, "pixel0"]) == [0] and named_ids(["pixel0", name]) == []


@pytest.mark.parametrize("name", IDS)
def test_names_of_ids(name: str) -> None:
    assert named_ids(["pixel0", name]) == [1] and named_labels([name]) == []


@pytest.mark.parametrize("name", INDEXES)
def test_names_of_indexes(name: str) -> None:
    assert named_indexes(["a", name]) == [1]


@pytest.mark.parametrize("name", NONE)
def test_names_of_neither(name: str) -> None:
    assert named_ids([name]) == named_labels([name]) == named_indexes([name]) == []


def test_the_plainest_id_comes_first() -> None:
    names = ["sampleId", "guid", "image", "label", "labelId", "ID"]
    assert named_ids(names) == [5, 2, 1, 0]


@pytest.mark.parametrize(
    ("kinds", "ordered"),
    [
        (["blue", "green", "red"], ["red", "green", "blue"]),
        (["px_b", "px_g", "px_r"], ["px_r", "px_g", "px_b"]),
        (["B", "R", "G"], ["R", "G", "B"]),
        (["a", "ab", "abc"], ["a", "ab", "abc"]),  # as far as all of them go, nothing differs
        (["x", "y", "z"], ["x", "y", "z"]),
        (["blue", "green"], ["blue", "green"]),
        (["blue", "green", "red", "rest"], ["blue", "green", "red", "rest"]),
    ],
)
def test_three_kinds_that_begin_as_colours_do_are_in_their_order(
    kinds: list[str], ordered: list[str]
) -> None:
    assert _by_colour(kinds) == ordered


@pytest.mark.parametrize(
    ("names", "forms"),
    [
        (["pixel", "pixel.1", "pixel.2"], ["pixel.#"] * 3),
        (["a1", "a1.2", "b"], ["a#", "a#.#", "b"]),
        (["label", "1x1", "1x28"], ["label", "#x#", "#x#"]),
    ],
)
def test_names_are_alike_but_for_their_numbers(names: list[str], forms: list[str]) -> None:
    assert forms_of(names) == forms


@pytest.mark.parametrize("digits", [19, 40, 5000])
def test_numbers_of_any_length_in_names_are_read(tmp_path: Path, digits: int) -> None:
    """Python makes no number of more than 4,300 digits, and no length of a range beyond 2**63."""
    path = tmp_path / "a.csv"
    for names in (["p1", "p2", "p3", f"p{'9' * digits}"], [f"p{n}{'0' * digits}" for n in "1234"]):
        path.write_text(",".join(names) + "\n1,2,3,4\n5,6,7,8\n")
        source = open_input(path, Hints(label="none", shape=(1, 2, 2)))
        (block,) = source.blocks(3)
        assert [[*picture.ravel()] for picture in block.pictures] == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["p0", "p1", "p2", "p3"], ()),
        (["p3", "p0", "p1", "p2"], ()),  # its numbers tell the order in any other table
        (["north", "south", "east", "west"], ("north", "south", "east", "west")),
    ],
)
def test_names_that_tell_no_order_are_kept_for_other_tables(
    tmp_path: Path, names: list[str], kept: tuple[str, ...]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",".join(names) + "\n1,2,3,4\n5,6,7,8\n")
    source = open_input(path, Hints(label="none", shape=(1, 2, 2)))
    assert tuple(source.pixel_names) == kept
