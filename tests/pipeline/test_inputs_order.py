"""What stands in another order than training's, or than it seems: colours, columns, labels, ids.
Each is put in order, or refused; none is taken as it comes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core.errors import InputError
from pipeline.inputs import Hints, open_input
from pipeline.predictions.id_match import match_ids

COUNT, SIDE = 40, 8
IMAGES = np.random.default_rng(5).integers(0, 256, (COUNT, SIDE, SIDE))
SQUARES = [f"{letter}{row}" for row in range(1, 9) for letter in "abcdefgh"]  # a chess board's


def table(path: Path, images: np.ndarray, names: Sequence[str], **columns: Sequence[Any]) -> Path:
    """Write a table with a header; further columns come first."""
    lines = [",".join([*columns, *names])]
    for n, image in enumerate(images):
        cells = [str(values[n]) for values in columns.values()]
        lines.append(",".join([*cells, *map(str, image.ravel())]))
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, hints: Hints) -> tuple[np.ndarray, list[str], list[str], str]:
    source = open_input(path, hints)
    blocks = list(source.blocks(9))
    images = np.concatenate([np.asarray(block.pictures) for block in blocks])
    labels = [label for block in blocks for label in block.labels or ()]
    return images, [one for block in blocks for one in block.ids], labels, source.understood


def tinted() -> np.ndarray:
    """Return smooth pictures (N, 3, H, W) of one tint."""
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = [30 + 30 * np.sin(y / 3 + n) * np.cos(x / 3 - n) for n in range(COUNT)]
    return np.asarray(np.round([[180 + wave, 60 + wave, 110 + wave] for wave in waves]), np.uint8)


def test_a_tint_does_not_hide_the_order_of_colours(tmp_path: Path) -> None:
    pictures = tinted()
    names, labels = [f"pixel{n}" for n in range(192)], [n % 2 for n in range(COUNT)]
    planes = table(tmp_path / "planes.csv", pictures, names, label=labels)
    by_pixel = table(tmp_path / "pixels.csv", pictures.transpose(0, 2, 3, 1), names, label=labels)
    for path, words in ((planes, "plane by plane"), (by_pixel, "pixel by pixel")):
        images, _, _, understood = read(path, Hints(need_labels=True))
        assert words in understood and (images == pictures).all()


def test_names_and_the_user_tell_the_order_of_colours(tmp_path: Path) -> None:
    noise = np.random.default_rng(6).integers(0, 256, (COUNT, 3, SIDE, SIDE))
    turns = [f"{colour}{n}" for n in range(64) for colour in "rgb"]
    one_by_one = [f"{colour}{n}" for colour in "rgb" for n in range(64)]
    path = table(tmp_path / "a.csv", noise.transpose(0, 2, 3, 1), turns)
    assert (read(path, Hints())[0] == noise).all()
    path = table(path, noise, one_by_one)
    assert (read(path, Hints())[0] == noise).all()
    trained = {"shape": (3, 8, 8), "class_names": ("0", "1")}
    path = table(path, noise, [f"p{n}" for n in range(192)])
    with pytest.raises(InputError, match=r"order of a row's colours must be certain"):
        read(path, Hints(**trained))  # type: ignore[arg-type]
    told = Hints(**trained, shape_told=True)  # type: ignore[arg-type]
    assert (read(path, told)[0] == noise).all()


def test_columns_in_another_order_than_training(tmp_path: Path) -> None:
    path = table(tmp_path / "train.csv", IMAGES, SQUARES)
    source = open_input(path, Hints())
    assert tuple(source.pixel_names) == tuple(SQUARES)
    order = np.random.default_rng(7).permutation(64)
    mixed = IMAGES.reshape(COUNT, 64)[:, order]
    names = [SQUARES[k] for k in order]
    trained = Hints(class_names=("0", "1"), shape=(1, 8, 8), pixel_names=tuple(SQUARES))
    images, _, _, understood = read(table(path, mixed, names), trained)
    assert (images[:, 0] == IMAGES).all() and "order of training's columns" in understood
    words = [f"{a}{b}x" for a in "abcdefgh" for b in "abcdefgh"]
    worded = Hints(class_names=("0", "1"), shape=(1, 8, 8), pixel_names=tuple(words))
    with pytest.raises(InputError, match=r"called as in the training data.*1 others \(odd\)"):
        read(table(path, mixed, ["odd", *words[1:]]), worded)
    alone = Hints(class_names=("0", "1"), shape=(1, 8, 8), pixel_names=("aax",))  # of a stranger
    with pytest.raises(InputError, match=r"called as in the training data, aax, \.\.\."):
        read(table(path, mixed, words), alone)
    twice = ["aax" if name == "abx" else name for name in words]
    known = Hints(class_names=("0", "1"), shape=(1, 8, 8), pixel_names=tuple(twice))
    with pytest.raises(InputError, match="aax more than once"):
        read(table(path, mixed, [twice[k] for k in order]), known)
    understood = read(table(path, IMAGES, [f"q{n}x" for n in range(64)]), trained)[3]
    assert "called otherwise than in training" in understood


def test_names_that_count_need_not_be_remembered(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", IMAGES, [f"pixel{n}" for n in range(64)])
    assert not open_input(path, Hints()).pixel_names


def test_ids_of_labels_beside_a_table_without_ids(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", IMAGES, [f"pixel{n}" for n in range(64)])
    order = np.random.default_rng(8).permutation(COUNT)
    beside = tmp_path / "labels.csv"
    beside.write_text("id,label\n" + "".join(f"{n},{'abc'[n % 3]}\n" for n in order))
    hints = Hints(labels=beside, need_labels=True)
    _, _, labels, understood = read(path, hints)
    assert labels == ["abc"[n % 3] for n in range(COUNT)] and "by number" in understood
    beside.write_text("id,label\n" + "".join(f"other{n},a\n" for n in order))
    with pytest.raises(InputError, match=r"must count the images, which have none.*'other"):
        read(path, hints)


INDEXES = {  # a table of labels that stand as the pictures do, in order of a shuffled index
    "without a name": (",label\n{}", "`id`=first"),
    "a series": (",0\n{}", "`id`=first"),
    "without a header": ("{}", "`id`=first"),
    "saved again": ("Unnamed: 0,label\n{}", "`id`=first"),
    "reset": ("index,label\n{}", "`id`=first"),
}


@pytest.mark.parametrize("name", sorted(INDEXES))
@pytest.mark.parametrize("kind", ["array", "table"])
def test_a_shuffled_index_beside_labels_decides_nothing(
    name: str, kind: str, tmp_path: Path
) -> None:
    text, way = INDEXES[name]
    path, beside = tmp_path / "x.npy", tmp_path / "y.csv"
    np.save(path, IMAGES)
    if kind == "table":
        path = table(tmp_path / "x.csv", IMAGES, [f"pixel{n}" for n in range(64)])
    order = np.random.default_rng(8).permutation(COUNT).tolist()
    labels = [str(n % 3) for n in range(COUNT)]

    def write(index: Sequence[int]) -> None:
        rows = "".join(f"{n},{label}\n" for n, label in zip(index, labels, strict=True))
        beside.write_text(text.format(rows))

    write(order)
    hints = Hints(labels=beside, need_labels=True)
    way = way if kind == "array" else "a name for that column in the first line of y.csv"
    with pytest.raises(InputError, match=rf"order of labels must be certain.*id`=none .*{way}"):
        read(path, hints)
    _, _, found, understood = read(path, Hints(labels=beside, need_labels=True, id="none"))
    assert found == labels and "y.csv, in order: no ids; labels: " in understood
    if kind == "array":
        _, _, found, understood = read(path, Hints(labels=beside, need_labels=True, id="first"))
        assert found == [labels[order.index(n)] for n in range(COUNT)]
        assert "y.csv, by number: ids: " in understood
    write([7 * n for n in order])
    with pytest.raises(InputError, match=r"must count the images.*`id`=none takes the labels in"):
        read(path, hints)
    assert read(path, Hints(labels=beside, need_labels=True, id="none"))[2] == labels
    for rising in (range(COUNT), range(3, 7 * COUNT, 7)):
        write([*rising][:COUNT])
        _, _, found, understood = read(path, hints)
        assert found == labels and "y.csv, in order: ids: " in understood


def test_labels_whose_ids_the_user_does_not_want_are_in_order(tmp_path: Path) -> None:
    path, beside = tmp_path / "x.npy", tmp_path / "y.csv"
    np.save(path, IMAGES)
    order, labels = range(COUNT)[::-1], [str(n % 3) for n in range(COUNT)]
    marks = ["1,0,0", "0,1,0", "0,0,1"]
    texts = {
        "id,label\n": labels,
        "id,file,label\n": [f"a,{label}" for label in labels],
        "id,0,1,2\n": [marks[int(label)] for label in labels],
        ",0,1,2\n": [marks[int(label)] for label in labels],
        "what,which\n": labels,
        "": ["none", *("ab"[n % 2] for n in range(1, COUNT))],
    }
    for header, cells in texts.items():
        rows = "".join(f"{n},{cell}\n" for n, cell in zip(order, cells, strict=True))
        beside.write_text(header + rows)
        _, _, found, understood = read(path, Hints(labels=beside, need_labels=True, id="none"))
        wanted = labels if header else cells
        assert found == wanted and "y.csv, in order: no ids; labels: " in understood
    beside.write_text("id,label\n" + "".join(f"{n // 2},{n % 3}\n" for n in order))
    with pytest.raises(InputError, match=r"ids must be different.*`id`=none takes the labels in"):
        read(path, Hints(labels=beside, need_labels=True))
    beside.write_text("p,q,r\n" + "".join(f"{n},{n},{n}\n" for n in order))
    with pytest.raises(InputError, match="or `id`=none where the images have no names"):
        read(path, Hints(labels=beside, need_labels=True))
    with pytest.raises(InputError, match="or `id`=none where the images have no names"):
        read(path, Hints(labels=beside, need_labels=True, id="none"))


def test_labels_beside_an_archive_of_arrays_are_joined_by_its_ids(tmp_path: Path) -> None:
    order = np.random.default_rng(8).permutation(COUNT)
    np.savez(tmp_path / "x.npz", images=IMAGES, ids=order)
    beside = tmp_path / "y.csv"
    beside.write_text("id,label\n" + "".join(f"{n},{n % 3}\n" for n in range(COUNT)))
    hints = Hints(labels=beside, need_labels=True)
    _, ids, found, understood = read(tmp_path / "x.npz", hints)
    assert found == [str(int(name) % 3) for name in ids] and "y.csv, by id: " in understood


def test_labels_beside_a_table_are_joined_by_their_ids(tmp_path: Path) -> None:
    ids = [f"t{n}" for n in range(COUNT)]
    path = table(tmp_path / "a.csv", IMAGES, [f"pixel{n}" for n in range(64)], id=ids)
    order = np.random.default_rng(9).permutation(COUNT)
    beside = tmp_path / "labels.csv"
    beside.write_text("id,label\n" + "".join(f"t{n},{'abc'[n % 3]}\n" for n in order))
    _, found, labels, understood = read(path, Hints(labels=beside, need_labels=True))
    assert found == ids and labels == ["abc"[n % 3] for n in range(COUNT)]
    assert "by id" in understood
    beside.write_text("id,label\n" + "".join(f"t{n},a\n" for n in range(COUNT - 1)))
    with pytest.raises(
        InputError, match=rf"every image must have a label, got none for 't{COUNT - 1}'"
    ):
        read(path, Hints(labels=beside, need_labels=True))


def test_labels_without_an_image(tmp_path: Path) -> None:
    ids = [f"t{n}" for n in range(COUNT)]
    path = table(tmp_path / "a.csv", IMAGES, [f"pixel{n}" for n in range(64)], id=ids)
    beside = tmp_path / "labels.csv"
    beside.write_text("id,label\n" + "".join(f"t{n},{n % 2}\n" for n in range(COUNT + 3)))
    with pytest.raises(InputError, match=r"every label must have an image, got 3 without \(t40"):
        read(path, Hints(labels=beside, need_labels=True))


def test_ids_in_an_archive_of_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for name, ids in (("ids", np.arange(COUNT)[::-1]), ("filenames", [f"{n}.x" for n in IMAGES])):
        np.savez(path, images=IMAGES, **{name: np.asarray(ids)})
        assert read(path, Hints(class_names=("0", "1")))[1] == [str(one) for one in ids]
    np.savez(path, images=IMAGES, ids=np.zeros(COUNT, np.int64))
    with pytest.raises(InputError, match=r"ids must be distinct, got '0' twice in array 'ids'"):
        read(path, Hints(class_names=("0", "1")))
    assert read(path, Hints(class_names=("0", "1"), id="none"))[1][:2] == ["1", "2"]


def test_an_index_that_leaves_numbers_out_later_is_the_ids(tmp_path: Path) -> None:
    numbers = [*range(120), *range(200, 230)]
    images = np.random.default_rng(9).integers(0, 256, (150, 8, 8))
    path = table(tmp_path / "a.csv", images, [f"pixel{n}" for n in range(64)], **{"": numbers})
    assert read(path, Hints(class_names=("0", "1")))[1] == [str(n) for n in numbers]
    path = table(path, images, [f"pixel{n}" for n in range(64)], **{"": range(150)})
    assert "not used: first" in read(path, Hints(class_names=("0", "1")))[3]


@pytest.mark.parametrize(
    "wanted", [["test_17", "test_3", "test_20"], ["8", "5", "11"], ["3.0", "1.0", "2.0"]]
)
def test_an_input_without_ids_does_not_follow_a_template_that_is_not_in_order(
    wanted: list[str],
) -> None:
    given = ["1", "2", "3"]
    with pytest.raises(InputError, match="must be in the order of the input's rows"):
        match_ids(wanted, given, True, "sample.csv")
    rising = sorted(wanted, key=lambda name: float(name.removeprefix("test_")))
    if rising != ["1.0", "2.0", "3.0"]:
        order, how = match_ids(rising, given, True, "sample.csv")
        assert order.tolist() == [0, 1, 2] and "order of the template" in how
    digests = ["9f3a", "01bc", "77d0"]
    assert match_ids(digests, given, True, "sample.csv")[0].tolist() == [0, 1, 2]
