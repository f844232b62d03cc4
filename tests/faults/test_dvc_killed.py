"""Row 36: `dvc repro` killed in the middle of the sweep, with its whole group or alone."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil
import pytest

from tests.faults.harness import wait_until, workers_of
from tests.pipeline.test_dvc import copy_of_the_checkout

pytestmark = pytest.mark.slow


def start(folder: Path) -> "subprocess.Popen[bytes]":
    """Begin `dvc repro sweep`, in a process group of its own."""
    binaries = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
    }
    with (folder / "dvc.out").open("ab") as out:
        return subprocess.Popen(
            [str(binaries / "dvc"), "repro", "-s", "data", "sweep"],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def ended_trials(study: Path) -> Counter[str]:
    if not (study / "study.db").exists():
        return Counter()
    connection = sqlite3.connect(f"file:{study / 'study.db'}?mode=ro", uri=True, timeout=20)
    try:
        return Counter(state for (state,) in connection.execute("select state from trials"))
    except sqlite3.OperationalError:  # its tables are being made
        return Counter()
    finally:
        connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = copy_of_the_checkout(tmp_path)
    text = (folder / "dvc.yaml").read_text()
    assert "budget.trials=6 train.epochs=12" in text
    (folder / "dvc.yaml").write_text(
        text.replace(
            "budget.trials=6 train.epochs=12",
            "budget.trials=6 train.epochs=150 pruner=none slots.n=2",
        )
    )
    return folder


def test_killed_with_its_group_it_resumes_and_keeps_the_study(folder: Path) -> None:
    study = folder / "outputs" / "dvc"
    first = start(folder)
    wait_until(lambda: ended_trials(study)["COMPLETE"] >= 2, "two trials to end", 120)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    wait_until(lambda: not workers_of(study), "workers to be gone")
    kept = {path: path.stat().st_mtime_ns for path in study.glob("trials/*/result.json")}
    assert len(kept) >= 2
    second = start(folder)
    assert second.wait(240) == 0, (folder / "dvc.out").read_text()
    assert ended_trials(study) == Counter(COMPLETE=6)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}, (
        "a finished trial was trained again"
    )


def test_killed_alone_its_sweep_lives_on_and_a_second_is_refused(folder: Path) -> None:
    study = folder / "outputs" / "dvc"
    first = start(folder)
    wait_until(lambda: ended_trials(study)["COMPLETE"] >= 1, "a trial to end", 120)
    owner = json.loads((study / "owner.json").read_text())["pid"]
    first.kill()
    first.wait()
    assert psutil.pid_exists(owner)
    second = start(folder)
    assert second.wait(120) != 0
    assert f"process {owner}" in (folder / "dvc.out").read_text()
    wait_until(
        lambda: (
            not psutil.pid_exists(owner) or psutil.Process(owner).status() == psutil.STATUS_ZOMBIE
        ),
        "the sweep to end",
        240,
    )
    assert ended_trials(study) == Counter(COMPLETE=6)
