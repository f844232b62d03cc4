"""Faults at every write; `python -m tests.faults.every_write` is the whole walk."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    from pipeline.structured_text import append_rows

    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2")
    append_rows(path, ["a", "b"], [[3, 4]])
    assert path.read_text() == "a,b\n1,2\n3,4\n"
