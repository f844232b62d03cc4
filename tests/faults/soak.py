"""`python -m tests.faults.soak --minutes 5 --seed N`: a sweep that is killed at random, again and
again, and must lose nothing, in the study as in MLflow.

A worker that is in the middle of an epoch is killed every five seconds on average, and every fifth
time the coordinator (which is then started again by the same command). When, how far into an epoch,
and which of the busy workers: all is drawn beforehand from the seed, so a failure is replayed by
the same seed. At the end the sweep is left in peace to finish, and the study is compared with the
log of acknowledged trials that the tests' plug-in keeps beside it.
"""

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.harness import CAP_S, Case, Running, check, wait_until, workers_of
from tests.faults.mlflow_runs import TRACKED, agree

SLOTS = 2
EPOCHS = 4
EPOCH_S = 1.0
MEAN_S = 5.0  # between kills
COORDINATOR_EVERY = 5
START_S = 120.0  # until an epoch begins, on the busiest machine
AT_THE_END = 6  # trials that are trained in peace


@dataclass(frozen=True)
class Kill:
    """One kill, as drawn: when, how far into the epoch that begins next, and of which of the busy
    workers (0 to 1).
    """

    at_s: float
    depth: float
    choice: float


def schedule(minutes: float, seed: int) -> list[Kill]:
    """Return the kills of a soak, a pure function of its arguments: a Poisson process given its
    number of events.
    """
    rng = random.Random(seed)
    times = sorted(rng.uniform(0, minutes * 60) for _ in range(round(minutes * 60 / MEAN_S)))
    return [Kill(at_s, rng.uniform(0.0, 0.9), rng.random()) for at_s in times]


@dataclass
class Epochs:
    """The epochs that have begun, by the toy's marks. Marks are removed once seen, so that looking
    stays quick however long a soak is.
    """

    folder: Path
    begun: Counter[tuple[int, int]] = field(default_factory=Counter)  # by trial and epoch
    latest: list[int] = field(
        default_factory=list
    )  # the pids of the workers that began the last ones

    def look(self) -> int:
        """Take in the new marks; return how many there were."""
        marks = sorted(self.folder.glob("at-*"), key=lambda path: path.stat().st_mtime_ns)
        for mark in marks:
            number, epoch, pid = map(int, mark.name.removeprefix("at-").split("-"))
            self.begun[number, epoch] += 1
            self.latest = [*self.latest, pid][-SLOTS:]
            mark.unlink()
        return len(marks)

    @property
    def repeated(self) -> int:
        return sum(self.begun.values()) - len(self.begun)


