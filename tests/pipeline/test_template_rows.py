"""Templates without a header or ids: how many columns and rows they may have."""

import io
from pathlib import Path

import numpy as np
import pytest

from cnn_core.errors import InputError
from pipeline.predictions.template import TemplateRows, read_template

NAMES = ("cat", "cow", "dog")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1,0.5,0.2,0.3\n2,0.1,0.2,0.7\n", "auto"),
        ("id,cat,cow,dog\n1,0,0,0\n2,0,0,1\n", "submission"),
    ],
)
def test_several_columns_need_a_header_of_classes_and_no_other_form(
    tmp_path: Path, text: str, form: str
) -> None:
    (tmp_path / "x.csv").write_text(text)
    columns = text.partition("\n")[0].count(",")
    rule = rf"one column besides the ids, or a header .*, got {columns} columns in .*x\.csv"
    with pytest.raises(InputError, match=rule):
        read_template(tmp_path / "x.csv", NAMES, "id", form=form)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_template_without_ids_has_a_row_for_each_picture(tmp_path: Path, count: int) -> None:
    (tmp_path / "x.csv").write_text("label\ncat\ncow\n")
    file = io.StringIO()
    found = read_template(tmp_path / "x.csv", NAMES, None)
    rows = TemplateRows(file, NAMES, found, None)
    rows.add([str(n) for n in range(count)], np.eye(3)[[2, 1, 0][:count]])
    if count == 2:
        assert rows.finish() == "template: no ids: rows in the order of the input"
        assert file.getvalue().splitlines() == ["label", "dog", "cow"]
        return
    with pytest.raises(InputError, match=rf"as the template has rows, got {count} and 2 in"):
        rows.finish()


@pytest.mark.parametrize("text", ["--1", "+-1", "1" * 5000])
def test_a_cell_that_only_resembles_a_whole_number_is_no_class(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sample.csv"
    path.write_text(f"id,label\na,{text}\nb,{text}\nc,1\n")
    with pytest.raises(InputError, match="must hold classes of the training data"):
        read_template(path, ("0", "1", "2"), "id")
