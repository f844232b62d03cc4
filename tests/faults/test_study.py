"""Faults of the study and its folder: rows 12 to 14, 17 to 21, 23, 31, 32 and 34 of the matrix."""

import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from tests.faults.harness import (
    TRIALS,
    Case,
    check,
    grow_disk,
    no_traceback,
    small_disk,
    wait_until,
    workers_of,
)
from tests.faults.test_workers import epochs_begun


def refused(case: Case, *more: str, env: dict[str, str] | None = None) -> str:
    """Run a sweep that must be refused with one line; return the line."""
    ended = case.run(*more, env=env)
    assert ended.code == 2, (ended.code, ended.out, ended.err)
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), ended.err
    return lines[0]


def test_an_output_folder_that_cannot_be_written_is_refused(case: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "root: must be a folder that can be written to" in refused(
        case, f"root={tmp_path / 'file' / 'below'}"
    )


def test_a_corrupt_database_is_refused_and_kept(case: Case) -> None:
    case.folder.mkdir(parents=True)
    content = b"SQLite format 3\0" + bytes(range(256)) * 40
    (case.folder / "study.db").write_bytes(content)
    assert "study.db" in refused(case)
    assert (case.folder / "study.db").read_bytes() == content


def test_a_second_sweep_names_the_owner(case: Case) -> None:
    case.ask("hold-0-1")
    running = case.start()
    case.wait_for(0, 1)
    assert f"process {running.process.pid}" in refused(case)
    case.release("hold-0-1")
    assert running.end().code == 0
    check(case)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("train.batch_size=25", "train.batch_size: 50 in the study, 25 now"),
        ("model.dropout=0.1", "space model.dropout"),
        ("study.seed=7", "study.seed: 0 in the study, 7 now"),
        ("data.train_size=150", "data.train_size: 200 in the study, 150 now"),
    ],
)
def test_another_study_of_that_name_is_refused_with_the_difference(
    finished: Case, change: str, difference: str
) -> None:
    line = refused(finished, change)
    assert difference in line
    assert "study.name=NEW" in line


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Case:
    """A finished study, to look at."""
    base = tmp_path_factory.mktemp("finished")
    (base / "toy").mkdir()
    (base / "root").mkdir()
    shutil.copytree(prepared, base / "root" / "prepared")
    case = Case(base / "root", base / "toy")
    ended = case.run()
    assert ended.code == 0, ended.err
    return case


def test_a_finished_study_says_how_to_go_on(finished: Case) -> None:
    ended = finished.run()
    assert ended.code == 0
    assert f"budget.trials={2 * TRIALS}" in ended.out
    assert "rank" in ended.out
    check(finished)


def test_a_stale_owner_of_another_boot_is_replaced(case: Case) -> None:
    case.folder.mkdir(parents=True)
    stale = {"host": os.uname().nodename, "boot": "another", "pid": os.getpid(), "start": 1.0}
    (case.folder / "owner.json").write_text(json.dumps(stale))
    assert case.run().code == 0
    check(case)


def test_an_owner_on_another_host_is_not_replaced(case: Case) -> None:
    case.folder.mkdir(parents=True)
    (case.folder / "owner.json").write_text(
        json.dumps({"host": "elsewhere", "boot": "b", "pid": 1, "start": 1.0})
    )
    assert "on elsewhere" in refused(case)


def test_a_killed_group_leaves_nothing_after_the_next_start(case: Case) -> None:
    case.ask("hold-0-2")
    running = case.start()
    worker = case.wait_for(0, 2)
    os.kill(worker, signal.SIGSTOP)  # a stopped worker outlives its coordinator
    running.kill()
    wait_until(
        lambda: [process.pid for process in workers_of(case.folder)] == [worker],
        "the others to be gone",
        5.0,
    )
    semaphore = Path(f"/dev/shm/sem.loky-{running.process.pid}-test")
    semaphore.touch()
    case.release("hold-0-2")
    assert case.run().code == 0
    assert not semaphore.exists()
    check(case)