class Soak:
    """A sweep, and what has been done to it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.epochs = Epochs(case.toy)
        self.kills: Counter[str] = Counter()
        self.running = self._start()

    def _start(self) -> Running:
        return self.case.start(env={"TOY_EPOCH_S": str(EPOCH_S)})

    def run(self, kills: list[Kill]) -> None:
        """Kill as scheduled; one that comes late, because the sweep took its time to start again,
        is made up for at the next epoch.
        """
        begin = time.monotonic()
        for number, kill in enumerate(kills, 1):
            time.sleep(max(0.0, begin + kill.at_s - time.monotonic()))
            while (victim := self._strike(number, kill)) is None:
                pass
            print(f"{time.monotonic() - begin:7.1f} s  kill {number}: {victim}", flush=True)

    def _strike(self, number: int, kill: Kill) -> str | None:
        """Wait for an epoch to begin, and kill in the middle of it; None when the worker meant is
        gone already.
        """
        self.epochs.look()
        wait_until(self._epoch_begins, "an epoch to begin", START_S)
        time.sleep(kill.depth * EPOCH_S)
        if number % COORDINATOR_EVERY == 0:
            pid = self.running.process.pid
            self.running.kill()
            self.running = self._start()
            self.kills["coordinator"] += 1
            return f"coordinator {pid}"
        living = {process.pid for process in workers_of(self.case.folder)}
        busy = [pid for pid in self.epochs.latest if pid in living]
        if not busy:
            return None
        victim = busy[int(kill.choice * len(busy))]
        os.kill(victim, signal.SIGKILL)
        self.kills["worker"] += 1
        return f"worker {victim}"

    def _epoch_begins(self) -> int:
        if (code := self.running.process.poll()) is not None:
            raise AssertionError(
                f"the sweep ended by itself with exit code {code}:\n{self.running.end().err}"
            )
        return self.epochs.look()

    def finish(self) -> int:
        """Interrupt the sweep as Ctrl-C does, go on with few trials more than it has, and return
        how many those make.
        """
        self.epochs.look()
        wait_until(
            self._epoch_begins, "an epoch to begin", START_S
        )  # before it is up, a sweep cannot be asked to end
        self.running.signal(signal.SIGINT)
        ended = self.running.end(time.monotonic() - self.running.begin + CAP_S + EPOCH_S)
        assert ended.code == 130, (ended.code, ended.err)
        states = self.case.states()
        total = states["COMPLETE"] + states["PRUNED"] + AT_THE_END
        self.case.overrides.append(f"budget.trials={total}")
        self.running = self._start()
        ended = self.running.end(START_S + AT_THE_END * EPOCHS * EPOCH_S)
        assert ended.code == 0, (ended.code, ended.err)
        self.epochs.look()
        return total


def report(soak: Soak, total: int, head: str, tracked: bool) -> int:
    """Say what was done and what was lost; `tracked`: by MLflow too. Return the exit code."""
    case, kills, epochs = soak.case, soak.kills, soak.epochs
    states, told = case.states(), case.told()
    lost = sorted(set(told) - {trial["number"] for trial in case.trials()})
    unlucky = set(
        re.findall(r"trial (\d+) FAIL .*3 times in a row", (case.folder / "log.txt").read_text())
    )  # failures by the rules
    allowed = kills["worker"] + SLOTS * kills["coordinator"]  # one epoch a dead worker
    problems = [f"lost: trials {lost}"] if lost else []
    if states["FAIL"] != len(unlucky):
        problems.append(
            f"{states['FAIL']} trials failed, {len(unlucky)} of them by three deaths in one epoch"
        )
    if epochs.repeated > allowed:
        problems.append(f"{epochs.repeated} epochs were trained again, {allowed} at most should be")
    try:
        check(case, total=total, failed=states["FAIL"])
        if tracked:
            agree(case)
    except AssertionError as error:
        problems.append(f"{type(error).__name__}: {error}")
    by_kind = ", ".join(f"{count} of {kind}s" for kind, count in sorted(kills.items()))
    by_state = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    done = (
        f"{kills.total()} kills ({by_kind}), {case.runs} starts ({case.runs - 1} resumed), "
        f"{sum(states.values())} trials ({by_state})"
    )
    again = f"{epochs.begun.total()} epochs, {epochs.repeated} of them again (at most {allowed})"
    runs = "; a run in MLflow for each trial" if tracked and not problems else ""
    print(f"{head}: {done}, {len(told)} acknowledged, {len(lost)} lost; {again}{runs}")
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tracking", choices=("mlflow", "none"), default="mlflow")
    parser.add_argument("--keep", action="store_true", help="keep the folder when all went well")
    arguments = parser.parse_args()
    from pipeline.configuration import compose
    from pipeline.data import prepare

    base = Path(tempfile.mkdtemp(prefix="soak-"))
    tracked = arguments.tracking == "mlflow"
    head = f"seed {arguments.seed}, {arguments.minutes:g} minutes"
    print(f"{head}, in {base}", flush=True)
    prepare(compose(["experiment=smoke"]).data, base / "root")
    (base / "toy").mkdir()
    most = (
        round(arguments.minutes * 60 * SLOTS / (EPOCHS * EPOCH_S)) + 2 * AT_THE_END
    )  # it never runs dry
    fixed = [
        f"slots.n={SLOTS}",
        f"train.epochs={EPOCHS}",
        "budget.max_failed=1000",
        f"study.seed={arguments.seed}",
        *(TRACKED if tracked else ()),
    ]
    try:
        soak = Soak(Case(base / "root", base / "toy", [*fixed, f"budget.trials={most}"]))
        soak.run(schedule(arguments.minutes, arguments.seed))
        code = report(soak, soak.finish(), head, tracked)
    finally:
        for child in psutil.Process().children(recursive=True):
            child.kill()
    if code == 0 and not arguments.keep:
        shutil.rmtree(base)
    return code


if __name__ == "__main__":
    sys.exit(main())
