"""The best trials once more with other seeds: the search's own best is the luckiest of many, and
this says by how much.

Selecting the best of n noisy values returns, on average, more than the configuration is worth (the
winner's curse). Fresh seeds that played no part in the selection have no such bias. Configurations
are ranked by the lower end of the one-sided 95 % interval of their fresh mean, ``mean - t(0.95, k -
1) * s / sqrt(k)``, so that a lucky mean of an erratic one does not win.
"""

import csv
import io
import math
import queue
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joblib import Parallel, delayed

from pipeline.files import StudyPaths, TrialPaths, atomic_write_text
from pipeline.search.leaderboard import CONFIRMED, Row
from pipeline.search.problem import Problem
from pipeline.search.trial import Paused, Room, Training, not_finite
from pipeline.search.trial_folder import Outcome, TrialRecord, drop_weights, keep_weights
from pipeline.slots.slot import Slot, SlotError

SEEDS = 3  # fresh runs of each configuration
T_95 = {
    1: 6.314,
    2: 2.920,
    3: 2.353,
    4: 2.132,
    5: 2.015,
}  # quantile 0.95 of Student's t, by degrees of freedom


@dataclass(frozen=True)
class Confirmed:
    """A trial's configuration and what it reached with fresh seeds."""

    number: int
    found: float  # in the search
    values: tuple[float, ...]  # of the fresh seeds, those that did not fail

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values) if self.values else -math.inf

    @property
    def spread(self) -> float:
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def lower(self) -> float:
        """The lower end of the interval; without two values there is none, and such a configuration
        comes last.
        """
        k = len(self.values)
        return self.mean - T_95[k - 1] * self.spread / math.sqrt(k) if k > 1 else -math.inf


def confirm(
    rows: Sequence[Row], count: int, room: Room, slots: Sequence[Slot], paths: StudyPaths
) -> list[Confirmed] | None:
    """Run the best `count` complete trials with SEEDS other seeds each; return them by lower bound,
    or None when the sweep stops.

    Each run is saved after every epoch, so an interrupted confirmation goes on where it stopped.
    """
    best = [row for row in rows if row.state == "COMPLETE"][:count]
    idle: queue.SimpleQueue[Slot] = queue.SimpleQueue()
    for slot in slots:
        idle.put(slot)
    runs = [(row, index) for index in range(1, SEEDS + 1) for row in best]
    # Threads, each with a slot: a worker that dies costs one epoch here, too.
    outcomes = Parallel(n_jobs=len(slots), backend="threading")(
        delayed(_run_once)(row, index, room, idle, paths.trial(row.number)) for row, index in runs
    )
    if any(outcome.state == "INTERRUPTED" for outcome in outcomes):
        return None
    found: dict[int, list[float]] = {row.number: [] for row in best}
    for (row, _), outcome in zip(runs, outcomes, strict=True):
        found[row.number] += outcome.values[:1] if outcome.state == "COMPLETE" else []
    confirmed = [Confirmed(row.number, row.values[0], tuple(found[row.number])) for row in best]
    return sorted(confirmed, key=lambda item: (-item.lower, -item.mean, item.number))


def _run_once(
    row: Row, index: int, room: Room, idle: "queue.SimpleQueue[Slot]", paths: TrialPaths
) -> Outcome:
    problem: Problem = room.problem
    work = problem.work(
        row.number, row.overrides, seed=(problem.config.study.seed, row.number, index)
    )
    record = TrialRecord(TrialPaths(paths.folder / f"confirm-{index}"))
    if (known := record.result(work.spec)) is not None:
        return known
    slot = idle.get()
    try:
        record.begin(row.number, work.seed, [*problem.base, *row.overrides])
        outcome = _train(Training(work, record), slot, room)
    finally:
        idle.put(slot)
    if outcome.state != "INTERRUPTED":
        record.write_result(outcome, work.spec)
        record.finish()
    return outcome


def _train(training: Training, slot: Slot, room: Room) -> Outcome:
    try:
        while len(training.rows) < training.work.epochs:
            training.advance(slot, room)
            if bad := not_finite(training.rows[-1]):
                return training.end("FAIL", f"diverged: {bad}")
    except Paused as pause:
        return training.end("INTERRUPTED", str(pause))
    except SlotError as error:
        return training.failed(error)
    return training.completed(room.problem)


def write_confirmed(confirmed: Sequence[Confirmed], paths: StudyPaths) -> None:
    """Write confirmed.csv, best first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "trial", "search", "mean", "std", "seeds", "lower_95", "values"])
    for rank, item in enumerate(confirmed, 1):
        numbers = [
            repr(item.found),
            repr(item.mean),
            repr(item.spread),
            len(item.values),
            repr(item.lower),
        ]
        writer.writerow([rank, item.number, *numbers, " ".join(map(repr, item.values))])
    atomic_write_text(paths.folder / CONFIRMED, text.getvalue())


def forget(paths: StudyPaths) -> bool:
    """Take back the ranking of an earlier confirmation before trials are added that it knows
    nothing of; tell whether there was one.

    The runs themselves are kept, so that confirming again trains only what is new.
    """
    ranking = paths.folder / CONFIRMED
    known = ranking.exists()
    ranking.unlink(missing_ok=True)
    return known


def keep_best(rows: Sequence[Row], room: Room, slots: Sequence[Slot], paths: StudyPaths) -> None:
    """Keep the weights of the best trial alone.

    Where the search dropped them, because another trial looked better then, it is trained again:
    the same net to the bit.
    """
    problem, best = room.problem, rows[0]
    place = paths.trial(best.number)
    if (
        not place.weights.exists() and place.overrides.exists()
    ):  # a trial of a forked study has no folder here
        work = problem.work(best.number, best.overrides)
        record = TrialRecord(TrialPaths(place.folder / "again"))
        record.begin(best.number, work.seed, [*problem.base, *best.overrides])
        outcome = _train(Training(work, record), slots[0], room)
        if outcome.state != "COMPLETE":  # paused, or not to be had again
            return
        keep_weights(work, record, outcome)
        for new, final in (
            (record.paths.weights, place.weights),
            (record.paths.manifest, place.manifest),
        ):
            new.replace(final)
        shutil.rmtree(record.paths.folder)
    for row in rows[1:]:
        drop_weights(paths.trial(row.number))


def confirmed_lines(
    confirmed: Sequence[Confirmed], show: Callable[[float], str] = "{:.4f}".format
) -> list[str]:
    """Return the ranking in words, and how optimistic the search was about its own best."""
    lines = [
        "",
        f"with {SEEDS} fresh seeds each, by the lower end of the 95 % interval of the mean:",
    ]
    for item in confirmed:
        values = " ".join(map(show, item.values))
        lines.append(
            f"  trial {item.number}: {show(item.mean)} (at least {show(item.lower)}; {values}); "
            f"found {show(item.found)}"
        )
    top = max(confirmed, key=lambda item: (item.found, -item.number))
    if top.values:
        optimism = top.found - top.mean
        lines.append(
            f"the search's best, trial {top.number}, was {show(abs(optimism))} "
            f"{'above' if optimism >= 0 else 'below'} its fresh mean "
            "(selection optimism)"
        )
    return lines
