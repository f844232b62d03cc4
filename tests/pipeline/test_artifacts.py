"""Files appear whole or not at all, under names that one place knows."""

import hashlib
import os
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from cnn_core.errors import InputError
from pipeline.files import (
    StudyPaths,
    atomic_write_bytes,
    atomic_write_text,
    check_enclosed,
    sha256_bytes,
    sha256_file,
    writable_file,
    writable_folder,
)
from pipeline.sqlite_files import unsound_sqlite


def test_written_whole_with_the_modes_of_a_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    atomic_write_text(path, "día\n")
    assert path.read_bytes() == "día\n".encode()
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_keeps_the_old_file_and_leaves_no_other(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    atomic_write_bytes(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail) if call == "fsync" else monkeypatch.setattr(
        Path, "replace", fail
    )
    with pytest.raises(OSError, match="No space"):
        atomic_write_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_contents_are_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: (
            order.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
            or fsync(handle)
        ),
    )
    monkeypatch.setattr(
        Path, "replace", lambda self, target: order.append("name") or replace(self, target)
    )
    atomic_write_bytes(tmp_path / "a", b"x")
    assert order == ["file", "name", "folder"]


def test_digests(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(content)
    assert (
        sha256_file(tmp_path / "x") == sha256_bytes(content) == hashlib.sha256(content).hexdigest()
    )


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=r"root: must be a folder that can be written to, got .*file"
    ):
        writable_folder(tmp_path / "file", "root")
    assert writable_folder(tmp_path / "a" / "b", "root").is_dir()


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        InputError, match=r"output: must be a folder that can be written to, got .*file"
    ):
        writable_file(str(tmp_path / "file" / "x.json"), "output")
    with pytest.raises(InputError, match=r"output: must be the name of a file, got the folder "):
        writable_file(str(tmp_path), "output")
    assert writable_file(str(tmp_path / "new" / "x.json"), "output") == tmp_path / "new" / "x.json"
    assert (
        writable_file(str(tmp_path / "file"), "output") == tmp_path / "file"
    )  # one that is there is replaced


def test_names_in_a_studys_folder(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path, "s")
    assert paths.trial(17).weights == tmp_path / "s" / "trials" / "17" / "weights.npz"
    names = {
        name: getattr(paths, name).relative_to(paths.folder).as_posix()
        for name, found in vars(StudyPaths).items()
        if isinstance(found, property) and name != "folder"
    }
    assert names == {
        "study_db": "study.db",
        "log": "log.txt",
        "owner": "owner.json",
        "time": "time.json",
        "leaderboard": "leaderboard.csv",
        "best": "best.yaml",
        "report": "report.html",
        "trials": "trials",
        "final": "final",
        "ensemble": "ensemble",
        "evaluation": "evaluation",
        "bundle": "bundle",
        "predictions": "predictions",
    }


def test_a_database_whose_writer_was_killed_in_a_transaction_is_sound(tmp_path: Path) -> None:
    file, killed = tmp_path / "a.db", tmp_path / "killed.db"
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("create table t (a)")
        writer.execute("pragma cache_size = 5")
        writer.executemany("insert into t values (?)", [("x" * 500,)] * 2000)
        for end in ("", "-journal"):  # as they are in the midst of it
            shutil.copy(f"{file}{end}", f"{killed}{end}")
    assert unsound_sqlite(killed) == ""
    with closing(sqlite3.connect(killed)) as next_one:
        assert next_one.execute("select count(*) from t").fetchone() == (0,)
    killed.write_bytes(b"no database" * 1000)
    assert unsound_sqlite(killed) != ""


def test_a_sound_database_is_so_at_any_path_and_nothing_is_made_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "a#b ?c"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "study.db")) as made:
        made.execute("create table t (n int)")
    assert unsound_sqlite(folder / "study.db") == ""
    assert unsound_sqlite(folder / "none.db") != ""
    assert [path.name for path in folder.iterdir()] == ["study.db"]


def test_links_may_lead_elsewhere_in_a_study_and_nowhere_else(tmp_path: Path) -> None:
    study, outside = tmp_path / "study", tmp_path / "outside.txt"
    study.mkdir()
    outside.touch()
    (study / "log.txt").touch()
    (study / "same.txt").symlink_to(study / "log.txt")
    check_enclosed(study, tmp_path)
    (study / "other.txt").symlink_to(outside)
    with pytest.raises(InputError, match=r"got the link .*other\.txt to .*outside\.txt"):
        check_enclosed(study, tmp_path)
