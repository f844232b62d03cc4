"""A contest's sample submission: header, ids, order and label form are its own, whatever the
variant; what does not agree is refused with names and counts.
"""

import csv
import gzip
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cnn_core.errors import InputError
from pipeline import predict
from pipeline.configuration import command_line
from pipeline.inputs.labels.labels import class_numbers
from pipeline.inputs.tables import table_text
from pipeline.predictions.class_columns import class_columns
from pipeline.predictions.id_match import match_ids
from pipeline.predictions.template import TemplateRows, read_template
from tests.pipeline.made_bundle import save_pictures, stripe, striped

NAMES = ("cat", "cow", "dog")


def _filled(
    tmp_path: Path,
    template: str,
    ids: tuple[str, ...],
    classes: list[int],
    *,
    names: tuple[str, ...] = NAMES,
    id_name: str | None = "id",
    form: str = "auto",
) -> list[list[str]]:
    """Return the rows written for pictures `ids` that belong to `classes` with 0.7."""
    path = tmp_path / "sample.csv"
    path.write_text(template)
    chances = np.full((len(ids), len(names)), 0.3 / (len(names) - 1))
    chances[np.arange(len(ids)), classes] = 0.7
    found = read_template(path, names, id_name, form=form)
    file = io.StringIO()
    rows = TemplateRows(file, names, found, id_name)
    half = len(ids) // 2
    rows.add(ids[:half], chances[:half])
    rows.add(ids[half:], chances[half:])
    rows.finish()
    return list(csv.reader(file.getvalue().splitlines(), delimiter=found.delimiter))


def test_header_order_and_names_are_the_template_s(tmp_path: Path) -> None:
    rows = _filled(tmp_path, "ImageId,Class\nc,cat\na,cat\nb,cat\n", ("a", "b", "c"), [0, 1, 2])
    assert rows == [["ImageId", "Class"], ["c", "dog"], ["a", "cat"], ["b", "cow"]]


@pytest.mark.parametrize("delimiter", [";", "\t", ",", "|"])
def test_its_delimiter_is_kept(tmp_path: Path, delimiter: str) -> None:
    text = "id,label\nx,cat\ny,dog\n".replace(",", delimiter)
    rows = _filled(tmp_path, text, ("x", "y"), [2, 1])
    assert rows == [["id", "label"], ["x", "dog"], ["y", "cow"]]
    assert read_template(tmp_path / "sample.csv", NAMES).delimiter == delimiter


def test_ids_match_in_any_form_of_unicode(tmp_path: Path) -> None:
    given = ("cafe\u0301_1.png", "a/cafe\u0301_2.png")
    for ids, how in (
        ("caf\u00e9_1.png,a/caf\u00e9_2.png", "in one form of Unicode"),
        ("caf\u00e9_1,caf\u00e9_2", "without folders and endings"),
    ):
        rows, said = match_ids(ids.split(","), given, False, "sample.csv")
        assert rows.tolist() == [0, 1] and said == f"ids {how} equal the input's"


def test_a_line_that_tells_excel_the_delimiter_is_no_header(tmp_path: Path) -> None:
    text = "sep=;\r\nid;label\r\nx;cat\r\ny;dog\r\n"
    assert _filled(tmp_path, text, ("x", "y"), [2, 1])[0] == ["id", "label"]
    (tmp_path / "sample.csv").write_text(text + "z\n")
    with pytest.raises(InputError, match=r"got 1 on line 5 of"):
        read_template(tmp_path / "sample.csv", NAMES)


