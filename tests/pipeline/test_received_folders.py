"""A study's folder that somebody else made: no link is followed out of it, nothing that is not ours
is removed, and a file of another kind than ours is told of in a line.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from cnn_core.errors import InputError
from pipeline import journal, study
from pipeline.configuration import command_line, compose
from pipeline.doctor import examine
from pipeline.files import StudyPaths, check_enclosed
from pipeline.predictions.ledger import LEDGER
from pipeline.report import COMMAND as REPORT
from pipeline.search.open_study import read_study, unfinished
from pipeline.slots import owner_lock
from pipeline.slots.owner_lock import Owner, OwnerLock, find_semaphores, read_owner
from pipeline.structured_text import append_rows
from pipeline.tracking.mlflow_replay import Replay
from pipeline.tracking.store import brought_home, check_store, locked, resolve_uri
from tests.pipeline.studies import epoch_done, study_started

NAMES = [
    "owner.json", "events.jsonl", "log.txt", "study.db", "leaderboard.csv", "clock.json", "stop",
    "evaluation/openings.csv", "trials/0/checkpoint.npz", "trials/0/.history.csv.tmp", "trials/1",
    "final", "replayed.json", ".sending.lock",
]  # fmt: skip


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "elsewhere" / "victim"
    file.parent.mkdir()
    file.write_text("mine\n")
    return file


def linked(root: Path, name: str, target: Path) -> Path:
    """Return a study's folder in which `name` is a link."""
    link = root / "got" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    return root / "got"


