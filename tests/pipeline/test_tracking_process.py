"""The process that sends to MLflow: killed, it comes back; its coordinator dead, it goes; beside
the trials it has the lowest priority.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.tracking.mlflow_listener import MlflowListener, _Process
from pipeline.tracking.mlflow_process import Told
from pipeline.tracking.mlflow_sender import backlog
from pipeline.tracking.store import LOCK_NAME, Target, locked
from tests.pipeline.studies import small_events
from tests.pipeline.test_tracking_mlflow import runs_of, write_journal

LIMIT_S = 60.0


def wait_until(look: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not look():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def senders() -> list[psutil.Process]:
    living = [
        child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE
    ]
    return [child for child in living if "pipeline.tracking.mlflow_process" in child.cmdline()]


def test_a_killed_process_is_started_again_and_nothing_is_lost_or_twice(
    mlflow_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = mlflow_root / "digits"
    events = small_events(folder)
    listener = MlflowListener(Target(folder, mlflow_root, figures=False))
    for event in events[:4]:
        listener.handle(event)
    wait_until((folder / "replayed.json").exists)
    (first,) = senders()
    first.kill()
    wait_until(lambda: any(sender.pid != first.pid for sender in senders()))
    for event in events[4:]:
        listener.handle(event)
    listener.close()
    assert listener.problem is None
    assert "ended with code -9; started again" in caplog.text
    assert backlog(folder) == 0
    assert {key: run.info.status for key, run in runs_of(mlflow_root).items() if key in "03"} == {
        "0": "FINISHED",
        "3": "FINISHED",
    }
    assert not senders()


def test_what_is_not_sent_yet_is_known_in_seconds_and_not_waited_for_beyond_a_limit(
    mlflow_root: Path,
) -> None:
    folder = mlflow_root / "digits"
    events = small_events(folder)
    listener = MlflowListener(Target(folder, mlflow_root, figures=False))
    assert listener.left_s() == 0.0, "nothing is known"
    for event in events[:4]:
        listener.handle(event)
    wait_until(lambda: backlog(folder) == 0 and listener.left_s() == 0.0 and _byte_s(listener))
    (sender,) = senders()
    sender.suspend()
    for event in events[4:]:
        listener.handle(event)
    assert listener.left_s() == pytest.approx(_byte_s(listener) * backlog(folder), rel=1e-6)
    listener._process.told.problem = "no answer"
    assert listener.left_s() == 0.0, "a search does not end sooner for a store that is down"
    listener._process.told.problem = None
    listener.close(0.5)
    assert "stopped waiting after" in (listener.problem or "")
    assert backlog(folder) > 0 and not senders()


def _byte_s(listener: MlflowListener) -> float:
    return listener._process.told.byte_s


def sending(root: Path, folder: Path) -> subprocess.Popen[str]:
    uri = f"sqlite:///{root / 'mlflow.db'}"
    settings = {
        "root": str(root),
        "folder": str(folder),
        "uri": uri,
        "experiment": "sweeps",
        "figures": False,
    }
    command = [sys.executable, "-m", "pipeline.tracking.mlflow_process"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(settings) + "\nnews\n")
    process.stdin.flush()
    return process


def test_it_ends_with_its_coordinator(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    process = sending(mlflow_root, folder)
    with process:
        assert process.stdin is not None
        process.stdin.close()  # what the kernel does for a coordinator that was killed
        assert process.wait(LIMIT_S) == 0


def test_it_waits_for_another_that_sends_the_same_journal(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    with locked(folder / LOCK_NAME):
        process = sending(mlflow_root, folder)
        assert process.stdin is not None
        process.stdin.write("close\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(6.0)
        assert backlog(folder) == (folder / "events.jsonl").stat().st_size
    with process:
        assert process.wait(LIMIT_S) == 0
    assert backlog(folder) == 0


def test_a_disk_that_is_full_after_another_problem_stops_the_sweep_once() -> None:
    reasons: list[str] = []
    process = _Process(Target(Path(), Path()), reasons.append)
    for told in (
        Told(problem="locked"),
        Told(problem="the disk is full", full=True),
        Told(problem="the disk is full", full=True),
    ):
        process._hear(told)
    assert reasons == ["MLflow: the disk is full"]


@pytest.mark.skipif(
    sys.platform != "linux", reason="threads have priorities of their own on Linux alone"
)
def test_beside_the_trials_it_has_the_lowest_priority(mlflow_root: Path) -> None:
    folder = mlflow_root / "digits"
    write_journal(folder, small_events(folder))
    with sending(mlflow_root, folder) as process:
        wait_until((folder / "replayed.json").exists)
        nice = {
            int((task / "stat").read_text().rsplit(")", 1)[1].split()[16])
            for task in Path(f"/proc/{process.pid}/task").iterdir()
        }
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert nice >= {own, 19}, "the main thread keeps its own for the end, when the sweep waits"
        process.kill()