@pytest.mark.parametrize(
    ("template_ids", "input_ids"),
    [
        (("b", "a"), ("a.png", "b.png")),
        (("b.png", "a.png"), ("a", "b")),
        (("test/b.png", "test/a.png"), ("a.png", "b.png")),
        (("b", "a"), ("test/a.png", "test/b.png")),
        (("2", "1"), ("0001.jpg", "0002.jpg")),
        (("0002", "0001"), ("1", "2")),
        (("b.jpeg", "a.jpeg"), ("a.jpg", "b.jpg")),
    ],
)
def test_ids_mean_the_same_picture_with_or_without_ending_and_folder(
    tmp_path: Path, template_ids: tuple[str, ...], input_ids: tuple[str, ...]
) -> None:
    text = "id,label\n" + "".join(f"{name},cat\n" for name in template_ids)
    rows = _filled(tmp_path, text, input_ids, [0, 2])
    assert rows[1:] == [[template_ids[0], "dog"], [template_ids[1], "cat"]]


def test_endings_that_tell_pictures_apart_are_kept(tmp_path: Path) -> None:
    rows = _filled(tmp_path, "id,label\na.png,cat\na.jpg,cat\n", ("a.jpg", "a.png"), [0, 2])
    assert rows[1:] == [["a.png", "dog"], ["a.jpg", "cat"]]
    with pytest.raises(InputError, match=r"2 pictures and 1 ids.*not in the template"):
        _filled(tmp_path, "id,label\na,cat\n", ("a.jpg", "a.png"), [0, 2])


def test_rows_without_ids_follow_the_template_s_numbers_or_order(tmp_path: Path) -> None:
    numbered = ("1", "2", "3")
    for first in (0, 1, 28001):
        text = "id,label\n" + "".join(f"{first + n},cat\n" for n in range(3))
        rows = _filled(tmp_path, text, numbered, [0, 1, 2], id_name=None)
        assert [row[1] for row in rows[1:]] == ["cat", "cow", "dog"]
    rows = _filled(tmp_path, "id,label\nx,cat\na,cat\nk,cat\n", numbered, [2, 1, 0], id_name=None)
    assert rows[1:] == [["x", "dog"], ["a", "cow"], ["k", "cat"]]
    shuffled = "id,label\n2,cat\n0,cat\n1,cat\n"
    rows = _filled(tmp_path, shuffled, numbered, [0, 1, 2], id_name=None)
    assert rows[1:] == [["2", "dog"], ["0", "cat"], ["1", "cow"]]
    with pytest.raises(InputError, match="3 pictures and 2 ids"):
        _filled(tmp_path, "id,label\nx,cat\ny,cat\n", numbered, [0, 1, 2], id_name=None)


