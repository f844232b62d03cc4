"""A stop file, and the command that writes it, pause a run as Ctrl-C does."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import stop as stop_command
from pipeline.configuration import compose
from pipeline.search.runner import Runner, Usage
from pipeline.search.trial import Context, Training
from pipeline.slots.owner_lock import OwnerLock
from pipeline.slots.pool import owned
from pipeline.slots.slot import Slot
from pipeline.slots.stop_request import INTERRUPTED, STOP_FILE, Stop

REPOSITORY = Path(__file__).parents[2]


class Endless:
    """Jobs of which none comes until the run is stopped."""

    def __init__(self, stop: Stop) -> None:
        self._stopped = threading.Event()
        stop.on_request.append(self._stopped.set)

    def take(self, slot: Slot) -> Training | None:
        self._stopped.wait(30)
        return None

    def advanced(self, training: Training, slot: Slot) -> None: ...

    def lost(self, training: Training, error: object) -> None: ...


class Idle:
    index = 0

    def machine(self) -> None: ...

    def stop(self) -> None: ...


@pytest.mark.parametrize(("content", "now"), [("", False), ("now", True)])
def test_a_stop_file_pauses_a_run_and_is_removed(tmp_path: Path, content: str, now: bool) -> None:
    stop, file = Stop(), tmp_path / STOP_FILE
    jobs = Endless(stop)
    runner = Runner(jobs, [Idle()], Context(stop), Usage(), tmp_path / "log.txt")  # type: ignore[list-item]
    threading.Timer(0.2, file.write_text, (content,)).start()
    runner.run()
    assert (stop.requested, stop.exit_code, stop.now) == (True, INTERRUPTED, now)
    assert "outside" in stop.reason and not file.exists()


def test_a_stop_file_of_an_earlier_run_is_removed_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / STOP_FILE).touch()
    with owned(tmp_path):
        assert not (tmp_path / STOP_FILE).exists()


def test_the_command_says_whether_something_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "digits"
    net = folder / "train" / "0123456789ab"
    net.mkdir(parents=True)
    config = compose([f"root={tmp_path}", "study.name=digits"], stop_command.COMMAND)
    assert stop_command.main(config) == 1
    assert "nothing runs" in capsys.readouterr().out and not (folder / STOP_FILE).exists()
    for place in (folder, net):
        lock = OwnerLock(place / "owner.json")
        lock.acquire()
        assert stop_command.main(config) == 0
        said = capsys.readouterr().out
        assert f"process {os.getpid()}" in said and str(place) in said
        assert (place / STOP_FILE).exists()
        lock.release()
        (place / STOP_FILE).unlink()


def test_the_command_waits_where_it_is_asked_to(tmp_path: Path) -> None:
    lock = OwnerLock(tmp_path / "owner.json")
    (tmp_path / "digits").mkdir()
    lock = OwnerLock(tmp_path / "digits" / "owner.json")
    lock.acquire()
    released = threading.Event()

    def release() -> None:
        released.set()
        lock.release()

    threading.Timer(0.5, release).start()
    words = [f"root={tmp_path}", "study.name=digits", "wait=true"]
    assert stop_command.main(compose(words, stop_command.COMMAND)) == 0
    assert released.is_set()


@pytest.mark.slow
@pytest.mark.parametrize("module", ["sweep", "train"])
def test_a_run_is_paused_from_outside(tmp_path: Path, module: str) -> None:
    words = [
        f"root={tmp_path}", "experiment=smoke", "tracking=none", "slots.n=2", "study.name=s",
        "data.train_size=400", "data.valid_size=50", "train.epochs=200",
    ]  # fmt: skip
    python, environment = [sys.executable, "-m"], {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [*python, f"pipeline.{module}", *words]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE) as run:
        while not list(tmp_path.rglob("checkpoint.npz")):
            assert run.poll() is None
            time.sleep(0.05)
        stop = [*python, "pipeline.stop", f"root={tmp_path}", "study.name=s", "wait=true"]
        assert subprocess.run(stop, cwd=REPOSITORY, env=environment, check=False).returncode == 0
        assert run.wait(30) == INTERRUPTED
    assert not list(tmp_path.rglob(STOP_FILE))
