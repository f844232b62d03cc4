"""A study of ten thousand trials: the engine, and the commands that read what it leaves."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.reliability_parts.case import MB, Case, Trial
from benchmarks.reliability_parts.cheap_slot import TIMED
from pipeline import journal
from pipeline.events import TrialEnded
from pipeline.structured_text import read_csv

TRIALS_OF_ALL = 10_000
TRACKED = 1000  # of all; MLflow's own cost of a run is ten times the rest's
AT = 100  # the trial that the last ones are compared with
SWEEPS = (  # what, trials at full size, overrides; the first is the one that is looked at
    ("sweep, random", TRIALS_OF_ALL, ("study.name=long", "tracking=none")),
    ("sweep, TPE", TRACKED, ("study.name=tpe", "sampler=tpe", "tracking=none")),
    ("sweep, promotions", TRACKED, ("study.name=rungs", "pruner=promote", "tracking=none")),
    ("sweep, MLflow on", TRACKED, ("study.name=tracked",)),
)
SMALL = ("train.epochs=3", "study.enqueue=[]", "sampler=random")
MODULE = "benchmarks.reliability_parts.cheap_sweep"


def measure(trial: Trial) -> None:
    root = f"root={trial.folder}/out"
    for what, full, words in SWEEPS:
        count, costs = trial.size(full, 4), trial.folder / f"{words[0]}.costs"
        given = (*SMALL, *words, f"budget.trials={count}", root)
        ended = trial.step(what, (count, "trials"), MODULE, str(costs), *given)
        trial.flat(ended, what, growing=(count, "trials"))
        trial.found.append(f"{what}: {grown(costs_of(costs))}")
    count = trial.size(TRIALS_OF_ALL, 4)
    for command in ("report", "show"):
        trial.step(command, (count, "trials"), f"pipeline.{command}", "study.name=long", root)
    page = trial.folder / "out" / "long" / "report.html"
    megabytes = page.stat().st_size / MB if page.exists() else 0.0
    trial.check(f"the page of {count:,} trials has {megabytes:.1f} MB", holds=megabytes > 0)
    trial.step("doctor", (count, "trials"), "pipeline.doctor", root)
    _check(trial, count)


def _check(trial: Trial, count: int) -> None:
    folder = trial.folder / "out"
    board = folder / "long" / "leaderboard.csv"
    rows = read_csv(board) if board.exists() else []
    numbers = {int(row["trial"]) for row in rows}
    trial.check("the leaderboard has each trial once", holds=len(numbers) == len(rows) >= count)
    for what, full, words in SWEEPS:
        if "tracking=none" not in words:
            events = journal.read_all(folder / words[0].partition("=")[2])
            ended = [event.number for event in events if isinstance(event, TrialEnded)]
            once = len(ended) == len(set(ended)) >= trial.size(full, 4)
            trial.check(f"{what}: the journal has each end once", holds=once)


def costs_of(path: Path) -> Mapping[str, list[float]]:
    """Return by call its processor seconds, in order."""
    found: dict[str, list[float]] = {name: [] for name in TIMED}
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, seconds = line.split(",")
        found[name].append(float(seconds))
    return found


def grown(costs: Mapping[str, Sequence[float]]) -> str:
    """Return in words what a call costs at trial AT and at the last ones, and their ratio."""
    told = []
    for name, seconds in costs.items():
        trials = len(costs["tell"])
        a_trial = max(1, len(seconds) // max(1, trials))
        at, width = min(AT, trials) * a_trial, max(1, min(AT, trials) // 2) * a_trial
        if not seconds:
            continue
        first = statistics.median(seconds[max(0, at - width) : at + width])
        last = statistics.median(seconds[-2 * width :])
        ratio = last / first if first else float("nan")
        told.append(f"{name} {1e3 * first:.2f} ms at trial {min(AT, trials)}, "
                    f"{1e3 * last:.2f} at {trials:,} ({ratio:.1f} times)")  # fmt: skip
    return "; ".join(told)


TRIALS = Case(
    name="trials",
    title="A study of ten thousand trials",
    about="The sweep's own command with a slot that computes a trial's values without training, "
    "three epochs each, with the journal and MLflow only where the row says so, and then the "
    "commands that read the study. A unit is a trial; the lines below give the processor time of "
    "a call of the queue. What TPE itself takes grows with the trials that it learns from "
    "([Scaling out](SCALING.md#what-it-costs)).",
    measure=measure,
)
