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

from pipeline.configuration import Config, again, override
from pipeline.events import Event, State, TrialEnded, TrialRetried, TrialStarted
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
UNCONFIRMED = "study.confirm: no time was left for it"
UNKEPT = "tracking.keep_weights: no time was left to train the best trial's net again"
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
    or None if the sweep was stopped or the time that `clock` counts is used up before all have run.

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
    for job, folder in jobs:  # what has run needs no time
        if (known := folder.result(job.spec)) is not None:
            runs.ends[folder.paths.folder] = known
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
    """Write confirmed.csv, best first; nothing where nothing was confirmed."""
    if not confirmed:
        return
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
    try:
        (paths.folder / CONFIRMED).unlink()
    except FileNotFoundError:
        return False
    return True


def forgetting(
    emit: Callable[[Event], None], paths: StudyPaths, say: Callable[[str], None]
) -> Callable[[Event], None]:
    """Return an `emit` that forgets an earlier confirmation before it tells of the first trial that
    this confirmation did not know; a run that tries nothing new leaves it as it is.
    """

    def told(event: Event) -> None:
        complete = isinstance(event, TrialEnded) and event.state == State.COMPLETE
        if (complete or isinstance(event, TrialStarted)) and forget(paths):
            say(
                "the confirmation knew nothing of what is tried now; study.confirm=K does it again "
                "and keeps what it has trained"
            )
        emit(event)

    return told


def no_time(config: Config, counted: int, used_s: float, what: str = UNCONFIRMED) -> str:
    """Return the line that says for what no time was left, with the command that gives the trials
    that there are as much time again as the study has used.
    """
    minutes = math.ceil(2 * max(config.budget.minutes or 1, used_s / 60))
    more = override("budget.trials", counted), override("budget.minutes", minutes)
    return f"{what}; run it with: {again(config, *more)}"


def keep_best(
    rows: Sequence[TrialRow],
    problem: Problem,
    context: Context,
    slots: Sequence[Slot],
    clock: StudyClock,
) -> bool:
    """Keep only the best trial's weights, where they are wanted and a trial is complete; return
    False where they are to be kept and are not.

    If the search dropped them because another trial looked better at the time, the trial is trained
    again in the time that `clock` leaves, giving bit for bit the same net.
    """
    wanted = problem.config.tracking.keep_weights == "best"
    if not (wanted and rows and rows[0].state == State.COMPLETE):
        return True
    paths, best = problem.config.paths, rows[0]
    place = paths.trial(best.number)
    # A trial taken over from another study has no folder here.
    if not place.weights.exists() and place.overrides.exists():
        job = problem.job(best.number, best.overrides)
        anew = TrialFolder(TrialPaths(place.folder / "again"))
        context = unheard(context)
        jobs = JobList(context, [(job, anew)], problem.objectives, keep_weights=True)
        Runner(jobs, slots[:1], context, Usage(), paths.log, clock).run()
        if not anew.paths.weights.exists():  # paused or failed
            return False
        for new, final in (
            (anew.paths.weights, place.weights),
            (anew.paths.manifest, place.manifest),
        ):
            new.replace(final)
        shutil.rmtree(anew.paths.folder)
    for row in rows[1:]:
        TrialFolder(paths.trial(row.number)).drop_weights()
    return True


def confirmed_lines(
    confirmed: Sequence[Confirmed], show: Callable[[float], str] = "{:.4f}".format
) -> list[str]:
    """Return lines with the ranking and with how optimistic the search was about its own best."""
    if not confirmed:
        return ["study.confirm: no trial is complete, so none was confirmed"]
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
