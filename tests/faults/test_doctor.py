"""The doctor finds what a killed sweep left, mends it when asked, and deletes no result."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.harness import REPOSITORY, Case, check


def doctor(case: Case, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pipeline.doctor", f"root={case.root}", *more]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False
    )


def test_what_a_killed_sweep_left_is_found_and_mended(case: Case) -> None:
    case.ask("hold-2-2")
    running = case.start()
    case.wait_for(2, 2)
    running.kill_group()
    told = case.told()
    time.sleep(1.0)  # the trackers remove what they know
    partial = case.folder / "trials" / "2" / ".result.json.abcd.tmp"
    partial.write_text("{")
    found = doctor(case)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "trials left RUNNING by a killed sweep: " in found.stdout
    assert "unfinished files" in found.stdout
    assert "fix=true" in found.stdout
    mended = doctor(case, "fix=true")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "mended" in mended.stdout
    assert not partial.exists()
    assert case.told() == told and case.states()["RUNNING"] == 0
    case.release("hold-2-2")
    assert case.run().code == 0
    check(case)


@pytest.mark.slow
def test_damaged_data_are_prepared_again(case: Case) -> None:
    (images,) = (case.root / "prepared").glob("*/images.npy")
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    found = doctor(case)
    assert found.returncode == 1 and "digest" in found.stdout
    assert doctor(case, "fix=true").returncode == 0
    assert not Path(images).exists()
    assert case.run().code == 0
    check(case)


def test_a_study_that_is_not_there_is_no_sound_one(own_pruner: Case) -> None:
    found = doctor(own_pruner, "study.name=digist")
    assert found.returncode == 1
    assert "study.name: must name a study" in found.stdout and "got 'digist'" in found.stdout
