"""`python -m tests.faults.soak --minutes 5 --seed N`: a sweep that is killed at random, again and again, and must lose nothing.

Every few seconds a worker that is in the middle of an epoch is killed, and every fifth time the coordinator (which is then started again by
the same command). When and whom follows from the seed: a kill is a fraction of a second after the n-th epoch began, counted over the
whole soak, so a failure is replayed by the same seed. At the end the sweep is left in peace to finish, and the study is compared
with the log of acknowledged trials that the tests' plug-in keeps beside it.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.faults.harness import Case, Running, check, workers_of

EPOCHS = 4
EPOCH_S = 1.0
MEAN_S = 5.0  # between kills
COORDINATOR_EVERY = 5
TRIALS_A_MINUTE = 8


@dataclass
class Tally:
    """What the soak has done so far."""

    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    lines: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)


def epochs_begun(case: Case) -> list[Path]:
    """Return the marks of begun epochs, oldest first."""
    marks = [path for path in case.toy.glob("at-*") if path.exists()]
    return sorted(marks, key=lambda path: path.stat().st_mtime_ns)


def kill_one(case: Case, running: Running, rng: random.Random, tally: Tally) -> Running:
    """Kill a busy worker, or every fifth time the coordinator; return the sweep that runs then."""
    number = sum(tally.kills.values()) + 1
    before = len(epochs_begun(case))
    while len(epochs_begun(case)) == before and running.process.poll() is None:
        time.sleep(0.01)
    time.sleep(rng.uniform(0.0, 0.9) * EPOCH_S)
    if running.process.poll() is not None:
        return running
    if number % COORDINATOR_EVERY == 0:
        running.kill()
        tally.kills["coordinator"] += 1
        tally.note(f"kill {number}: coordinator {running.process.pid}")
        return start(case, tally)
    mark = rng.choice(epochs_begun(case)[-2:])
    victim = int(mark.name.rsplit("-", 1)[1])
    if victim in [process.pid for process in workers_of(case.folder)]:
        os.kill(victim, signal.SIGKILL)
        tally.kills["worker"] += 1
        tally.note(f"kill {number}: worker {victim} at {mark.name}")
    return running


def start(case: Case, tally: Tally) -> Running:
    tally.starts += 1
    return case.start(env={"TOY_EPOCH_S": str(EPOCH_S)})


def soak(minutes: float, seed: int, base: Path, prepared: Path) -> int:
    """Run the soak below `base`; return 0 when nothing was lost."""
    rng, tally = random.Random(seed), Tally()
    total = max(8, round(minutes * TRIALS_A_MINUTE))
    root, toy = base / "root", base / "toy"
    toy.mkdir(parents=True)
    shutil.copytree(prepared, root / "prepared")
    case = Case(root, toy, [f"budget.trials={total}", f"train.epochs={EPOCHS}", "budget.max_failed=1000", f"study.seed={seed}"])
    end = time.monotonic() + minutes * 60
    running = start(case, tally)
    while time.monotonic() < end:
        time.sleep(rng.expovariate(1 / MEAN_S) * 0.6)  # the rest of the mean is waiting for an epoch to begin
        running = kill_one(case, running, rng, tally)
        if running.process.poll() is not None:  # all trials are done early: ask for more
            total += TRIALS_A_MINUTE
            case.overrides[0] = f"budget.trials={total}"
            running = start(case, tally)
    left_s = EPOCHS * EPOCH_S * total
    ended = running.end(cap_s=time.monotonic() - running.begin + left_s + 60)
    assert ended.code == 0, (ended.code, ended.err)
    return report(case, total, seed, tally)


def report(case: Case, total: int, seed: int, tally: Tally) -> int:
    """Compare the study with the independent log; print what was done and what was lost."""
    states, told = case.states(), case.told()
    lost = [number for number in told if number not in {trial["number"] for trial in case.trials()}]
    failed = states["FAIL"]
    kills = f"{sum(tally.kills.values())} kills {dict(tally.kills)}"
    print(f"seed {seed}: {kills}, {tally.starts} starts, {dict(states)}, {len(told)} acknowledged")
    check(case, total=total, failed=failed)
    unjustified = failed - unlucky(case)
    print(f"lost: {len(lost)}; failed without three deaths in one epoch: {max(0, unjustified)}")
    return 1 if lost or unjustified > 0 else 0


def unlucky(case: Case) -> int:
    """Return how many trials the kills hit three times in one epoch, which is a failure by the rules."""
    log = (case.folder / "log.txt").read_text()
    return sum("3 times running" in line for line in log.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the folder when all went well")
    arguments = parser.parse_args()
    from pipeline.config import compose
    from pipeline.data import prepare

    base = Path(tempfile.mkdtemp(prefix="soak-"))
    prepare(compose(["experiment=smoke"]).data, base)
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes, in {base}", flush=True)
    try:
        code = soak(arguments.minutes, arguments.seed, base / "soak", base / "prepared")
    finally:
        for child in psutil.Process().children(recursive=True):
            child.kill()
    if code == 0 and not arguments.keep:
        shutil.rmtree(base)
    return code


if __name__ == "__main__":
    sys.exit(main())