@pytest.mark.parametrize("name", NAMES)
def test_a_link_out_of_a_study_is_refused_before_anything_is_touched(
    tmp_path: Path, victim: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root"
    target = victim if "." in name or name == "stop" else victim.parent
    folder = linked(root, name, target)
    rule = "its folder must hold plain files, and links to such alone"
    with pytest.raises(InputError, match=rule):
        check_enclosed(folder, root)
    with pytest.raises(InputError, match=rule):
        read_study(StudyPaths(root, "got"))
    with pytest.raises(InputError, match=rule):
        study.open_study("got", root)
    assert command_line(REPORT, [f"root={root}", "study.name=got"], lambda config: 0) == 2
    assert str(folder / name) in capsys.readouterr().err
    assert victim.read_text() == "mine\n" and list(victim.parent.iterdir()) == [victim]


@pytest.mark.parametrize("name", ["prepared", "prepared/index", "sheets", "presets/mine"])
def test_a_link_out_of_what_studies_share_is_refused(
    tmp_path: Path, victim: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "root" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim.parent)
    root, about = tmp_path / "root", name.partition("/")[0]
    assert command_line(REPORT, [f"root={root}", "study.name=new"], lambda config: 0) == 2
    said = capsys.readouterr().err
    assert f"error: {about}: its folder must " in said and str(victim.parent) in said
    assert said.endswith("the root itself may be a link, or be elsewhere: root=FOLDER\n")
    for opens in (lambda: study.compose(root=root), lambda: study.open_study("new", root)):
        with pytest.raises(InputError, match=f"^{about}: its folder must "):
            opens()
    assert victim.read_text() == "mine\n" and list(victim.parent.iterdir()) == [victim]


def test_no_artifact_is_written_through_a_link(tmp_path: Path, victim: Path) -> None:
    """A run of a received store says where its artifacts are."""
    link = tmp_path / "root" / "mlartifacts" / "1" / "run" / "artifacts"
    link.parent.mkdir(parents=True)
    link.symlink_to(victim.parent)
    root = tmp_path / "root"
    (root / "mlflow.db").touch()
    with pytest.raises(InputError, match=r"^mlartifacts: its folder must hold plain files"):
        check_store(resolve_uri(None, root), root)
    with pytest.raises(InputError, match=r"^mlartifacts: "):
        brought_home(None, root)


def test_a_study_that_is_a_link_itself_is_refused(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "got").symlink_to(victim.parent)
    with pytest.raises(InputError, match="its folder must be in"):
        check_enclosed(tmp_path / "root" / "got", tmp_path / "root")


def test_pipes_and_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    for name, make in (("pipe", os.mkfifo), ("loop", lambda path: path.symlink_to(path))):
        folder = tmp_path / name / "got"
        folder.mkdir(parents=True)
        make(folder / "history.csv")
        with pytest.raises(InputError, match="plain files"):
            check_enclosed(folder, tmp_path / name)


def test_links_inside_and_a_root_that_is_a_link_stay_allowed(tmp_path: Path) -> None:
    folder = tmp_path / "real" / "mine"
    (folder / "trials").mkdir(parents=True)
    (folder / "best").symlink_to(folder / "trials")
    (tmp_path / "root").symlink_to(tmp_path / "real")
    check_enclosed(tmp_path / "root" / "mine", tmp_path / "root")
    check_enclosed(tmp_path / "root" / "none", tmp_path / "root")


def test_the_doctor_tells_of_a_link_and_leaves_all_as_it_is(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks and repairs would write; data beside the studies that lie elsewhere are not ours
    to remove.
    """
    monkeypatch.setattr("pipeline.doctor._environment", lambda config: [])
    root = tmp_path / "root"
    linked(root, "owner.json", victim)
    (root / "got" / "study.db").touch()
    damaged = tmp_path / "elsewhere" / "data"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("[" * 5000)
    (root / "prepared").mkdir()
    (root / "prepared" / "linked").symlink_to(damaged)
    (root / "prepared" / "own").mkdir()
    (root / "prepared" / "own" / "manifest.json").write_text('{"digest": 1e999}')
    findings = examine(compose([f"root={root}", "study.name=other"]), fix=True)
    said = "\n".join(finding.line() for finding in findings)
    assert "WRONG  study got: study 'got': its folder must hold plain files" in said
    assert victim.read_text() == "mine\n" and (damaged / "manifest.json").exists()
    assert not (root / "prepared" / "own").exists()


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda link: append_rows(link, LEDGER, [["a"] * len(LEDGER)]), id="ledger"),
        pytest.param(lambda link: OwnerLock(link).acquire(), id="owner"),
        pytest.param(lambda link: locked(link).__enter__(), id="lock"),
    ],
)
def test_no_file_of_ours_is_written_through_a_link(
    tmp_path: Path, victim: Path, write: Callable[[Path], object]
) -> None:
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises((InputError, OSError)):
        write(tmp_path / "link")
    assert victim.read_text() == "mine\n"


def test_the_journal_is_not_written_through_a_link(tmp_path: Path, victim: Path) -> None:
    folder = linked(tmp_path / "root", journal.FILE_NAME, victim)
    log = journal.EventLog(folder)
    log.handle(epoch_done(0, 1))
    assert log.error is not None and victim.read_text() == "mine\n"


def test_a_journal_that_names_another_folder_has_nothing_read_there(
    tmp_path: Path, victim: Path
) -> None:
    """What MLflow is sent of a trial comes from the study's root alone."""
    root = tmp_path / "root"
    own = root / "got"
    replay = Replay.__new__(Replay)
    replay._target = type("Target", (), {"root": root, "folder": own})()
    for told in (own, Path("/x"), Path("got"), Path("/")):
        replay._study = study_started(told)
        for folder in (victim.parent, own / ".." / ".." / "elsewhere", Path("/x/../etc")):
            assert replay._here(folder).resolve().is_relative_to(root)
    replay._study = study_started(Path("/old/root/got"))
    assert replay._here(Path("/old/root/got/trials/3")) == own / "trials" / "3"
    assert replay._here(Path("/old/root/other/trials/3")) == root / "other/trials/3"


def test_a_folder_of_the_name_of_an_unfinished_file_is_left(tmp_path: Path) -> None:
    (tmp_path / ".kept.tmp").mkdir()
    (tmp_path / ".draft.tmp").touch()
    assert unfinished(tmp_path) == [tmp_path / ".draft.tmp"]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shared memory with a semaphore each of a dead, a living and a foreign process."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(owner_lock, "SHARED_MEMORY", folder)
    for pid in (DEAD, os.getpid(), os.getppid()):
        (folder / f"sem.loky-{pid}-abc").touch()
    begun = psutil.Process().create_time() - 10
    for path in folder.iterdir():
        os.utime(path, (begun, begun))
    return folder


DEAD = 4194303  # above what this machine gives out


def owner_file(path: Path, **changed: object) -> Owner | None:
    here = vars(Owner.here()) | {"pid": DEAD, "start": psutil.Process().create_time() - 20}
    path.write_text(json.dumps(here | changed))
    return read_owner(path)


def test_the_semaphores_of_a_dead_owner_are_found(tmp_path: Path, shared: Path) -> None:
    found = owner_file(tmp_path / "owner.json")
    assert found is not None
    assert [path.name for path in find_semaphores(found)] == [f"sem.loky-{DEAD}-abc"]


@pytest.mark.parametrize(
    "changed",
    [
        {"pid": "*"}, {"pid": "[0-9]*"}, {"pid": True}, {"pid": -1}, {"pid": 10**30},
        {"pid": [1]}, {"pid": 1.0}, {"start": "x"}, {"start": None}, {"host": 5}, {"boot": None},
    ],
)  # fmt: skip
def test_an_owner_that_no_process_wrote_is_none(
    tmp_path: Path, shared: Path, changed: dict[str, object]
) -> None:
    """A pid of * matched every semaphore of the machine."""
    assert owner_file(tmp_path / "owner.json", **changed) is None
    lock = OwnerLock(tmp_path / "owner.json")
    lock.acquire()
    assert lock.previous is None
    lock.release()


@pytest.mark.parametrize(
    "changed",
    [
        {"pid": os.getppid()}, {"pid": os.getpid()}, {"host": "other"}, {"boot": "other"},
        {"start": time.time() + 100},
    ],
)  # fmt: skip
def test_what_is_not_provably_an_owners_is_left(
    tmp_path: Path, shared: Path, changed: dict[str, object]
) -> None:
    found = owner_file(tmp_path / "owner.json", **changed)
    assert found is not None and find_semaphores(found) == []
    assert len(list(shared.iterdir())) == 3
