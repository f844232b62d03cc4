"""Listeners beside each other, the files of runs, full disks, and a sending process that dies."""

import contextlib
import errno
import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.configuration import compose
from pipeline.events import Event
from pipeline.slots.stop_request import Stop
from pipeline.tracking import listeners, mlflow_listener, store
from pipeline.tracking.artifact_addresses import bring_home
from pipeline.tracking.listeners import Listeners, make_listeners
from pipeline.tracking.mlflow_listener import RESTARTS, MlflowListener
from pipeline.tracking.mlflow_process import Told
from pipeline.tracking.run_files import study_artifacts, trial_artifacts
from pipeline.tracking.store import Target, full_disk
from tests.pipeline.studies import epoch_done, trial_ended, trial_started


class Hears:
    """A listener that notes what it hears, or fails at it."""

    problem: str | None = None

    def __init__(self, failure: Callable[[], Exception] | None = None) -> None:
        self.failure, self.heard, self.closed = failure, [], []

    def handle(self, event: Event) -> None:
        self.heard.append(event)
        if self.failure is not None:
            raise self.failure()

    def close(self, within_s: float | None = None) -> None:
        self.closed.append(within_s)
        if self.failure is not None:
            raise self.failure()


def test_a_listener_that_fails_is_told_once_and_the_others_hear_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = Hears(lambda: ValueError("http://ann:Zq7kXw@host is down"))
    good = Hears()
    both = Listeners([bad, good])
    for number in (0, 1):
        both.emit(trial_started(number))
    both.close()
    assert len(good.heard) == 2 and good.closed == [None]
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == "Hears: ValueError: http://***@host is down"
    bad.failure = lambda: ValueError("something else")
    both.emit(trial_started(2))
    assert len(caplog.records) == 2, "another failure is told too"


def test_only_tracking_is_given_a_time_to_close_in() -> None:
    tracking, other = Hears(), Hears()
    both = Listeners([other, tracking], tracking)  # type: ignore[arg-type]
    both.close(2.5)
    both.close()
    assert (tracking.closed, other.closed) == ([2.5, None], [None, None])


def test_a_moved_root_is_told_before_it_is_tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listeners, "brought_home", lambda uri, root: [f"moved: {uri} {root}"])
    config = compose([f"root={tmp_path}", "tracking=mlflow"])
    made = make_listeners(config, tmp_path / "s", [other := Hears()], Stop())
    assert capsys.readouterr().out == f"moved: None {tmp_path}\n"
    assert isinstance(made.tracking, MlflowListener)
    made.close()  # having heard nothing, it has started no process and waits for none
    assert made.tracking.problem is None and other.closed == [None]
    assert not (tmp_path / "s").exists()


def test_addresses_in_a_store_of_fewer_columns_are_brought_home(tmp_path: Path) -> None:
    """An older MLflow had no logged models, nor workspaces."""
    home = tmp_path.resolve() / "mlartifacts"
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
        connection.execute("create table experiments (artifact_location)")
        connection.execute("insert into experiments values ('file:///elsewhere/mlartifacts')")
    assert bring_home(tmp_path).endswith(f"in {home} now, no more in /elsewhere/mlartifacts")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        (address,) = connection.execute("select artifact_location from experiments").fetchone()
    assert address == home.as_uri()


def test_without_figures_a_trial_has_its_history_alone(tmp_path: Path) -> None:
    history = {1: epoch_done(0, 1).metrics}
    ended = trial_ended(0, tmp_path)
    assert set(trial_artifacts(ended, "t", history, figures=False)) == {"history.csv"}
    assert set(trial_artifacts(ended, "t", history)) == {"history.csv", "learning_curves.svg"}


def test_the_files_of_a_study_hide_secrets_and_hold_no_page_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "best.yaml").write_text("storage: postgresql://ann:Zq7kXw@host/db\ntrial: 3\n")
    found = study_artifacts(tmp_path, "s")
    assert set(found) == {"best.yaml"}
    assert b"Zq7kXw" not in found["best.yaml"] and b"trial: 3" in found["best.yaml"]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, "no space")


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (FULL, True),
        (OSError(errno.EDQUOT, "quota"), True),
        (OSError(errno.EACCES, "not allowed"), False),
        (ValueError("(sqlite3.OperationalError) database or disk is full"), True),
        (caused(ValueError("the store failed"), caused(RuntimeError("a write"), FULL)), True),
        (caused(ValueError("the store failed"), RuntimeError("a write")), False),
    ],
)
def test_a_full_disk_is_told_from_what_failed_first(
    tmp_path: Path, error: Exception, *, is_full: bool
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert full_disk(error, uri, tmp_path) == (str(tmp_path) if is_full else "")
    assert full_disk(error, "https://host", tmp_path) == "", "a server's disk is its own affair"


def test_a_full_disk_is_named_whatever_sqlite_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "root").mkdir()
    free = {tmp_path / "a": 10, tmp_path / "root": 2 * store.LEAST_FREE}
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=free[place]))
    uri = f"sqlite:///{tmp_path}/a/mlflow.db"
    for error in (ValueError("disk I/O error"), FULL):
        assert full_disk(error, uri, tmp_path / "root") == str(tmp_path / "a")


def test_a_journal_that_could_not_be_written_is_an_error_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = MlflowListener(Target(tmp_path / "s", tmp_path))
    monkeypatch.setattr(listener._process, "news", lambda: None)
    (tmp_path / "s").touch()  # a file where the folder should be
    listener.handle(trial_started(0))
    with pytest.raises(FileExistsError, match="File exists"):
        listener.close()
    (tmp_path / "s").unlink()
    listener.close()


def test_a_process_that_keeps_dying_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[int] = []
    process = mlflow_listener._Process(Target(tmp_path, tmp_path), lambda reason: None)
    monkeypatch.setattr(process, "_start", lambda: starts.append(1))
    monkeypatch.setattr(process, "_child_now", lambda: None)
    monkeypatch.setattr(process, "_listen", lambda child: -9)
    process._watch()
    assert len(starts) == RESTARTS
    assert process.told.problem == "the process that sends to it ended with code -9"
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"MLflow: {process.told.problem}; started again"] * RESTARTS


def test_what_was_deleted_there_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process: Any = mlflow_listener._Process(Target(tmp_path, tmp_path), lambda reason: None)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            process._hear(Told(remark="runs that were deleted there stay so"))
    assert [r.getMessage() for r in caplog.records] == [
        "MLflow: runs that were deleted there stay so"
    ]