def lock(database: Path, seconds: float, begun: threading.Event) -> None:
    """Hold the database for some time, as another program may."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=10)
    connection.execute("BEGIN EXCLUSIVE")
    begun.set()
    time.sleep(seconds)
    connection.execute("ROLLBACK")
    connection.close()


def test_a_database_locked_for_three_seconds_is_waited_for(case: Case) -> None:
    case.ask("hold-1-1")
    running = case.start()
    case.wait_for(1, 1)
    begun = threading.Event()
    holder = threading.Thread(target=lock, args=(case.folder / "study.db", 3.0, begun))
    holder.start()
    begun.wait(10)
    case.release("hold-1-1")
    assert running.end().code == 0
    holder.join()
    check(case)


@pytest.mark.slow
def test_a_database_locked_for_good_ends_the_sweep_with_its_cause(case: Case) -> None:
    case.ask("hold-1-1")
    running = case.start()
    case.wait_for(1, 1)
    begun = threading.Event()
    holder = threading.Thread(
        target=lock, args=(case.folder / "study.db", 45.0, begun), daemon=True
    )
    holder.start()
    begun.wait(10)
    case.release("hold-1-1")
    ended = running.end(60)
    assert ended.code == 1
    assert "database is locked" in ended.err
    no_traceback(ended)
    holder.join()
    assert case.run().code == 0
    check(case)
    assert max(epochs_begun(case).values()) <= 2


@pytest.mark.parametrize("damage", ["truncated", pytest.param("flipped", marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(case: Case, damage: str) -> None:
    case.ask("hold-1-3")
    running = case.start()
    case.wait_for(1, 3)
    running.kill()
    file = case.folder / "trials" / "1" / "checkpoint.npz"
    content = bytearray(file.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)
    case.release("hold-1-3")
    assert case.run().code == 0
    check(case)
    begun = epochs_begun(case)
    assert begun[1, 1] == 1 and begun[1, 2] == 2
    assert "checkpoint not used" in (case.folder / "log.txt").read_text()


def test_a_jump_of_the_wall_clock_changes_no_budget(case: Case) -> None:
    ended = case.run("budget.minutes=1", "deadline.trial_s=20", env={"TOY_CLOCK_JUMP_S": "86400"})
    assert ended.code == 0, ended.err
    check(case)


def test_a_time_budget_survives_a_restart(case: Case) -> None:
    first = case.run("budget.minutes=0.05", "budget.trials=500", env={"TOY_EPOCH_S": "0.2"})
    assert first.code == 0
    assert "budget.minutes is used up" in first.out
    before = case.states()
    assert before["RUNNING"] == 0 and before.total() < 500
    assert json.loads((case.folder / "clock.json").read_text())["used_s"] >= 3.0
    second = case.run("budget.minutes=0.05", "budget.trials=500", env={"TOY_EPOCH_S": "0.2"})
    assert second.code == 0
    assert case.states() == before


def test_a_token_appears_nowhere(case: Case) -> None:
    secret = "s3cr3t-t0ken-value"
    ended = case.run(
        "tracking=mlflow",
        f"tracking.uri=http://user:{secret}@127.0.0.1:9",
        "study.note=hello",
        env={"MLFLOW_TRACKING_TOKEN": secret},
    )
    assert ended.code == 0, ended.err
    assert secret not in ended.out + ended.err
    for path in case.root.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.slow
def test_a_full_disk_ends_cleanly_and_is_resumable(case: Case) -> None:
    with small_disk(case.folder, "400k"):
        ended = case.run()
        assert ended.code == 1, (ended.out, ended.err)
        assert "full" in ended.err or "No space left" in ended.err
        no_traceback(ended)
        wait_until(lambda: not workers_of(case.folder), "workers to be gone")
        grow_disk(case.folder, "8m")
        assert case.run().code == 0
        check(case)


@pytest.mark.slow
def test_a_file_size_limit_ends_cleanly_and_is_resumable(case: Case) -> None:
    def limited() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    ended = case.start(preexec_fn=limited).end()
    assert ended.code == 1, (ended.out, ended.err)
    no_traceback(ended)
    assert case.run().code == 0
    check(case)
