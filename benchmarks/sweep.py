"""`python -m benchmarks.sweep [--json FILE]`: what a sweep costs beyond its training, and how it grows.

Three tables. Real: trials an hour of equal trials with 1, 2 and n slots, their efficiency, the share of the slots' time outside training.
Study: the coordinator's cost of a trial and of an epoch when the study already holds 10 ... 10,000 trials, with the sampler's own share.
Slots: its cost with 1 ... 64 slots whose epochs are simulated by sleeping, in processor time, which is what it takes from training; a trial
has four epochs, and its own cost (asking, composing, telling) is in theirs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from benchmarks.simulated import SimulatedSlot, simulated_session
from pipeline.search.coordinator import Coordinator, Usage
from pipeline.search.ledger import Ledger
from pipeline.search.record import Outcome
from pipeline.search.samplers import PerTrialSampler
from pipeline.search.session import Session
from pipeline.search.stop import Stop
from pipeline.search.trial import Room

SAME_TRIALS = "space={model.init:{choice:[xavier,he]}}"
Row = dict[str, Any]


def real(slots: Sequence[int], trials: int, data: str, epochs: int) -> list[Row]:
    """Run the sweep's own command with equal trials, once for each number of slots."""
    rows: list[Row] = []
    for count in slots:
        with tempfile.TemporaryDirectory() as root:
            command = [
                sys.executable, "-m", "pipeline.sweep", f"root={root}", "study.name=bench", f"data={data}", f"slots.n={count}",
                f"budget.trials={trials * count}", f"train.epochs={epochs}", "pruner=none", "sampler=random", SAME_TRIALS,
                "study.enqueue=[]", "-q",
            ]  # fmt: skip
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            events = [json.loads(line) for line in (Path(root) / "bench" / "events.jsonl").read_text().splitlines()]
        begin = min(event["time_s"] for event in events if event["event"] == "TrialStarted")
        ends = sorted(event["time_s"] for event in events if event["event"] == "TrialEnded")
        span = ends[-1] - begin
        outside = next(event["outside_training"] for event in events if event["event"] == "StudyEnded")
        rows.append({"slots": count, "trials_per_hour": 3600 * len(ends) / span, "outside_training": outside})
    for row in rows:
        row["efficiency"] = row["trials_per_hour"] / (row["slots"] * rows[0]["trials_per_hour"] / rows[0]["slots"])
    return rows


def study_growth(sizes: Sequence[int], measured: int = 10) -> list[Row]:
    """Measure asking, reporting and telling on studies that hold so many trials already."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as root:
            session = simulated_session(Path(root), trials=size + measured)
            fill(session, size)
            ledger = Ledger(session.study, size + measured, Stop(), 10)
            sampler_s = timed_sampler()
            ask: list[float] = []
            report: list[float] = []
            tell: list[float] = []
            for _ in range(measured):
                measure_one(session, ledger, ask, report, tell)
            whole = statistics.median(ask) + statistics.median(tell)
            rows.append(
                {
                    "trials": size,
                    "trial_ms": 1e3 * whole,
                    "sampler_ms": 1e3 * sum(sampler_s) / measured,
                    "epoch_ms": 1e3 * statistics.median(report),
                }
            )
            sampler_s.restore()
    return rows


def measure_one(session: Session, ledger: Ledger, ask: list[float], report: list[float], tell: list[float]) -> None:
    """Ask for a trial, report three epochs, tell it; append the seconds."""
    trial, _ = clock(ask, lambda: ledger.ask(session.problem.suggest))
    for epoch in (1, 2, 3):
        clock(report, lambda: ledger.report(trial, epoch, 0.5 + 0.1 * epoch))  # noqa: B023 - called at once
    clock(tell, lambda: ledger.tell(trial, Outcome(state="COMPLETE", values=(0.9,))))


class timed_sampler(list[float]):  # noqa: N801 - used as a list of seconds
    """Collects the seconds spent in the sampler's methods, from outside."""

    NAMES = ("before_trial", "infer_relative_search_space", "sample_relative", "sample_independent")

    def __init__(self) -> None:
        super().__init__()
        self._originals = {name: getattr(PerTrialSampler, name) for name in self.NAMES}
        for name, original in self._originals.items():
            setattr(PerTrialSampler, name, self._timed(original))

    def _timed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def method(*arguments: Any) -> Any:
            return clock(self, lambda: original(*arguments))

        return method

    def restore(self) -> None:
        for name, original in self._originals.items():
            setattr(PerTrialSampler, name, original)


def clock(seconds: list[float], call: Callable[[], Any]) -> Any:
    """Return ``call()`` and append how long it took."""
    start = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - start)
    return result


def fill(session: Session, size: int) -> None:
    """Put `size` complete trials into the study, drawn at random."""
    rng = np.random.default_rng(0)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(size):
        trial = drawn.ask()
        session.problem.suggest(trial)
        values = {epoch: float(rng.random()) for epoch in (1, 2, 3)}
        copied = create_trial(
            state=TrialState.COMPLETE,
            value=values[3],
            params=trial.params,
            distributions=trial.distributions,
            intermediate_values=values,
        )
        drawn.tell(trial, values[3])
        session.study.add_trial(copied)


def slot_growth(counts: Sequence[int], epoch_s: float = 1.0, epochs: int = 4) -> list[Row]:
    """Run the coordinator with simulated slots; its processor time is its cost."""
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as root:
            trials = 2 * count
            session = simulated_session(Path(root), trials=trials, epochs=epochs)
            session.study.pruner = optuna.pruners.MedianPruner(n_startup_trials=10**6)
            usage = Usage()
            room = Room(session.problem, session.ledger, session.stop, lambda event: None, usage.trained)
            slots = [SimulatedSlot(index, epoch_s) for index in range(count)]
            wall, cpu = time.monotonic(), time.process_time()
            Coordinator(room, slots, session.config.paths, session.clock, usage).run()
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
            done = trials * epochs
            rows.append(
                {
                    "slots": count,
                    "epochs": done,
                    "cpu_ms_per_epoch": 1e3 * cpu / done,
                    "outside_training": usage.outside(count),
                    "wall_over_ideal": wall / (2 * epochs * epoch_s),
                }
            )
    return rows


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table."""
    print(f"\n{title}")
    print("  ".join(f"{key:>18}" for key in rows[0]))
    for row in rows:
        print("  ".join(f"{value:>18.4g}" if isinstance(value, float) else f"{value:>18}" for value in row.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist", help="source of the real trials")
    parser.add_argument("--trials", type=int, default=2, help="real trials a slot")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of a real trial")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10, 100, 1000, 10_000])
    parser.add_argument("--slots", type=int, nargs="*", default=[1, 2, 4, 8, 16, 32, 64], help="simulated slots")
    parser.add_argument("--parts", nargs="*", default=["real", "study", "slots"], choices=["real", "study", "slots"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    tables: dict[str, list[Row]] = {}
    if "real" in arguments.parts:
        counts = sorted({1, 2, joblib.cpu_count()})
        tables["real"] = real(counts, arguments.trials, arguments.data, arguments.epochs)
        show("real trials", tables["real"])
    if "study" in arguments.parts:
        tables["study"] = study_growth(arguments.sizes)
        show("cost of a trial and of an epoch, by trials in the study", tables["study"])
    if "slots" in arguments.parts:
        tables["slots"] = slot_growth(arguments.slots)
        show("cost of an epoch, by simulated slots", tables["slots"])
    if arguments.json:
        arguments.json.write_text(json.dumps(tables, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
