"""A root of any name: whatever a folder may be called, a study in it is finalised, evaluated,
exported and read.
"""

import re
import sqlite3
from pathlib import Path

import optuna
import pytest

from cnn_core.errors import InputError
from pipeline import sweep
from pipeline.bundle import load_bundle
from pipeline.configuration import SWEEP, command_line, compose, override
from pipeline.configuration.rules import check_name
from pipeline.doctor import examine
from pipeline.files import ARTIFACTS, STORE, StudyPaths
from pipeline.search.open_study import read_study
from tests.pipeline.final_study import SWEEP_ARGUMENTS

NAMES = (
    "a,b",
    "out (1)",
    "a=b",
    "#1",
    "it's",
    'say "hi"',
    "back\\slash",
    "${root}",
    "{x}",
    "50%",
    "a?mode=rwc",
    "日本",
    "a b",
    "null",
    "1e3",
    "[1]",
)
ALL_AT_ONCE = "it's a,b=(1) #1 ${y} 日本"


@pytest.mark.parametrize("name", NAMES)
def test_composing_gives_the_root_back_letter_by_letter(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    first = compose([override("root", root)])
    assert first.root == root
    assert compose(first.overrides).root == root


@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_read_where_it_lies(tmp_path: Path, name: str) -> None:
    paths = StudyPaths(tmp_path / name, "small")
    paths.folder.mkdir(parents=True)
    from pipeline.search.open_study import open_storage

    optuna.create_study(study_name="small", storage=open_storage(paths))
    assert paths.study_db.is_file()
    assert read_study(paths).study_name == "small"
    assert {path.name for path in tmp_path.iterdir()} == {name}, "no stray file beside it"


def test_a_damaged_database_is_refused_whatever_its_folder_is_called(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "#1", "small")
    paths.folder.mkdir(parents=True)
    paths.study_db.write_bytes(b"SQLite format 3\0" + b"\x07" * 5000)
    with pytest.raises(InputError, match="must be sound"):
        read_study(paths)
    store = paths.root / "mlflow.db"
    sqlite3.connect(store).close()
    store.write_bytes(b"SQLite format 3\0" + b"\x07" * 5000)
    found = examine(compose([override("root", paths.root), "tracking=none"]), fix=False)
    assert any(finding.wrong and "mlflow.db" in finding.text for finding in found)
    assert {path.name for path in tmp_path.iterdir()} == {"#1"}


def test_the_whole_chain_in_a_folder_of_an_awkward_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / ALL_AT_ONCE
    chain = (
        "final.after_sweep=true",
        "final.members=2",
        "final.folds=2",
        "final.epochs=1",
        "tracking=mlflow",
        override("root", root),
    )
    assert command_line(SWEEP, [*SWEEP_ARGUMENTS, *chain], sweep.main) == 0, capsys.readouterr().err
    assert len(load_bundle(root / "small" / "bundle").nets) == 2
    assert (root / "small" / "evaluation" / "test.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {ALL_AT_ONCE}


@pytest.mark.parametrize(
    "name",
    ["mlflow.db", "mlflow.db-wal", "mlartifacts", "prepared", "presets", "sheets", "Prepared",
     "submissions.csv"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["study.name", "study.fork"])
def test_names_that_the_root_needs_are_no_studies(name: str, key: str) -> None:
    with pytest.raises(InputError, match=f"{key}: must not be mlflow.db, mlartifacts, prepared"):
        compose([f"{key}={name}"])


def test_whatever_the_program_puts_beside_studies_is_reserved() -> None:
    """Found in its source, so that the next one is not forgotten."""
    source = "\n".join(path.read_text() for path in Path(sweep.__file__).parent.rglob("*.py"))
    beside = set(re.findall(r"""\broot / f?"([^"{]+)"\)?""", source))
    named = {"STORE": STORE, "ARTIFACTS": ARTIFACTS}
    beside |= {value for name, value in named.items() if f"root / {name}" in source}
    assert {"mlflow.db", "prepared", "presets", "sheets", "submissions.csv"} <= beside
    for name in beside:
        if not name.startswith("."):  # which no study's name does
            with pytest.raises(InputError, match="must not be"):
                check_name("study.name", name)
    assert compose(["study.name=prepared2"]).study.name == "prepared2"
