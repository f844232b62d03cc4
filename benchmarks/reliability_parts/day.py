"""A simulated day of 64 slots: killed, interrupted, resumed, and nothing lost."""

import json
from collections import Counter
from pathlib import Path

from optuna.trial import TrialState

from benchmarks.reliability_parts.case import Case, Trial
from pipeline.files import StudyPaths
from pipeline.reporting.table import load_table
from pipeline.search.open_study import read_study

SLOTS_OF_ALL, HOURS = 64, 24.0
KILLED, INTERRUPTED = -9, 130
MODULE = "benchmarks.reliability_parts.day_sweep"
FINAL = ("COMPLETE", "FAIL")


def measure(trial: Trial) -> None:
    hours, root, log = HOURS * trial.scale, trial.folder / "out", trial.folder / "told.csv"
    slots = SLOTS_OF_ALL if trial.scale == 1 else max(4, min(SLOTS_OF_ALL, trial.size(640)))
    words = (str(log), f"root={root}", "study.name=day", "tracking=none", "pruner=promote",
             "train.epochs=9", "deadline.epoch_s=3600", "budget.max_failed=1000000")  # fmt: skip
    thirds = (hours / 3, 2 * hours / 3, hours)
    for number, (sent, code) in enumerate((("SIGKILL", KILLED), ("SIGINT", INTERRUPTED), ("", 0))):
        begin, end = (0.0, *thirds)[number], thirds[number] if sent else 0.0
        before = told_of(log).total()
        minutes = 60 * (hours if sent else max(hours, used_hours(root) + hours / 3))
        budget = f"budget.minutes={minutes:g}"
        given = (str(slots), f"{begin:g}", f"{end:g}", sent or "-", *words, budget)
        ended = trial.run(MODULE, given)
        tells = told_of(log).total() - before
        step = f"hours {begin:g} to {thirds[number]:g}, {sent or 'to the end'}"
        trial.add(step, (tells, "tells"), ended, code)
        trial.flat(ended, step, growing=(tells, "tells"))
    _nothing_lost(trial, root, log)


def used_hours(root: Path) -> float:
    """Return the hours that the study's clock has counted. They are more than the alarm's in a
    short day: an interrupted sweep waits for its epochs, and one that hangs takes an hour.
    """
    return float(json.loads((root / "day" / "clock.json").read_text())["used_s"]) / 3600


def told_of(log: Path) -> Counter[tuple[int, str, str]]:
    """Return how often each end was told."""
    lines = log.read_text().splitlines() if log.exists() else []
    cells = (line.split(",") for line in lines)
    return Counter((int(number), state, value) for number, state, value in cells)


def _nothing_lost(trial: Trial, root: Path, log: Path) -> None:
    stored = {row.number: row for row in load_table(root / "day", "day").trials}
    told = told_of(log)
    states = Counter(state for _, state, _ in told.elements())
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    ends = Counter(number for number, state, _ in told.elements() if state in FINAL)
    trial.check(f"told: {counts}", holds=bool(told))
    once = "no end was told twice, and none is missing in the study or has another value there"
    lost = [
        number
        for number, state, value in told
        if state in FINAL
        and (stored[number].state != state
             or " ".join(map(repr, stored[number].objective)) != value)
    ]  # fmt: skip
    trial.check(once, holds=not lost and set(ends.values()) <= {1})
    study = read_study(StudyPaths(root, "day"))
    left = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    trial.check("no trial is left running", holds=not left)


DAY = Case(
    name="day",
    title="A simulated day of 64 slots",
    about="A unit is a tell. The sweep's own command with slots that sleep by a clock which jumps "
    "to the next time at which one wakes: epochs of about ten minutes, of which 3 % end with a "
    "killed worker and 1.2 % raise, hang or diverge; trials pause at rungs and are promoted. The "
    "coordinator is killed outright after a third of the day, interrupted after two, and each time "
    "the same command resumes. MLflow is off: its process lives by the real clock.",
    measure=measure,
)
