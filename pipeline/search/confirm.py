"""Reruns the best trials with fresh seeds: the search's own best is the luckiest of many, and this
measures by how much.

Selecting the best of n noisy values returns, on average, more than the configuration is worth (the
winner's curse). Fresh seeds that played no part in the selection have no such bias. Configurations
are ranked by the lower end of the one-sided 95 % interval of their fresh mean,
``mean - t(0.95, k - 1) * s / sqrt(k)``, so that a lucky mean of an erratic one does not win.
"""

import math
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pipeline.events import Event, State, TrialRetried
from pipeline.files import StudyPaths, TrialPaths, atomic_write_text
from pipeline.reporting.foreign_trials import FOREIGN
from pipeline.reporting.table import TrialRow
from pipeline.search.leaderboard import CONFIRMED
from pipeline.search.problem import Job, Problem
from pipeline.search.runner import JobList, Runner, Usage
from pipeline.search.study_clock import StudyClock
from pipeline.search.trial import Context
from pipeline.slots.slot import Slot
from pipeline.structured_text import csv_lines
from pipeline.trial_folder import TrialFolder

SEEDS = 3  # fresh runs of each configuration
# Quantile 0.95 of Student's t, by degrees of freedom.
T_95 = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015}


@dataclass(frozen=True)
class Confirmed:
    """A trial's configuration and what it reached with fresh seeds."""

    number: int
    found: float  # in the search
    values: tuple[float, ...]  # with fresh seeds; failed runs left out
    sign: float = 1.0  # -1 where less is better

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values) if self.values else -self.sign * math.inf

    @property
    def spread(self) -> float:
        return statistics.stdev(self.values) if len(self.values) > 1 else math.nan

    @property
    def lower(self) -> float:
        """The worse end of the interval: the lower, or the upper where less is better; infinitely
        bad with fewer than two values, so that the configuration ranks last.
        """
        k = len(self.values)
        if k < 2:
            return -self.sign * math.inf
        return self.mean - self.sign * T_95[k - 1] * self.spread / math.sqrt(k)


def unheard(context: Context) -> Context:
    """Return a context whose listeners hear only of retries: the trials that these runs belong to
    have ended.
    """

    def emit(event: Event) -> None:
        if isinstance(event, TrialRetried):
            context.emit(event)

    return replace(context, emit=emit, trained=lambda seconds: None)


def confirm(
    rows: Sequence[TrialRow],
    problem: Problem,
    context: Context,
    slots: Sequence[Slot],
    count: int,
    clock: StudyClock | None = None,
) -> list[Confirmed] | None:
    """Run the best `count` complete trials with SEEDS fresh seeds each; return them by lower bound,
    or None if the sweep was stopped or the time that `clock` counts is used up.

    Each run is saved after every epoch, so an interrupted confirmation resumes where it stopped.
    """
    paths, study_seed = problem.config.paths, problem.config.study.seed
    own = [row for row in rows if row.state == State.COMPLETE and row.foreign != FOREIGN]
    best = own[:count]
    jobs: list[tuple[Job, TrialFolder]] = []
    folders: dict[int, list[TrialFolder]] = {row.number: [] for row in best}
    for index in range(1, SEEDS + 1):
        for row in best:
            place = TrialPaths(paths.trial(row.number).folder / f"confirm-{index}")
            folders[row.number].append(TrialFolder(place))
            seed = (study_seed, row.number, index)
            job = problem.job(row.number, row.overrides, seed=seed)
            jobs.append((job, folders[row.number][-1]))
    context = unheard(context)
    runs = JobList(context, jobs, problem.objectives)
    Runner(runs, slots, context, Usage(), paths.log, clock).run()
    if context.stop.requested and not runs.all_ended(jobs):
        return None
    confirmed, sign = [], 1.0 if problem.directions[0] == "maximize" else -1.0
    for row in best:
        ends = [runs.ends[folder.paths.folder] for folder in folders[row.number]]
        values = tuple(end.objective[0] for end in ends if end.state == State.COMPLETE)
        confirmed.append(Confirmed(row.number, row.objective[0], values, sign))
    return sorted(confirmed, key=lambda item: (-sign * item.lower, -sign * item.mean, item.number))


def write_confirmed(confirmed: Sequence[Confirmed], paths: StudyPaths) -> None:
    """Write confirmed.csv, best first."""
    lines: list[list[object]] = [
        ["rank", "trial", "search", "mean", "std", "seeds", "lower_95", "values"]
    ]
    for rank, item in enumerate(confirmed, 1):
        numbers = [
            repr(item.found),
            repr(item.mean),
            repr(item.spread),
            len(item.values),
            repr(item.lower),
        ]
        lines.append([rank, item.number, *numbers, " ".join(map(repr, item.values))])
    atomic_write_text(paths.folder / CONFIRMED, csv_lines(lines))


def forget(paths: StudyPaths) -> bool:
    """Remove the ranking of an earlier confirmation, which new trials would make stale; return
    whether there was one.

    The runs themselves are kept, so that confirming again trains only what is new.
    """
    ranking = paths.folder / CONFIRMED
    known = ranking.exists()
    ranking.unlink(missing_ok=True)
    return known


def keep_best(
    rows: Sequence[TrialRow], problem: Problem, context: Context, slots: Sequence[Slot]
) -> None:
    """Keep only the best trial's weights.

    If the search dropped them because another trial looked better at the time, the trial is trained
    again, giving bit for bit the same net.
    """
    paths, best = problem.config.paths, rows[0]
    place = paths.trial(best.number)
    # A trial taken over from another study has no folder here.
    if not place.weights.exists() and place.overrides.exists():
        job = problem.job(best.number, best.overrides)
        again = TrialFolder(TrialPaths(place.folder / "again"))
        context = unheard(context)
        jobs = JobList(context, [(job, again)], problem.objectives, keep_weights=True)
        Runner(jobs, slots[:1], context, Usage(), paths.log).run()
        if not again.paths.weights.exists():  # paused or failed
            return
        for new, final in (
            (again.paths.weights, place.weights),
            (again.paths.manifest, place.manifest),
        ):
            new.replace(final)
        shutil.rmtree(again.paths.folder)
    for row in rows[1:]:
        TrialFolder(paths.trial(row.number)).drop_weights()


def confirmed_lines(
    confirmed: Sequence[Confirmed], show: Callable[[float], str] = "{:.4f}".format
) -> list[str]:
    """Return lines with the ranking and with how optimistic the search was about its own best."""
    lines = [
        "",
        f"with {SEEDS} fresh seeds each, by the lower end of the 95 % interval of the mean:",
    ]
    for item in confirmed:
        values = " ".join(map(show, item.values))
        lines.append(
            f"  trial {item.number}: {show(item.mean)} (at {'least' if item.sign > 0 else 'most'} "
            f"{show(item.lower)}; {values}); "
            f"found {show(item.found)}"
        )
    top = max(confirmed, key=lambda item: (item.sign * item.found, -item.number))
    if top.values:
        optimism = top.found - top.mean
        lines.append(
            f"the search's best, trial {top.number}, was {show(abs(optimism))} "
            f"{'above' if optimism >= 0 else 'below'} its fresh mean "
            "(selection optimism)"
        )
    return lines
