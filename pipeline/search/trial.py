"""One trial as a chain of epochs: each is trained in a slot and saved before the next begins.

This is the body of the only epoch loop: `pipeline.search.runner` says which training advances next,
and a source of jobs (`pipeline.search.runner.Jobs`) what follows.
"""

import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

from cnn_core import training
from cnn_core.checkpoint import TrainState
from cnn_core.measures import metric_of
from cnn_core.replanning import ending_at, steps_of_next, whole_epoch
from cnn_core.spec import Spec
from pipeline.configuration.overrides import override
from pipeline.events import EpochDone, Event, State, TrialEnded, TrialRetried, TrialStarted
from pipeline.reporting.several_nets import net_figures
from pipeline.search.problem import Job
from pipeline.slots.retry import Paused, with_retries
from pipeline.slots.slot import Slot, SlotError, TimedOut
from pipeline.slots.stop_request import Stop
from pipeline.trial_folder import TrialFolder

Result = TypeVar("Result")
OUT_OF_TIME = "budget.minutes is used up"
NO_TIME = f"{OUT_OF_TIME}: the next epoch would end too late"
REPLANNED_KEYS = ("train.epochs", "train.replanned")  # what moves the end of a training


@dataclass(frozen=True)
class Context:
    """What a training needs of its run: stop, listeners, deadlines; the same for all trials of a
    run.
    """

    stop: Stop
    emit: Callable[[Event], None] = lambda event: None
    trained: Callable[[float], None] = lambda seconds: None  # called with the seconds of each epoch
    epoch_s: float | None = None  # deadlines
    trial_s: float | None = None
    # seconds until a time budget cuts off the epoch in flight
    cut_s: Callable[[], float | None] = lambda: None


class NoTimeLeft(Paused):
    """The next epoch would not end within the time budget: this training waits for a larger one."""


class Training:
    """A trial's chain of epochs so far, from this run and earlier ones."""

    def __init__(self, job: Job, folder: TrialFolder) -> None:
        self.job = job
        self.folder = folder
        self.state: TrainState | None
        self.state, self.complaint = folder.load(job.spec)
        self.rows = folder.rows(self.state)  # the metrics of each epoch
        self.resumed = bool(self.rows)  # its epochs of earlier runs are still to be judged
        self.judged = 0  # number of epochs judged
        self.until: int | None = None  # the epoch at which it pauses; None: it trains to its end
        self._before_s = sum(row["epoch_s"] for row in self.rows)
        self._started = time.monotonic()

    @property
    def epoch(self) -> int:
        """The number of epochs done."""
        return len(self.rows)

    @property
    def spent_s(self) -> float:
        """The trial's time in its slot, over restarts."""
        return self._before_s + time.monotonic() - self._started

    def begin(self, slot: int, context: Context, time_s: float | None = None) -> None:
        """Tell listeners that the trial begins or resumes, and of a checkpoint that could not be
        used.
        """
        context.emit(trial_started(self.job, self.epoch, slot, time_s))
        if self.complaint:
            reason = f"checkpoint not used: {self.complaint}"
            context.emit(retried(self.job, self.epoch, 0, reason))

    def advance(self, slot: Slot, context: Context) -> None:
        """Train one more epoch and save it. Raises Paused, WorkerDied, TimedOut, CallFailed."""
        deadline_s = epoch_deadline(context, self.spent_s)
        cut_s, job, epoch = context.cut_s(), self.job, self.epoch + 1
        if cut_s is not None:
            if cut_s <= self._next_epoch_s():
                raise NoTimeLeft(NO_TIME)
            deadline_s = cut_s if deadline_s is None else min(cut_s, deadline_s)

        def one_epoch() -> tuple[TrainState, dict[str, float]]:
            return slot.call(training.train_epoch, job.spec, self.state, deadline_s=deadline_s)

        try:
            self.state, row = attempt(one_epoch, job, epoch, context)
        except TimedOut as error:
            if cut_s is not None and cut_s == deadline_s:
                raise NoTimeLeft(NO_TIME) from error
            raise
        for reason in slot.repeats():
            context.emit(retried(job, epoch, 1, reason))
        self.rows.append(row)
        context.trained(row["epoch_s"])
        self.folder.save(self.state, self.rows, job.spec)

    def _next_epoch_s(self) -> float:
        """Return the seconds of the next epoch at the pace of the last, 0 where none is known."""
        if not self.rows or self.state is None:
            return 0.0
        whole = whole_epoch(self.job.spec)
        steps = steps_of_next(self.job.spec.train, self.state, whole)
        return self.rows[-1]["epoch_s"] * steps / whole

    def end_with(self, last: int) -> tuple[str, ...]:
        """Plan the training anew to end with its step number `last`; return the overrides that say
        so, which its folder holds from now on.
        """
        job, spec = self.job, ending_at(self.job.spec, self.epoch, last)
        more = end_overrides(spec)
        kept = tuple(text for text in job.overrides if text.partition("=")[0] not in REPLANNED_KEYS)
        self.job = replace(job, spec=spec, overrides=(*kept, *more))
        if self.state is not None:
            self.folder.save(self.state, self.rows, spec)
        self.folder.begin(job.number, job.seed, self.job.whole)
        return more

    def tell_epoch(
        self, epoch: int, slot: int, pid: int, context: Context, time_s: float | None = None
    ) -> None:
        """Tell listeners of one epoch."""
        row = dict(self.rows[epoch - 1])
        context.emit(
            EpochDone(
                number=self.job.number,
                epoch=epoch,
                metrics=row,
                slot=slot,
                worker_pid=pid,
                time_s=time.time() if time_s is None else time_s,
            )
        )

    def tell_past(
        self, slot: int, context: Context, told: Collection[int], end_s: float | None = None
    ) -> None:
        """Tell listeners of the past epochs not in `told`, the last of which ended at `end_s`."""
        time_s = (time.time() if end_s is None else end_s) - sum(r["epoch_s"] for r in self.rows)
        for epoch, row in enumerate(self.rows, 1):
            time_s += row["epoch_s"]
            if epoch not in told:
                self.tell_epoch(epoch, slot, 0, context, time_s)

    def completed(self, objectives: Sequence[str]) -> TrialEnded:
        """Return how a trial that has all its epochs ended: COMPLETE with its objectives, or FAIL
        if they are not finite.
        """
        assert self.state is not None
        nets = training.objectives(self.job.spec, self.state)
        known = {**self.job.extra, metric_of(self.job.spec.measure): statistics.fmean(nets)}
        values = tuple(float(known[name]) for name in objectives)
        if not all(math.isfinite(value) for value in values):
            return self.end(State.FAIL, f"diverged: objective is {values[0]}")
        return self.end(State.COMPLETE, objective=values, figures=net_figures(nets))

    def failed(self, error: SlotError) -> TrialEnded:
        """Return how a trial whose next epoch failed ended."""
        return self.end(State.FAIL, f"{error} in epoch {self.epoch + 1}")

    def diverged(self, epoch: int) -> TrialEnded | None:
        """Return how a trial ends if a metric of the epoch is not finite, else None."""
        bad = not_finite(self.rows[epoch - 1])
        return self.end(State.FAIL, f"diverged: {bad} in epoch {epoch}") if bad else None

    def paused(self) -> TrialEnded | None:
        """Return how a trial that has reached the epoch at which it pauses ends, else None."""
        if self.until is None or self.epoch < self.until:
            return None
        return self.end(State.PAUSED, f"after epoch {self.epoch} of {self.job.epochs}")

    def end(
        self,
        state: State,
        reason: str = "",
        objective: tuple[float, ...] = (),
        figures: Mapping[str, float] = MappingProxyType({}),
    ) -> TrialEnded:
        """Return the event of the trial's end; `figures` are what is known of it beside its job."""
        return TrialEnded(
            number=self.job.number,
            state=state,
            reason=reason,
            objective=objective,
            epochs=self.epoch,
            duration_s=self.spent_s,
            folder=self.folder.paths.folder,
            time_s=time.time(),
            extra={**self.job.extra, **figures},
        )


