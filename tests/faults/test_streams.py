"""What a sweep is started from may go away or never have been there: the reader of its output, its
streams, the letters of its terminal, the terminal itself, the main thread.
"""

import os
import pty
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.configuration import SWEEP, command_line
from pipeline.search import run_sweep
from pipeline.search.search_jobs import SearchJobs
from pipeline.sweep import main
from tests.faults.harness import (
    CAP_S,
    REPOSITORY,
    Case,
    check,
    no_traceback,
    wait_until,
    workers_of,
)

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _hang_up_is_heard() -> Iterator[None]:
    """Sweeps leave alone what nohup ignores; these tests may themselves run under it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def shell(case: Case, line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of the shell in which SWEEP stands for the sweep's command."""
    return subprocess.run(
        ["bash", "-c", line.replace("SWEEP", shlex.join(case.command()))],
        cwd=REPOSITORY,
        env={**ENVIRONMENT, "TOY": str(case.toy), **environment},
        capture_output=True,
        text=True,
        timeout=2 * CAP_S,
        check=False,
    )


@pytest.mark.parametrize("pipe", ["SWEEP | head -1", "SWEEP 2>&1 | true"])
def test_a_lost_reader_does_not_stop_a_sweep(case: Case, pipe: str) -> None:
    done = shell(case, f"{pipe}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")
    check(case)


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&- <&-"])
def test_streams_that_were_never_open(case: Case, closed: str) -> None:
    done = shell(case, f"SWEEP {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    check(case)
    held = [path.read_bytes() for path in case.folder.rglob("*.db")]
    assert held and all(content.startswith(b"SQLite format 3") for content in held)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_letters_that_the_output_lacks_are_written_as_codes(
    case: Case, environment: dict[str, str]
) -> None:
    case.overrides = ["study.note='größer → 手'", "-v"]
    done = shell(case, "SWEEP", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    check(case)
    shown = subprocess.run(
        [sys.executable, "-m", "pipeline.show", f"root={case.root}", f"study.name={case.study}"],
        cwd=REPOSITORY, env={**ENVIRONMENT, **environment}, capture_output=True, check=False,
    )  # fmt: skip
    assert (shown.returncode, shown.stderr) == (0, b"")


def test_outside_the_main_thread_a_sweep_runs_without_signals(tmp_path: Path) -> None:
    words = [
        f"root={tmp_path}", "experiment=smoke", "tracking=none", "slots.n=1", "budget.trials=1",
        "train.epochs=1",
    ]  # fmt: skip
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(command_line(SWEEP, words, main)))
    thread.start()
    thread.join(2 * CAP_S)
    assert codes == [0]


def test_a_closed_terminal_ends_a_sweep_as_sigterm_does(case: Case) -> None:
    case.ask("hold-1-2")
    running = case.start()
    case.wait_for(1, 2)
    running.signal(signal.SIGHUP)
    ended = running.end()
    assert ended.code == 129
    assert "SIGHUP; resume with: python -m pipeline.sweep" in ended.out
    no_traceback(ended)
    assert not workers_of(case.folder) and case.states()["RUNNING"] == 0
    case.release("hold-1-2")
    assert case.run().code == 0
    check(case)


def test_the_whole_group_hung_up_with_its_terminal_gone(case: Case) -> None:
    """As a terminal's window does when it is closed: workers hear the signal as well, and what is
    printed from then on fails.
    """
    case.ask("hold-1-2")
    outer, inner = pty.openpty()
    sweep = subprocess.Popen(
        case.command(), cwd=REPOSITORY, env={**ENVIRONMENT, "TOY": str(case.toy)},
        stdin=inner, stdout=inner, stderr=inner, start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    threading.Thread(target=drained, args=(outer,), daemon=True).start()
    case.wait_for(1, 2)
    os.close(outer)
    os.killpg(sweep.pid, signal.SIGHUP)
    assert sweep.wait(CAP_S) == 129
    assert not workers_of(case.folder) and case.states()["RUNNING"] == 0
    assert "died" not in (case.folder / "log.txt").read_text()


def drained(descriptor: int) -> None:
    """Read a terminal until it is closed."""
    try:
        while os.read(descriptor, 4096):
            pass
    except OSError:
        pass


def test_nohup_lets_a_sweep_outlive_its_terminal(case: Case) -> None:
    case.ask("hold-1-2")
    line = f"trap '' HUP; exec {shlex.join(case.command())}"
    sweep = subprocess.Popen(
        ["bash", "-c", line], cwd=REPOSITORY, env={**ENVIRONMENT, "TOY": str(case.toy)},
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    case.wait_for(1, 2)
    os.killpg(sweep.pid, signal.SIGHUP)
    case.release("hold-1-2")
    assert sweep.wait(CAP_S) == 0
    check(case)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_starting_leaves_a_word_and_nothing_else(
    case: Case, number: signal.Signals
) -> None:
    running = case.start("tracking=none")
    wait_until(lambda: (case.folder / "owner.json").exists(), "the study to be taken")
    running.signal(number)
    ended = running.end()
    assert ended.code == 128 + number
    words = {signal.SIGINT: "interrupted"}.get(number, number.name)
    assert words in ended.out + ended.err
    assert "leaked" not in ended.err
    no_traceback(ended)
    assert not workers_of(case.folder)
    assert not list(Path("/dev/shm").glob(f"sem.loky-{running.process.pid}-*"))
    assert case.run().code == 0
    check(case)


def test_a_sweep_whose_slots_end_early_does_not_exit_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SearchJobs, "take", lambda jobs, slot: None)
    words = [f"root={tmp_path}", "experiment=smoke", "tracking=none", "slots.n=1"]
    assert command_line(SWEEP, words, main) == run_sweep.FAILED
    assert "the slots have ended before the trials did" in capsys.readouterr().err
