"""What somebody did in MLflow by hand stays: descriptions, names, tags, and what was deleted."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnn_core.errors import InputError
from pipeline.tracking.mlflow_sender import POSITION_NAME, Sender, replay_journal
from pipeline.tracking.store import Target, open_store, resolve_uri
from tests.pipeline.studies import (
    epoch_done,
    small_events,
    study_ended,
    study_started,
    trial_ended,
    trial_started,
)
from tests.pipeline.test_tracking_mlflow import client_of, runs_of, write_journal


@pytest.fixture
def sent(mlflow_root: Path) -> Path:
    """The folder of a study of four trials that was sent."""
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    replay_journal(folder, mlflow_root)
    return folder


def resume(folder: Path, trial: int = 7, best: int = 3, **started: Any) -> str:
    """Resume the study with one more trial, send that, and return what is to be said."""
    events = [
        study_started(folder, resumed=True, **started),
        trial_started(trial),
        *[epoch_done(trial, epoch) for epoch in range(1, 5)],
        trial_ended(trial, folder),
        study_ended({"COMPLETE": 3}, best),
    ]
    write_journal(folder, events)
    sender = Sender(Target(folder, folder.parent))
    sender.send()
    return sender.remark


def test_a_description_typed_there_stays_until_another_is_given(sent: Path) -> None:
    root, run = sent.parent, runs_of(sent.parent)["parent"].info.run_id
    client_of(root).set_tag(run, "mlflow.note.content", "typed there")
    for note in ("", "a note"):  # none, or the one that was given before
        assert resume(sent, note=note) == ""
        assert runs_of(root)["parent"].data.tags["mlflow.note.content"] == "typed there"
    resume(sent, note="another")
    assert runs_of(root)["parent"].data.tags["mlflow.note.content"] == "another"


def test_a_study_without_a_note_has_no_empty_description(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, [study_started(folder, note="")])
    replay_journal(folder, mlflow_root)
    assert "mlflow.note.content" not in runs_of(mlflow_root)["parent"].data.tags


def test_names_and_tags_that_were_changed_stay(sent: Path) -> None:
    client, runs = client_of(sent.parent), runs_of(sent.parent)
    for key in ("parent", "0"):
        client.update_run(runs[key].info.run_id, name=f"my {key}")
        client.set_tag(runs[key].info.run_id, "mlflow.note.content", f"of {key}")
        client.set_tag(runs[key].info.run_id, "seed", "mine")
    client.set_tag(runs["parent"].info.run_id, "directions", "mine")
    write_journal(sent, [study_started(sent, resumed=True), trial_started(0, resumed_from=2)])
    replay_journal(sent, sent.parent)
    (sent / POSITION_NAME).unlink()  # what was sent is applied once more
    replay_journal(sent, sent.parent)
    after = runs_of(sent.parent)
    for key in ("parent", "0"):
        assert after[key].info.run_name == f"my {key}"
        assert after[key].data.tags["mlflow.note.content"] == f"of {key}"
        assert after[key].data.tags["seed"] == "mine"
        assert after[key].info.status == "RUNNING"
    assert after["parent"].data.tags["directions"] == "mine"


@pytest.mark.parametrize("gone", ["deleted", "removed for good"])
def test_a_deleted_trial_stays_deleted_and_is_said(sent: Path, gone: str) -> None:
    root, run = sent.parent, runs_of(sent.parent)["3"].info.run_id
    client_of(root).delete_run(run)
    if gone == "removed for good":
        collect(root)
    said = resume(sent, best=3)  # whose pictures would go to it
    resume(sent, trial=3)
    assert set(runs_of(root)) == {"parent", "0", "1", "2", "7"}
    assert "1 of its trials" in said or gone == "removed for good"


@pytest.mark.parametrize("gone", ["deleted", "removed for good"])
def test_a_deleted_study_stays_deleted_and_new_trials_are_sent(sent: Path, gone: str) -> None:
    root = sent.parent
    for run in runs_of(root).values():
        client_of(root).delete_run(run.info.run_id)
    if gone == "removed for good":
        collect(root)
    said = resume(sent)
    assert set(runs_of(root)) == {"7"}
    assert "the study's own and 4 of its trials" in said


def test_a_deleted_experiment_is_not_restored(sent: Path) -> None:
    root, client = sent.parent, client_of(sent.parent)
    number = client.get_experiment_by_name("sweeps").experiment_id
    client.delete_experiment(number)
    with pytest.raises(InputError, match="deleted in MLflow") as refused:
        resume(sent)
    assert client.get_experiment(number).lifecycle_stage == "deleted"
    # The printed command restores it, and everything is sent then.
    line = str(refused.value).rpartition("runs: ")[2]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    subprocess.run(line, shell=True, check=True, env={"PATH": path}, capture_output=True)
    replay_journal(sent, root)
    assert set(runs_of(root)) == {"parent", "0", "1", "2", "3", "7"}


def test_an_experiment_that_was_removed_for_good_does_not_return_with_its_runs(sent: Path) -> None:
    root, client = sent.parent, client_of(sent.parent)
    client.delete_experiment(client.get_experiment_by_name("sweeps").experiment_id)
    collect(root)
    assert "the study's own and 4 of its trials" in resume(sent)
    assert set(runs_of(root)) == {"7"}


def test_a_renamed_experiment_keeps_its_studies(sent: Path) -> None:
    root, client = sent.parent, client_of(sent.parent)
    number = client.get_experiment_by_name("sweeps").experiment_id
    client.rename_experiment(number, "of last week")
    resume(sent)
    assert client.get_experiment_by_name("sweeps") is None
    assert len(client.search_runs([number], max_results=100)) == 6
    elsewhere = open_store(resolve_uri(None, root), root, "sweeps")
    assert elsewhere.experiment_id != number, "another study's runs go where they are asked to"


def collect(root: Path) -> None:
    """Do what ``mlflow gc`` does with what was deleted."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(f"sqlite:///{root / 'mlflow.db'}", str(root / "mlartifacts"))
    hard: Callable[[str], object] = store._hard_delete_run
    for run in store._get_deleted_runs():
        hard(run)
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection:
        deleted = connection.execute(
            "select experiment_id from experiments where lifecycle_stage = 'deleted'"
        ).fetchall()
    for (number,) in deleted:
        store._hard_delete_experiment(str(number))