def test_an_input_with_ids_of_its_own_is_never_matched_by_order(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must name the same pictures"):
        _filled(tmp_path, "id,label\nx,cat\ny,cat\n", ("a", "b"), [0, 1])


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (("a", "b"), r"got 2 pictures and 3 ids: 1 of the template missing in the input \(c\)"),
        (
            ("a", "b", "c", "d", "e"),
            r"got 5 pictures and 3 ids: 2 of the input not in the template \(d, e\)",
        ),
        (("a", "b", "x"), r"1 of the template missing .*\(c\); 1 of the input not .*\(x\)"),
        (("a", "b", "c", "a"), r"1 more than once in the input \(a\)"),
    ],
)
def test_disagreement_is_refused_with_names_and_counts(
    tmp_path: Path, ids: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _filled(tmp_path, "id,label\na,cat\nb,cat\nc,cat\n", ids, [0] * len(ids))


def test_a_template_that_names_a_picture_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 1 ids more than once \(a\) in .*sample.csv"):
        _filled(tmp_path, "id,label\na,cat\nb,cat\na,cat\n", ("a", "b"), [0, 1])


@pytest.mark.parametrize(
    "columns",
    [
        ("dog", "cat", "cow"),
        ("class_dog", "class_cat", "class_cow"),
        ("DOG", "Cat", "COW"),
        ("dog_prob", "cat_prob", "cow_prob"),
        ("P(dog)", "P(cat)", "P(cow)"),
        (" dog", " cat", " cow"),
    ],
)
def test_probabilities_stand_below_their_class_s_name(
    tmp_path: Path, columns: tuple[str, ...]
) -> None:
    text = ",".join(("id", *columns)) + "\na,0,0,0\nb,0,0,0\n"
    rows = _filled(tmp_path, text, ("b", "a"), [2, 0])
    assert rows[0] == ["id", *columns]
    np.testing.assert_allclose(
        np.array([row[1:] for row in rows[1:]], float), [[0.15, 0.7, 0.15], [0.7, 0.15, 0.15]]
    )


@pytest.mark.parametrize(
    ("names", "columns", "want"),
    [
        (("1", "2", "10"), ("Class_1", "Class_2", "Class_10"), (0, 1, 2)),
        (("1", "2", "10"), ("c10", "c02", "c01"), (2, 1, 0)),
        (("1", "11", "111"), ("p111", "p1", "p11"), (2, 0, 1)),
        (("maple leaf", "oak"), ("oak", "Maple_Leaf"), (1, 0)),
        (("a", "A"), ("A", "a"), (1, 0)),
        (("-1", "1"), ("1", "-1"), (1, 0)),
        (("0", "1"), ("0.0", "1.0"), (0, 1)),
    ],
)
def test_columns_and_names(
    names: tuple[str, ...], columns: tuple[str, ...], want: tuple[int, ...]
) -> None:
    assert class_columns(columns, names, "x.csv") == want


@pytest.mark.parametrize(
    ("names", "columns", "message"),
    [
        # Counted from 1 where the classes count from 0: nobody knows which is which.
        (("0", "1", "2"), ("class_1", "class_2", "class_3"), r"got 3 columns, class_1, class_2"),
        (("cat", "cow", "dog"), ("cat", "cow"), r"without a column of their name: 1 \(dog\)"),
        (("cat", "dog"), ("cat", "dog", "Usage"), r"that name no class: 1 \(Usage\)"),
        (("cat", "dog"), ("cat", "cat"), r"without a column of their name: 1 \(dog\)"),
        (("a", "A"), ("class_a", "class_a"), r"must have one column"),
    ],
)
def test_columns_that_are_not_the_classes_are_refused(
    names: tuple[str, ...], columns: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        class_columns(columns, names, "x.csv")


def test_the_probability_of_the_second_of_two_classes(tmp_path: Path) -> None:
    two = {"names": ("0", "1")}
    rows = _filled(tmp_path, "id,target\na,0.5\nb,0.5\n", ("a", "b"), [1, 0], **two)  # type: ignore[arg-type]
    assert rows[1:] == [["a", "0.700000"], ["b", "0.300000"]]
    rows = _filled(tmp_path, "id,target\na,0\nb,0\n", ("a", "b"), [1, 0], **two)  # type: ignore[arg-type]
    assert rows[1:] == [["a", "1"], ["b", "0"]]
    rows = _filled(tmp_path, "id,dog\na,0.5\nb,0.5\n", ("a", "b"), [1, 0], names=("cat", "dog"))
    assert rows[1:] == [["a", "0.700000"], ["b", "0.300000"]]
    with pytest.raises(InputError, match=r"must hold classes .*\(cat, dog\) or nothing, got 0.5 "):
        _filled(tmp_path, "id,label\na,0.5\n", ("a",), [1], names=("cat", "dog"))


def test_what_a_sample_is_filled_with(tmp_path: Path) -> None:
    for filled in ("", "cat"):
        rows = _filled(tmp_path, f"id,label\na,{filled}\nb,{filled}\n", ("a", "b"), [1, 2])
        assert rows[1:] == [["a", "cow"], ["b", "dog"]]
    rows = _filled(tmp_path, "id,label\na,-1\nb,-1\n", ("a", "b"), [1, 2], names=("3", "5", "7"))
    assert rows[1:] == [["a", "5"], ["b", "7"]]
    with pytest.raises(InputError, match="got 0 in column 'label'"):
        _filled(tmp_path, "id,label\na,0\nb,0\n", ("a", "b"), [1, 2])
    rows = _filled(tmp_path, "id,label\na,0\nb,0\n", ("a", "b"), [1, 2], form="submission")
    assert rows[1:] == [["a", "cow"], ["b", "dog"]]


def test_ids_need_not_come_first_nor_exist_nor_have_a_header(tmp_path: Path) -> None:
    rows = _filled(tmp_path, "label,image\ncat,a\ncat,b\n", ("b", "a"), [1, 2])
    assert rows == [["label", "image"], ["dog", "a"], ["cow", "b"]]
    rows = _filled(tmp_path, "label\ncat\ncat\n", ("1", "2"), [1, 2], id_name=None)
    assert rows == [["label"], ["cow"], ["dog"]]
    rows = _filled(tmp_path, "1,0\n2,0\n", ("1", "2"), [1, 2], names=("0", "1", "2"))
    assert rows == [["1", "1"], ["2", "2"]]


def test_the_only_column_that_tells_rows_apart_holds_the_ids(tmp_path: Path) -> None:
    text = "cat,cow,dog,image_key\n0.5,0,0,b\n0.5,0,0,a\n"
    rows = _filled(tmp_path, text, ("a", "b"), [1, 2])
    assert [row[3] for row in rows] == ["image_key", "b", "a"] and rows[1][2] == "0.700000"
    with pytest.raises(InputError, match=r"more than once \(a\) in column 'key' of"):
        _filled(tmp_path, "key,cat,cow,dog\na,0,0,0\na,0,0,0\n", ("a", "b"), [1, 2])


@pytest.mark.parametrize(
    ("header", "filled", "names"),
    [
        ("probability", "0.0", ("0", "1")),
        ("probability", "0", ("0", "1")),
        ("p", "1", ("0", "1")),
        ("target_prob", "0", ("0", "1", "2")),
        ("target", "0.0", ("0", "1")),
    ],
)
def test_zeros_may_be_classes_or_probabilities(
    header: str, filled: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    text = f"id,{header}\na,{filled}\nb,{filled}\n"
    with pytest.raises(InputError, match=r"classes or a probability.*format=submission .*format=p"):
        _filled(tmp_path, text, ("a", "b"), [1, 0], names=names)
    rows = _filled(tmp_path, text, ("a", "b"), [1, 0], names=names, form="submission")
    assert rows[1:] == [["a", "1"], ["b", "0"]]
    if len(names) == 2:
        rows = _filled(tmp_path, text, ("a", "b"), [1, 0], names=names, form="probabilities")
        assert rows[1:] == [["a", "0.700000"], ["b", "0.300000"]]


def test_zeros_of_more_classes_or_of_classes_called_so_are_classes(tmp_path: Path) -> None:
    text = "id,target\na,0.0\nb,0.0\n"
    for names in (("0", "1", "2"), ("0.0", "1.0")):
        rows = _filled(tmp_path, text, ("a", "b"), [1, 0], names=names)
        assert [row[1] for row in rows[1:]] == [names[1], names[0]]


@pytest.mark.parametrize(
    ("header", "names", "chances"),
    [
        ("p_dog", ("cat", "dog"), ["0.700000", "0.300000"]),
        ("prob cat", ("cat", "dog"), ["0.300000", "0.700000"]),
        ("p", ("False", "True"), ["0.700000", "0.300000"]),
        ("class_0", ("0", "1"), ["0.300000", "0.700000"]),
        ("p_dog", ("cat", "cow", "dog"), ["0.150000", "0.150000"]),
    ],
)
def test_one_probability_is_of_the_class_that_its_header_names(
    header: str, names: tuple[str, ...], chances: list[str], tmp_path: Path
) -> None:
    text = f"id,{header}\na,0.5\nb,0.5\n"
    rows = _filled(tmp_path, text, ("a", "b"), [1, 0], names=names, form="probabilities")
    assert [row[1] for row in rows[1:]] == chances
    if len(names) == 2:
        assert _filled(tmp_path, text, ("a", "b"), [1, 0], names=names) == rows


def test_one_probability_of_a_class_that_is_not_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class's name in its header \(cat, dog\), got 'p' in"):
        _filled(tmp_path, "id,p\na,0.5\n", ("a",), [1], names=("cat", "dog"), form="probabilities")


def test_labels_in_another_spelling_are_refused_with_both(tmp_path: Path) -> None:
    text, names = "id,label\na,1\nb,1\n", ("01", "02", "10")
    with pytest.raises(InputError, match=r"got 1 for 01 in column 'label' of .*format=submission"):
        _filled(tmp_path, text, ("a", "b"), [1, 2], names=names)
    rows = _filled(tmp_path, text, ("a", "b"), [1, 2], names=names, form="submission")
    assert rows[1:] == [["a", "02"], ["b", "10"]]


def test_columns_of_neither_ids_nor_labels_stay_as_they_are(tmp_path: Path) -> None:
    text = "Usage,id,label,note\nPublic,b,cat,x\nPrivate,a,cat,y\n"
    rows = _filled(tmp_path, text, ("a", "b"), [1, 2])
    assert rows[1:] == [["Public", "b", "dog", "x"], ["Private", "a", "cow", "y"]]
    text = "id,Usage,cat,dog,cow\na,Public,0,0,1\nb,Private,0,0,1\n"
    rows = _filled(tmp_path, text, ("a", "b"), [1, 2])
    assert [row[:2] for row in rows] == [["id", "Usage"], ["a", "Public"], ["b", "Private"]]
    assert rows[1][2:] == ["0.150000", "0.150000", "0.700000"]  # cat, dog, cow
    found = read_template(tmp_path / "sample.csv", NAMES)
    assert found.lines(NAMES).endswith("as they are: 'Usage'")


def test_quotes_marks_and_compression(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv.gz"
    path.write_bytes(gzip.compress('\ufeff"id","label"\r\n"a, b","cat"\r\n'.encode()))
    packed = tmp_path / "sample.csv.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("sample.csv", gzip.decompress(path.read_bytes()))
    for file in (path, packed):
        found = read_template(file, NAMES)
        assert found.header == ("id", "label") and found.ids == ("a, b",)


def test_a_cell_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_text, "LONGEST_LINE", 50)
    path = tmp_path / "sample.csv"
    path.write_text('id,label\n"' + "a,cat\n" * 30)
    with pytest.raises(InputError, match="must be a table in text, got field larger than"):
        read_template(path, NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got nothing"),
        (b'""\n', "got nothing"),
        (b"id,label\n", "must have rows below its header"),
        (b"id,label\na,cat\nb\n", "must have 2 cells as the first, got 1 on line 3"),
        (b"PK\x03\x04\x00\x00", "table in text: compressed data must be whole"),
        (b"\x89PNG\r\n\x1a\n", "table in text: .*byte 0x89 on line 1"),
        (b"id,label\n1,\x00\n", "table in text: .*zero byte on line 2"),
        (b"name\na\nb\n", "must have a column for the labels .* 'name', which holds ids"),
        (b"1\n2\n3\n", "must have a column for the labels .* without a header"),
        (b"label\ncat\nfish\n", "must hold classes of the training data"),
    ],
)
def test_what_is_no_template_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "sample.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_template(path, NAMES)
    with pytest.raises(InputError, match=r"table in text, got .*No such file"):
        read_template(tmp_path / "none.csv", NAMES)


def test_matching_a_million_ids_takes_a_pass_or_two() -> None:
    names = [f"img_{n}" for n in range(100_000)]
    order, _ = match_ids(names[::-1], [f"{name}.png" for name in names], False, "x")
    np.testing.assert_array_equal(order, np.arange(100_000)[::-1])


def test_predict_fills_a_template_and_writes_nothing_where_it_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    striped(tmp_path / "bundle", NAMES)
    pictures = {f"img_{n}.png": stripe(n % 3, 3) for n in range(7)}
    save_pictures(tmp_path / "test", pictures)
    sample, output = tmp_path / "sample_submission.csv", tmp_path / "out.csv"
    sample.write_text(
        "Image;dog;cat;cow\n" + "".join(f"test/img_{n};0;0;0\n" for n in (6, 5, 4, 3, 2, 1, 0))
    )
    arguments = [
        *(f"bundle={tmp_path / 'bundle'}", f"input={tmp_path / 'test'}", f"output={output}"),
        *(f"template={sample}", f"root={tmp_path / 'root'}"),
    ]
    assert command_line(predict.COMMAND, arguments, predict.main) == 0
    rows = list(csv.reader(output.read_text().splitlines(), delimiter=";"))
    assert rows[0] == ["Image", "dog", "cat", "cow"]
    assert [row[0] for row in rows[1:]] == [f"test/img_{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
    likeliest = [rows[0][1 + int(np.argmax([float(p) for p in row[1:]]))] for row in rows[1:]]
    assert likeliest == [NAMES[n % 3] for n in (6, 5, 4, 3, 2, 1, 0)]
    assert "ids without folders and endings equal the input's" in capsys.readouterr().out
    output.unlink()
    sample.write_text(sample.read_text() + "test/img_7;0;0;0\n")
    assert command_line(predict.COMMAND, arguments, predict.main) == 2
    assert "1 of the template missing in the input (img_7)" in capsys.readouterr().err
    assert not output.exists()


def test_pictures_that_are_called_by_numbers_have_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    striped(tmp_path / "bundle", NAMES)
    save_pictures(tmp_path / "test", {f"{n}.png": stripe(n % 3, 3) for n in range(1, 4)})
    for n in range(1, 4):
        (tmp_path / "test" / f"{n}.png").rename(tmp_path / "test" / str(n))
    sample, output = tmp_path / "sample.csv", tmp_path / "out.csv"
    sample.write_text("id,label\n0,cat\n1,cat\n2,cat\n")
    arguments = [
        *(f"bundle={tmp_path / 'bundle'}", f"input={tmp_path / 'test'}", f"output={output}"),
        *(f"template={sample}", f"root={tmp_path / 'root'}"),
    ]
    assert command_line(predict.COMMAND, arguments, predict.main) == 2
    said = capsys.readouterr().err
    assert "missing in the input (0)" in said and "not in the template (3)" in said
    assert command_line(predict.COMMAND, [*arguments[:3], arguments[4]], predict.main) == 0
    assert output.read_text().splitlines()[:2] == ["id,label", "1,cow"]


def test_a_pipe_is_no_template(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="must be a regular file, got a pipe"):
        read_template(tmp_path / "pipe.csv", NAMES)


def test_a_template_without_a_header(tmp_path: Path) -> None:
    rows = _filled(
        tmp_path, "t_000,cat\nt_001,cat\nt_002,cat\n", ("t_002", "t_000", "t_001"), [2, 1, 0]
    )
    assert rows == [["t_000", "cow"], ["t_001", "cat"], ["t_002", "dog"]]
    path = tmp_path / "sample.csv"
    path.write_text("id_1,label\na,cat\nb,cat\n")
    assert read_template(path, NAMES).header == ("id_1", "label")


@pytest.mark.parametrize("filled", ["cat", "", "-1"])
def test_ids_behind_the_labels(filled: str, tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text("label,fn\n" + "".join(f"{filled},p{n}.png\n" for n in range(4)))
    names = ("1", "2") if filled == "-1" else NAMES
    found = read_template(path, names)
    assert found.id_column == 1 and found.ids[:2] == ("p0.png", "p1.png")


def test_classes_called_as_tables_write_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "sample.csv"
    path.write_text("id,label\n" + "".join(f"p{n},1.0\n" for n in range(4)))
    assert read_template(path, ("1.0", "2.0")).classes is None
    assert class_numbers(["1", "2.0", "1.0"], ("1.0", "2.0"), "here").tolist() == [0, 1, 0]
    assert class_numbers(["1", "1.0"], ("1", "1.0"), "here").tolist() == [0, 1]
