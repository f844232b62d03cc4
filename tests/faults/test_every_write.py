"""Faults at every write; `python -m tests.faults.every_write` is the whole walk."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.exceptions import StorageInternalError

from cnn_core import whole_files
from cnn_core.checkpoint import TrainState
from cnn_core.spec import DataSpec, ModelSpec, Spec
from pipeline.files import StudyPaths, TrialPaths
from pipeline.search import open_study
from pipeline.search.storage_errors import StorageFailed
from pipeline.structured_text import append_rows
from pipeline.trial_folder import TrialFolder
from tests.faults.failing_writes import available
from tests.faults.harness import REPOSITORY

pytestmark = pytest.mark.skipif(not available(), reason="it takes Linux on x86_64 or aarch64")
EVERY = 97  # of a walk's 1,800 operations


def run(module: str, *words: str, cap_s: float = 900.0) -> str:
    """Run a module that must find nothing wrong; return what it says."""
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{module}", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=cap_s,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    return ended.stdout


def test_files_are_whole_whichever_operation_of_their_writing_fails() -> None:
    said = run("small_writes", "a.bin", "rows.csv", "state.npz", "prepared")
    assert "prepared, once: 25 operations, 0 problems" in said


@pytest.mark.slow
def test_a_bundle_is_the_old_or_the_new_one_whichever_operation_fails() -> None:
    assert "bundle, full: " in run("small_writes", "bundle")


@pytest.mark.slow
def test_a_sample_of_all_operations_of_the_commands() -> None:
    said = run("every_write", "--modes", "once,full", "--every", str(EVERY), "--first", "7")
    assert said.count(" 0 problems") == 8, said


@pytest.mark.slow
def test_workers_write_nothing() -> None:
    said = run("every_write", "--workers", "--every", "10000", "sweep")
    assert " 0 of them by workers" in said


def test_an_appended_row_begins_its_own_line_where_the_last_one_has_no_end(tmp_path: Path) -> None:
    """As an editor or a crash may leave a ledger."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2")
    append_rows(path, ["a", "b"], [[3, 4]])
    assert path.read_text() == "a,b\n1,2\n3,4\n"


def test_an_epoch_whose_checkpoint_is_there_is_in_the_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: the folder's fsync, after the checkpoint has its name."""

    def refuses(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    data = DataSpec(folder="", digest="", image_shape=(1, 8, 8), classes=10)
    spec = Spec(data=data, model=ModelSpec(), optimizer={"name": "sgd", "lr": 0.1})
    folder = TrialFolder(TrialPaths(tmp_path))
    row = {"train_loss": 0.5, "epoch_s": 0.1}
    monkeypatch.setattr(whole_files, "sync_folder", refuses)
    with pytest.raises(OSError, match="Input/output error"):
        folder.save(TrainState(1, 4, {}, {}, {}, history=[{"train_loss": 0.5}]), [row], spec)
    assert folder.load(spec)[0] is not None
    assert folder.history() == [{"epoch": 1.0, **row}]


def test_a_new_study_whose_database_cannot_be_written_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's commit fails while Optuna makes its tables."""

    def refuses(*_: object, **__: object) -> None:
        try:
            raise sqlite3.OperationalError("disk I/O error")
        except sqlite3.OperationalError as error:
            raise StorageInternalError("An exception is raised during the commit.") from error

    monkeypatch.setattr(open_study, "CheckedStorage", refuses)
    with pytest.raises(StorageFailed, match="the study's database: disk I/O error"):
        open_study.open_storage(StudyPaths(tmp_path, "case"))
