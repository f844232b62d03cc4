"""A root that was copied, moved, or is reached by a link writes into its own folder alone."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.configuration import compose, override
from pipeline.doctor import DOCTOR, main
from pipeline.slots import owner_lock
from pipeline.slots.owner_lock import Owner, reap_after
from pipeline.tracking.artifact_addresses import bring_home, strayed
from pipeline.tracking.mlflow_sender import replay_journal
from pipeline.tracking.store import brought_home
from tests.pipeline.studies import (
    epoch_done,
    small_events,
    study_ended,
    study_started,
    trial_ended,
    trial_started,
)
from tests.pipeline.test_tracking_edited import collect
from tests.pipeline.test_tracking_mlflow import (
    artifacts_of,
    client_of,
    runs_of,
    write_journal,
)

SEND = """
import sys
from pathlib import Path
from pipeline.tracking.mlflow_sender import replay_journal
root = Path(sys.argv[1])
assert replay_journal(root / "digits", root) == []
"""


def addresses(root: Path) -> list[str]:
    """All addresses of artifacts in a root's store but that of MLflow's own default experiment."""
    asked = (
        "select artifact_location from experiments where name != 'Default'",
        "select artifact_uri from runs",
        "select artifact_location from logged_models",
        "select source from model_versions",
        "select storage_location from model_versions",
    )
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection:
        return [str(row[0]) for text in asked for row in connection.execute(text)]


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def tracked(mlflow_root: Path) -> Path:
    """A root whose study was sent to its store, with a registered model beside it."""
    root = mlflow_root / "first root"
    root.mkdir()
    shutil.move(mlflow_root / "mlflow.db", root / "mlflow.db")
    folder = root / "digits"
    write_journal(folder, small_events(folder))
    replay_journal(folder, root)
    artifacts = (root / "mlartifacts").as_uri()
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection, connection:
        connection.execute(
            "insert into registered_models (name, creation_time, workspace) "
            "values ('m', 1, 'default')"
        )
        connection.execute(
            "insert into model_versions (name, version, source, storage_location, workspace) "
            "values ('m', 1, ?, ?, 'default')",
            (f"{artifacts}/models/m-1/artifacts", str(root / "mlartifacts" / "models")),
        )
        connection.execute(
            "insert into logged_models (model_id, experiment_id, name, artifact_location, "
            "creation_timestamp_ms, last_updated_timestamp_ms, status, lifecycle_stage) values "
            "('m-1', 1, 'model', ?, 1, 1, 1, 'active')",
            (f"{artifacts}/models/m-1/artifacts",),
        )
    return root


def more_events(root: Path, journal_of: Path) -> None:
    """One more trial in the study of a root, as a journal in which `journal_of` is the folder."""
    events = [
        study_started(journal_of, resumed=True),
        trial_started(7),
        *[epoch_done(7, epoch) for epoch in range(1, 5)],
        trial_ended(7, journal_of),
        study_ended({"COMPLETE": 3}, 7),
    ]
    write_journal(root / "digits", events)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_copied_or_moved_root_writes_into_its_own_folder(tracked: Path, how: str) -> None:
    other = tracked.parent / "another's root"
    if how == "copied":
        shutil.copytree(tracked, other)
    else:
        tracked.rename(other)
    before = content_of(tracked)
    more_events(other, other / "digits")
    sent = [sys.executable, "-c", SEND, str(other)]  # MLflow remembers runs' addresses by their ids
    subprocess.run(sent, cwd=Path(__file__).parents[2], check=True)
    assert content_of(tracked) == before
    runs = runs_of(other)
    assert "learning_curves.svg" in artifacts_of(other, runs["7"])
    assert "learning_curves.svg" in artifacts_of(other, runs["3"]), "of before, too"
    home = other / "mlartifacts"
    assert all(text.startswith((home.as_uri(), str(home))) for text in addresses(other))
    assert strayed(other) == []


def test_what_the_original_s_journal_left_unsent_is_read_from_the_copy(tracked: Path) -> None:
    trial = tracked / "digits" / "trials" / "7"
    trial.mkdir(parents=True)
    (trial / "overrides.yaml").write_text("number: 7\nseed: [0, 7]\noverrides: [model.filters=8]\n")
    more_events(tracked, tracked / "digits")
    moved = tracked.parent / "moved"
    tracked.rename(moved)
    replay_journal(moved / "digits", moved)
    assert "overrides.yaml" in artifacts_of(moved, runs_of(moved)["7"])


def test_a_link_to_a_root_is_the_root(tracked: Path) -> None:
    link = tracked.parent / "link"
    link.symlink_to(tracked)
    before = addresses(tracked)
    assert brought_home(None, link) == []
    more_events(link, link / "digits")
    replay_journal(link / "digits", link)
    assert {text.split("/mlartifacts")[0] for text in addresses(tracked)} == {
        text.split("/mlartifacts")[0] for text in before
    }


def test_a_store_that_another_root_was_sent_to_by_its_uri_keeps_that_root_s_artifacts(
    mlflow_root: Path,
) -> None:
    folder = mlflow_root / "elsewhere" / "digits"
    write_journal(folder, small_events(folder))
    replay_journal(folder, folder.parent, f"sqlite:///{mlflow_root / 'mlflow.db'}")
    assert strayed(mlflow_root) == [] and bring_home(mlflow_root) == ""


def test_a_moved_root_is_told_of_once_and_nothing_is_sent_twice(tracked: Path) -> None:
    moved = tracked.parent / "moved"
    tracked.rename(moved)
    (line,) = brought_home(None, moved)
    assert str(moved / "mlartifacts") in line and str(tracked / "mlartifacts") in line
    assert brought_home(None, moved) == []
    run = runs_of(moved)["parent"]
    client_of(moved).set_tag(run.info.run_id, "mlflow.note.content", "written by hand")
    client_of(moved).delete_run(runs_of(moved)["3"].info.run_id)
    collect(moved)
    more_events(moved, moved / "digits")
    replay_journal(moved / "digits", moved)
    assert set(runs_of(moved)) == {"parent", "0", "1", "2", "7"}
    assert runs_of(moved)["parent"].data.tags["mlflow.note.content"] == "written by hand"


def test_the_doctor_sees_a_copied_root_and_mends_it(
    tracked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tracked.parent / "copy"
    shutil.copytree(tracked, other)
    before = content_of(tracked)
    assert main(compose([override("root", other)], DOCTOR)) == 1
    out = capsys.readouterr().out
    assert "copied or moved" in out
    assert f"python -m pipeline.doctor root={other} fix=true" in out
    main(compose([override("root", other), "fix=true"], DOCTOR))
    assert "mended MLflow store" in capsys.readouterr().out
    assert strayed(other) == [] and content_of(tracked) == before


def test_the_owner_of_the_original_keeps_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_lock, "SHARED_MEMORY", tmp_path)
    here = Owner.here()
    semaphore = tmp_path / f"sem.loky-{here.pid}-x"
    semaphore.touch()
    os.utime(semaphore, (1, 1))
    assert reap_after(here, tmp_path / "copy of its study") == (0, 0)
    assert semaphore.exists()
