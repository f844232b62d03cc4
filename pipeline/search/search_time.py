"""The time of a search while it runs: one trial at least is complete before ``budget.minutes`` are
used up, and what else fits is planned anew as epochs become slower or faster.
"""

import statistics
import threading
from collections.abc import Callable, Sequence

from cnn_core.errors import InputError
from cnn_core.replanning import planned_steps, whole_epoch
from pipeline.configuration import Config
from pipeline.records.time_plans import TimePlanned, note_time
from pipeline.search.budget import TimePlan, calibration_of, check_time, fitting
from pipeline.search.session import Session
from pipeline.search.study_clock import StudyClock
from pipeline.search.trial import Training
from pipeline.slots.slot import Slot

FIRST = 0.95  # of the time left, what is planned for a first complete trial that would be late
CHANGED = 1.5  # so many times slower or faster than before, a plan is made anew
WINDOW_S = 5.0  # of training, at least, that a pace is known from
LOOKED_AT = 4  # epochs a slot, at least


class SearchTime:
    """What trials are told after each epoch, and what is noted of plans; thread-safe."""

    def __init__(self, config: Config, clock: StudyClock, slots: int, plan: TimePlan) -> None:
        self._config, self._clock, self._slots = config, clock, slots
        self._plan = plan
        # of the epochs since a pace was known last: their seconds, and multiply-adds of images
        self._seconds: list[float] = []
        self._work: list[float] = []
        self._usual: float | None = None  # the pace that the last plan was made for
        self._lock = threading.Lock()

    def note(self, text: str, reason: str = "", *, used_up: bool = False) -> None:
        """Note a plan or an outcome in the study's files."""
        entry = TimePlanned(
            stage="search",
            minutes=self._config.budget.minutes or 0.0,
            used_s=self._clock.used_s,
            text=text,
            reason=reason,
            used_up=used_up,
        )
        note_time(self._config.paths, entry)

    def check(self, session: Session, close: Callable[[], None]) -> None:
        """Refuse, as where real batches were timed, a search that what lay in between has left no
        time for a trial; the study that this run has made is taken back, or a larger budget would
        have to keep epochs chosen for this one. One that was searched before goes on with its final
        models. Raises InputError after `close`.
        """
        if session.begun or (session.resumed and self._config.final.after_sweep):
            return
        try:
            check_time(self._config, self._clock, self._plan)
        except InputError:
            close()
            if not session.resumed:
                calibration_of(self._config).unlink(missing_ok=True)
                session.take_back()
            raise

    def sooner(self, training: Training, in_flight: Sequence[Training]) -> int | None:
        """Return with which step a training that has trained an epoch must end so that the study
        has a complete trial in time, None where it may go on as planned: another one will be
        complete before it, or it will itself.
        """
        left_s, mine_s = self._clock.left_s, seconds_left(training)
        others = (seconds_left(other) for other in in_flight if other is not training)
        if left_s is None or mine_s <= left_s or mine_s > min(others, default=mine_s):
            return None
        spec = training.job.spec
        steps = whole_epoch(spec)
        last = training.epoch * steps + int(FIRST * left_s / recent_s(training) * steps)
        self.note(
            f"trial {training.job.number} ends with step {last} of {planned_steps(spec)}",
            f"it would need {mine_s:.0f} s more, {left_s:.0f} s are left and no trial is complete",
        )
        return last

    def observe(self, training: Training, counted: int) -> None:
        """Take the seconds of a training's last epoch into account; note a new plan where epochs
        have become slower or faster.
        """
        spec, seconds = training.job.spec, training.rows[-1]["epoch_s"]
        work = training.job.extra["multiply_adds"] * whole_epoch(spec) * spec.train.batch_size
        with self._lock:
            self._seconds.append(seconds)
            self._work.append(work)
            few = len(self._seconds) < LOOKED_AT * self._slots
            if few or sum(self._seconds) < 2 * WINDOW_S * self._slots:
                return
            pace, epoch_s = sum(self._seconds) / sum(self._work), statistics.fmean(self._seconds)
            self._seconds, self._work = [], []
            change = pace / (self._usual or pace)
            if self._usual is not None and 1 / CHANGED < change < CHANGED:
                return
            first, self._usual = self._usual is None, pace
            if first:
                return
        left_s = self._clock.left_s or 0.0
        more = fitting(self._config, self._slots, epoch_s, left_s, fixed=True).trials
        self.note(
            f"about {counted + more} trials, {self._plan.trials} were planned",
            f"an epoch takes {change:.2g} times as long as before",
        )


def timed(
    config: Config, clock: StudyClock, slots: Sequence[Slot], plan: TimePlan | None
) -> tuple[SearchTime | None, Sequence[Slot]]:
    """Return what keeps the time of a search that has a plan, and the slots that the plan uses."""
    if plan is None:
        return None, slots
    slots = slots[: plan.slots]
    time, line = SearchTime(config, clock, len(slots), plan), plan.line(config.budget.minutes or 0)
    time.note(line)
    print(line)
    return time, slots


def seconds_left(training: Training) -> float:
    """Return how long a training still takes at its present pace; infinite before an epoch."""
    if not training.rows:
        return float("inf")
    spec = training.job.spec
    left = planned_steps(spec) - training.epoch * whole_epoch(spec)
    return recent_s(training) * left / whole_epoch(spec)


def recent_s(training: Training) -> float:
    """Return the seconds of an epoch at present: the mean of the last ones that took WINDOW_S."""
    recent: list[float] = []
    for row in reversed(training.rows):
        recent.append(row["epoch_s"])
        if sum(recent) >= WINDOW_S:
            break
    return statistics.fmean(recent)
