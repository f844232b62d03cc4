"""What every fault test needs: a sweep as a subprocess with a cap, trouble put in its way, and the
invariants checked afterwards.
"""

import contextlib
import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

CAP_S = 90.0  # a sweep of seconds, on a machine that is slow and busy
TRIALS = 6
# Every trial pauses after two of its three epochs and is promoted to its end: what holds without a
# pause holds with it.
PAUSES = ["pruner=top_k", "pruner.look=2", f"pruner.keep={TRIALS}"]
REPOSITORY = Path(__file__).parents[2]
MARK = "CNN_SWEEP_STUDY"


@dataclass
class Ended:
    """A sweep that is over."""

    code: int
    out: str
    err: str
    seconds: float


class Running:
    """A sweep in a process group of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", out: Path, err: Path) -> None:
        self.process = process
        self.begin = time.monotonic()
        self._out, self._err = out, err

    @property
    def out(self) -> str:
        """What it has written so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the coordinator outright and collect it."""
        self.process.kill()
        self.process.wait()

    def kill_group(self) -> None:
        """Kill everything that it started, too."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, cap_s: float = CAP_S) -> Ended:
        """Wait for its end, at most until the cap."""
        try:
            self.process.wait(timeout=max(0.1, cap_s - (time.monotonic() - self.begin)))
        except subprocess.TimeoutExpired:
            self.kill_group()
            raise AssertionError(
                f"the sweep did not end within {cap_s} s:\n{self.out}\n{self._err.read_text()}"
            ) from None
        return Ended(
            self.process.returncode, self.out, self._err.read_text(), time.monotonic() - self.begin
        )


@dataclass
class Case:
    """A root, a toy's folder, and the command line that every run of the case shares."""

    root: Path
    toy: Path
    overrides: list[str] = field(default_factory=list)
    module: str = "tests.faults.toy_sweep"
    study: str = "case"
    runs: int = 0
    pauses: bool = False

    @property
    def folder(self) -> Path:
        return self.root / self.study

    def command(self, *more: str) -> list[str]:
        common = [
            "experiment=smoke", f"root={self.root}", f"study.name={self.study}",
            f"budget.trials={TRIALS}", "slots.n=2", "train.epochs=3", "tracking=none",
        ]  # fmt: skip
        pauses = PAUSES if self.pauses else []
        return [sys.executable, "-m", self.module, *common, *pauses, *self.overrides, *more]

    def start(self, *more: str, env: Mapping[str, str] | None = None, **popen: Any) -> Running:
        environment = {
            **os.environ,
            "TOY": str(self.toy),
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(REPOSITORY),
            **(env or {}),
        }
        self.runs += 1
        out, err = (self.toy.parent / f"{name}-{self.runs}.txt" for name in ("out", "err"))
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                self.command(*more),
                cwd=REPOSITORY,
                env=environment,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
                **popen,
            )
        return Running(process, out, err)

    def run(self, *more: str, env: Mapping[str, str] | None = None, cap_s: float = CAP_S) -> Ended:
        return self.start(*more, env=env).end(cap_s)

    def ask(self, name: str, what: str = "") -> None:
        """Put a request for the toy into its folder."""
        (self.toy / name).write_text(what)

    def release(self, name: str) -> None:
        (self.toy / name).unlink(missing_ok=True)

    def began(self, number: int, epoch: int) -> list[int]:
        """Return the pids of the workers that began this epoch, earliest first."""
        files = sorted(
            self.toy.glob(f"at-{number}-{epoch}-*"), key=lambda path: path.stat().st_mtime_ns
        )
        return [int(path.name.rsplit("-", 1)[1]) for path in files]

    def wait_for(self, number: int, epoch: int) -> int:
        """Wait until an epoch has begun; return its worker's pid."""
        return wait_until(
            lambda: self.began(number, epoch), f"trial {number} epoch {epoch} to begin"
        )[-1]

    def trials(self) -> list[dict[str, Any]]:
        """Return the study's trials, read from its file by plain SQL: number, state, value, and the
        values after each epoch.
        """
        with sqlite3.connect(f"file:{self.folder / 'study.db'}?mode=ro", uri=True) as connection:
            rows = connection.execute(
                "select t.trial_id, t.number, t.state, v.value from trials t left join "
                "trial_values v on v.trial_id = t.trial_id "
                "order by t.number"
            ).fetchall()
            steps = connection.execute(
                "select trial_id, step, intermediate_value from trial_intermediate_values order by "
                "step"
            ).fetchall()
            params = connection.execute(
                "select trial_id, param_name, param_value from trial_params order by param_name"
            ).fetchall()
        connection.close()
        return [
            {
                "number": number,
                "state": state,
                "value": value,
                "steps": [(step, x) for trial, step, x in steps if trial == trial_id],
                "params": [(name, x) for trial, name, x in params if trial == trial_id],
            }
            for trial_id, number, state, value in rows
        ]

    def states(self) -> Counter[str]:
        return Counter(trial["state"] for trial in self.trials())

    def told(self) -> dict[int, str]:
        """Return what the independent log says was acknowledged: trial -> "STATE values"."""
        log = self.toy / "told.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return {
            int(line.split()[1]): " ".join(line.split()[2:])
            for line in lines
            if line.startswith("told ")
        }

    def tellings(self) -> Counter[int]:
        log = self.toy / "told.log"
        return Counter(
            int(line.split()[1])
            for line in log.read_text().splitlines()
            if line.startswith("told ")
        )


def wait_until(look: Callable[[], Any], what: str, limit_s: float = CAP_S) -> Any:
    """Return what `look` returns once it is true."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {limit_s} s for {what}")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Within it, `folder` is a file system of its own of that size."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting a small file system takes root: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow_disk(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def workers_of(folder: Path) -> list[psutil.Process]:
    """Return the living processes that are marked as workers of the study in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get(MARK) == str(folder)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def check(case: Case, *, total: int = TRIALS, failed: int = 0) -> None:
    """Check what must hold after every case whose last run ended well."""
    trials = case.trials()
    states = Counter(trial["state"] for trial in trials)
    assert states["RUNNING"] == 0
    assert states["COMPLETE"] + states["PRUNED"] == total
    assert states["FAIL"] == failed
    by_number = {trial["number"]: trial for trial in trials}
    for number, said in case.told().items():
        state, _, value = said.partition(" ")
        assert by_number[number]["state"] == state, f"trial {number} was acknowledged as {state}"
        if state == "COMPLETE":
            assert repr(by_number[number]["value"]) == value.split(",")[0]
    assert all(count == 1 for count in case.tellings().values()), "a trial was told twice"
    check_files(case.folder)
    wait_until(lambda: not workers_of(case.folder), "workers to be gone")
    with (case.folder / "leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == sum(
            states[state] for state in ("COMPLETE", "PRUNED", "FAIL")
        )


def check_files(folder: Path) -> None:
    """No partial file bears a final name, and none is left under a temporary one."""
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    for path in folder.rglob("history.csv"):
        with path.open() as file:
            assert all(None not in row and None not in row.values() for row in csv.DictReader(file))


def check_journal(case: Case) -> None:
    """Each trial's last event agrees with the study."""
    last: dict[int, str] = {}
    for line in (case.folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "TrialEnded":
            last[event["number"]] = event["state"]
    assert last == {trial["number"]: trial["state"] for trial in case.trials()}


def no_traceback(ended: Ended) -> None:
    assert "Traceback" not in ended.err, ended.err


def owner_pid(case: Case) -> int:
    found = re.search(r'"pid": (\d+)', (case.folder / "owner.json").read_text())
    assert found
    return int(found.group(1))
