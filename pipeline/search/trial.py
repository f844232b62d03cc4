"""One trial: a chain of epochs in a slot, each saved, told to the listeners and judged before the
next begins.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import optuna

from pipeline.events import EpochDone, Event, TrialRetried, TrialStarted
from pipeline.search.problem import Problem, Work
from pipeline.search.queue import Ledger
from pipeline.search.trial_folder import Outcome, TrialRecord
from pipeline.slots.slot import Slot, SlotError, TimedOut, WorkerDied
from pipeline.slots.stop import Stop

RETRIES = 2  # of one epoch whose worker died
Result = TypeVar("Result")


@dataclass(frozen=True)
class Room:
    """What a trial needs around it; the same for all trials of a sweep."""

    problem: Problem
    ledger: Ledger
    stop: Stop
    emit: Callable[[Event], None]
    trained: Callable[[float], None]  # told the seconds of each epoch
    epoch_s: float | None = None  # deadlines
    trial_s: float | None = None


class Paused(Exception):  # noqa: N818 - an ending, not an error
    """The sweep stops; the trial goes on with its next epoch when the sweep is resumed."""


class Training:
    """A trial's chain of epochs as far as it has come, here or in an earlier run."""

    def __init__(self, work: Work, record: TrialRecord) -> None:
        self.work = work
        self.record = record
        self.state, self.complaint = record.load(work.spec)
        self.rows = record.rows(self.state)  # the metrics of each epoch
        self._before_s = sum(row["epoch_s"] for row in self.rows)
        self._started = time.monotonic()

    @property
    def spent_s(self) -> float:
        """The trial's time in its slot, over restarts."""
        return self._before_s + time.monotonic() - self._started

    def begin(self, slot: int, room: Room) -> None:
        """Tell that the trial begins or goes on, and a checkpoint that could not be used."""
        room.emit(trial_started(self.work, len(self.rows), slot))
        if self.complaint:
            room.emit(
                retried(self.work, len(self.rows), 0, f"checkpoint not used: {self.complaint}")
            )

    def advance(self, slot: Slot, room: Room) -> None:
        """Train one more epoch and save it. Raises Paused, WorkerDied, TimedOut, CallFailed."""
        deadline_s = epoch_deadline(room, self.spent_s)
        epoch = len(self.rows) + 1
        self.state, row = attempt(
            lambda: room.problem.train_epoch(self.work, self.state, slot, deadline_s),
            self.work,
            epoch,
            room,
        )
        for reason in slot.repeats():
            room.emit(retried(self.work, epoch, 1, reason))
        self.rows.append(row)
        room.trained(row["epoch_s"])
        self.record.save(self.state, self.rows, self.work.spec)

    def completed(self, problem: Problem) -> Outcome:
        """Return the outcome of a trial that has all its epochs: COMPLETE with its objectives, or
        FAIL where they are not finite.
        """
        assert self.state is not None
        values = problem.values(self.work, self.state)
        if not all(math.isfinite(value) for value in values):
            return self.end("FAIL", f"diverged: objective is {values[0]}")
        return self.end("COMPLETE", values=values)

    def failed(self, error: SlotError) -> Outcome:
        """Return the outcome of a trial whose next epoch could not be had."""
        return self.end("FAIL", f"{error} in epoch {len(self.rows) + 1}")

    def end(self, state: str, reason: str = "", values: tuple[float, ...] = ()) -> Outcome:
        """Return an outcome with what is known of the trial."""
        return Outcome(
            state=state,
            reason=reason,
            values=values,
            epochs=len(self.rows),
            duration_s=self.spent_s,
            time_s=time.time(),
            extra=self.work.extra,
        )


def run_trial(
    trial: optuna.Trial, work: Work, record: TrialRecord, slot: Slot, room: Room
) -> Outcome:
    """Train a trial to its end, from its last checkpoint if it has one, and return how it ended."""
    training = Training(work, record)
    training.begin(slot.index, room)
    reported = room.ledger.reported(trial) if training.rows else set()
    try:
        for epoch in range(1, work.epochs + 1):
            if epoch > len(training.rows):
                training.advance(slot, room)
            if epoch in reported:
                continue
            row = training.rows[epoch - 1]
            room.emit(epoch_done(work, epoch, row, slot.index, slot.machine().pid))
            if bad := not_finite(row):
                return training.end("FAIL", f"diverged: {bad} in epoch {epoch}")
            if room.ledger.report(trial, epoch, row["valid_accuracy"]) and epoch < work.epochs:
                return training.end("PRUNED", f"after epoch {epoch} of {work.epochs}")
    except Paused as pause:
        return training.end("INTERRUPTED", str(pause))
    except SlotError as error:
        return training.failed(error)
    return training.completed(room.problem)


def attempt(call: Callable[[], Result], work: Work, epoch: int, room: Room) -> Result:
    """Return ``call()``, repeated when its worker dies, at most RETRIES times.

    Raises Paused when the sweep stops, WorkerDied after the last repetition, TimedOut, CallFailed.
    """
    for number in range(1, RETRIES + 2):
        if room.stop.requested:
            raise Paused(room.stop.reason)
        try:
            return call()
        except WorkerDied as error:
            if room.stop.now:
                raise Paused(room.stop.reason) from error
            if number > RETRIES:
                raise WorkerDied(f"{error}, {number} times running,") from error
            room.emit(retried(work, epoch, number, str(error)))
    raise AssertionError("unreachable")


def epoch_deadline(room: Room, spent_s: float) -> float | None:
    """Return the seconds that the next epoch may take, by both deadlines. Raises TimedOut when the
    trial has had all of its own.
    """
    if room.trial_s is None:
        return room.epoch_s
    left_s = room.trial_s - spent_s
    if left_s <= 0:
        raise TimedOut(
            f"timed out: the trial took {spent_s:.1f} s (deadline.trial_s={room.trial_s:g})"
        )
    return left_s if room.epoch_s is None else min(left_s, room.epoch_s)


def not_finite(row: Mapping[str, float]) -> str:
    """Return what a diverged epoch shows, such as "train_loss is nan"; "" for a sound one. (Norms
    of layers may overflow in peace.)
    """
    return next(
        (
            f"{name} is {value}"
            for name, value in row.items()
            if "/" not in name and not math.isfinite(value)
        ),
        "",
    )


def trial_started(work: Work, resumed_from: int, slot: int) -> TrialStarted:
    """Return the event of a trial that begins or goes on, stamped now."""
    return TrialStarted(
        number=work.number,
        name=work.name,
        overrides=work.overrides,
        params=work.params,
        seed=work.seed[0],
        slot=slot,
        resumed_from=resumed_from,
        epochs=work.epochs,
        time_s=time.time(),
    )


def epoch_done(work: Work, epoch: int, row: Mapping[str, float], slot: int, pid: int) -> EpochDone:
    """Return the event of one epoch, stamped now."""
    return EpochDone(
        number=work.number,
        epoch=epoch,
        metrics=dict(row),
        slot=slot,
        worker_pid=pid,
        time_s=time.time(),
    )


def retried(work: Work, epoch: int, number: int, reason: str) -> TrialRetried:
    """Return the event of a repetition, stamped now."""
    return TrialRetried(
        number=work.number, epoch=epoch, attempt=number, reason=reason, time_s=time.time()
    )
