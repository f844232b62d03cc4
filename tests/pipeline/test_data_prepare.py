"""Preparing: read once, found again by what the files look like, mended when damaged; and the lock
on the test split.
"""

import ast
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pipeline
from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from pipeline.configuration import compose
from pipeline.configuration.data_settings import DATA, DataSettings
from pipeline.data import TestSplitClosedError, opened_for_evaluation, prepare, prepare_test
from pipeline.data.preparation import source_of
from pipeline.data.source import held_out
from tests.pipeline.sources import made, write_csv


def settings(*overrides: str) -> DataSettings:
    return compose(overrides).data


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    write_csv(tmp_path / "x.csv", *made(), header=True)
    return tmp_path / "x.csv"


def counted(monkeypatch: pytest.MonkeyPatch, kind: str) -> list[str]:
    """Count how often the source is read."""
    reads: list[str] = []
    source = source_of(settings(f"data={kind}"))
    monkeypatch.setattr(
        f"pipeline.data.{DATA[kind].module}.{kind.upper()}",
        replace(source, read=lambda *a: reads.append(kind) or source.read(*a)),
    )
    return reads


def test_a_second_start_reads_nothing(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = counted(monkeypatch, "csv")
    first = prepare(settings("data=csv", f"data.file={csv}"), tmp_path / "root")
    again = prepare(
        settings("data=csv", f"data.file={csv}", "data.train_size=10", "data.split_seed=3"),
        tmp_path / "root",
    )
    assert (again.folder, again.digest) == (first.folder, first.digest)
    assert reads == ["csv"]


@pytest.mark.parametrize(
    "change", [["data.test_fraction=0.5"], ["data.test_seed=1"], ["data.classes=9"]]
)
def test_options_that_change_the_arrays_are_noticed(
    change: list[str], csv: Path, tmp_path: Path
) -> None:
    base = ["data=csv", f"data.file={csv}"]
    first = prepare(settings(*base), tmp_path / "root")
    assert prepare(settings(*base, *change), tmp_path / "root").digest != first.digest
    assert prepare(settings(*base), tmp_path / "root").digest == first.digest


def test_a_file_of_the_same_size_changed_later_is_noticed(csv: Path, tmp_path: Path) -> None:
    base = ["data=csv", f"data.file={csv}"]
    first = prepare(settings(*base), tmp_path / "root")
    text = csv.read_text()
    head, last = text[:-2], text[-2]
    csv.write_text(f"{head}{'1' if last != '1' else '2'}\n")
    os.utime(csv, ns=(1, csv.stat().st_mtime_ns + 1))
    assert prepare(settings(*base), tmp_path / "root").digest != first.digest


def test_arrays_that_were_removed_are_made_again(csv: Path, tmp_path: Path) -> None:
    base = ["data=csv", f"data.file={csv}"]
    first = prepare(settings(*base), tmp_path / "root")
    shutil.rmtree(first.folder)
    again = prepare(settings(*base), tmp_path / "root")
    open_prepared.cache_clear()
    assert open_prepared(again.folder, again.digest).digest == first.digest


def test_a_damaged_index_is_made_again(csv: Path, tmp_path: Path) -> None:
    base = ["data=csv", f"data.file={csv}"]
    first = prepare(settings(*base), tmp_path / "root")
    for index in (tmp_path / "root" / "prepared" / "index").iterdir():
        index.write_text("{")
    assert prepare(settings(*base), tmp_path / "root") == first


def test_a_root_that_is_a_file_is_refused(csv: Path) -> None:
    with pytest.raises(InputError, match="root: must be a folder that can be written to"):
        prepare(settings("data=digits"), csv)


def test_a_link_that_leads_nowhere_is_refused_by_its_reader(tmp_path: Path) -> None:
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    (tmp_path / "pictures" / "cat" / "1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"1\.png|picture"):
        prepare(settings("data=images", f"data.folder={tmp_path}/pictures"), tmp_path / "root")


def test_held_out_shares_by_hand() -> None:
    labels = np.array([0] * 10 + [1] * 30, np.int64)
    test, rest = held_out(labels, 0.2, 0, test=True), held_out(labels, 0.2, 0, test=False)
    assert np.bincount(labels[test]).tolist() == [2, 6]
    np.testing.assert_array_equal(rest, ~test)


def test_copies_are_held_out_with_their_first_picture() -> None:
    labels, groups = np.array([0] * 8 + [1] * 8), np.array([*range(8), 0, *range(9, 15), 14])
    test = held_out(labels, 0.5, 0, test=True, groups=groups)
    assert test[8] == test[0] and test[15] == test[14]
    np.testing.assert_array_equal(held_out(labels, 0.5, 0, test=False, groups=groups), ~test)
    alone = np.setdiff1d(np.arange(16), [8, 15])
    assert test[alone].sum() == 7  # half of the 14 groups


def test_the_test_split_is_closed_everywhere_but_within_the_block(tmp_path: Path) -> None:
    with pytest.raises(TestSplitClosedError, match=r"opened by pipeline.evaluate alone"):
        prepare_test(settings("data=digits"), tmp_path)
    with opened_for_evaluation():
        assert prepare_test(settings("data=digits"), tmp_path).classes == 10
    with pytest.raises(TestSplitClosedError):
        prepare_test(settings("data=digits"), tmp_path)


def test_a_failed_evaluation_closes_it_again(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), opened_for_evaluation():
        raise ZeroDivisionError
    with pytest.raises(TestSplitClosedError):
        prepare_test(settings("data=digits"), tmp_path)


def test_only_evaluate_opens_it() -> None:
    """No other module of the product so much as names the key."""
    package = Path(pipeline.__file__).parent
    allowed = {
        package / "evaluate.py",
        package / "data" / "__init__.py",
        package / "data" / "test_split.py",
    }
    for path in package.rglob("*.py"):
        names = {
            getattr(node, "id", getattr(node, "name", None))
            for node in ast.walk(ast.parse(path.read_text()))
        }
        if "opened_for_evaluation" in names:
            assert path in allowed, path