def end_overrides(spec: Spec) -> tuple[str, ...]:
    """Return the overrides that give a training its end: its epochs, and when time moved it."""
    epochs, moved = override("train.epochs", spec.train.epochs), spec.train.replanned
    if not moved:
        return (epochs,)
    return epochs, override("train.replanned", list(moved))


def attempt(call: Callable[[], Result], job: Job, epoch: int, context: Context) -> Result:
    """Return ``call()``, with an event for each retry; raises what with_retries raises."""

    def tell(number: int, reason: str) -> None:
        context.emit(retried(job, epoch, number, reason))

    return with_retries(call, context.stop, tell)


def epoch_deadline(context: Context, spent_s: float) -> float | None:
    """Return the seconds that the next epoch may take under both deadlines.

    Raises TimedOut if the trial's time is used up.
    """
    if context.trial_s is None:
        return context.epoch_s
    left_s = context.trial_s - spent_s
    if left_s <= 0:
        limit = f"deadline.trial_s={context.trial_s:g}"
        raise TimedOut(f"timed out: the trial took {spent_s:.1f} s ({limit})")
    return left_s if context.epoch_s is None else min(left_s, context.epoch_s)


def not_finite(row: Mapping[str, float]) -> str:
    """Return which metric of an epoch is not finite, such as "train_loss is nan", else "".

    Layer norms are exempt: they may overflow.
    """
    shown = ((name, value) for name, value in row.items() if "/" not in name)
    return next((f"{name} is {value}" for name, value in shown if not math.isfinite(value)), "")


def trial_started(
    job: Job, resumed_from: int, slot: int, time_s: float | None = None
) -> TrialStarted:
    """Return the event of a trial that begins or resumes, stamped `time_s` or now."""
    return TrialStarted(
        number=job.number,
        name=job.name,
        overrides=job.overrides,
        params=job.params,
        seed=job.seed[0],
        slot=slot,
        resumed_from=resumed_from,
        epochs=job.epochs,
        time_s=time.time() if time_s is None else time_s,
        prior=job.prior,
    )


def retried(job: Job, epoch: int, number: int, reason: str) -> TrialRetried:
    """Return the event of a retry, stamped now."""
    return TrialRetried(
        number=job.number, epoch=epoch, attempt=number, reason=reason, time_s=time.time()
    )
