"""Runs jobs over slots: one thread per slot takes a training, has its next epoch trained and passes
it on; it sleeps while its slot works.

Sweeps, confirmations, single nets, replays and final nets differ in where their trainings come from
and in what follows an epoch: each is a `Jobs`.
"""

import contextlib
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cnn_core.errors import InputError
from pipeline.events import State, TrialEnded
from pipeline.redact import redact
from pipeline.search.problem import Job
from pipeline.search.storage_errors import StorageFailed
from pipeline.search.study_clock import StudyClock
from pipeline.search.trial import OUT_OF_TIME, Context, NoTimeLeft, Training
from pipeline.slots.retry import Paused
from pipeline.slots.slot import Slot, SlotError
from pipeline.slots.stop_request import FAILED, STOP_FILE, obey
from pipeline.trial_folder import TrialFolder

POLL_S = 0.1  # how often the main thread checks the clock; signals wake it anyway


@dataclass
class Usage:
    """How the slots' time was spent, from the first job until a slot found none left."""

    started: float | None = None
    ended: float | None = None
    training_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        with self._lock:
            self.started = self.started or time.monotonic()

    def end(self) -> None:
        with self._lock:
            self.ended = self.ended or time.monotonic()

    def trained(self, seconds: float) -> None:
        with self._lock:
            if self.ended is None:
                self.training_s += seconds

    def outside(self, slots: int, idle_s: float = 0.0) -> float:
        """Return the share of the slots' time not spent training; `idle_s`, in which a slot had no
        trial to train, does not count.
        """
        if self.started is None:
            return 0.0
        busy = slots * ((self.ended or time.monotonic()) - self.started) - idle_s
        return max(0.0, 1.0 - self.training_s / busy) if busy > 0 else 0.0


class Jobs(Protocol):
    """Where trainings come from and what follows their epochs; called by many threads at once."""

    def take(self, slot: Slot) -> Training | None:
        """Return the training whose next epoch this slot is to train, None if nothing is left for
        it; wait while more may still come.
        """

    def advanced(self, training: Training, slot: Slot) -> None:
        """Handle a training with one more epoch trained and saved, or one that an earlier run left
        (``training.resumed``). Raises Paused and SlotError, as an epoch does.
        """

    def lost(self, training: Training, error: Paused | SlotError) -> None:
        """Handle a training whose next epoch was paused or failed."""


class Runner:
    """Runs jobs in slots until none is left, the run is stopped, or its time is used up."""

    def __init__(
        self,
        jobs: Jobs,
        slots: Sequence[Slot],
        context: Context,
        usage: Usage,
        log: Path,
        clock: StudyClock | None = None,
    ) -> None:
        self._jobs, self._slots, self._context = jobs, slots, context
        self._usage, self._log, self._clock = usage, log, clock
        self._no_time = False
        context.stop.on_request.append(self._stop_slots)

    def run(self) -> None:
        """Run until all slots are idle for good; the context's stop says how it ended."""
        self._look_at_the_clock()  # time that was used up before begins nothing
        threads = [
            threading.Thread(
                target=self._loop, args=(slot,), name=f"slot-{slot.index}", daemon=True
            )
            for slot in self._slots
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            next(thread for thread in threads if thread.is_alive()).join(POLL_S)
            self._look_at_the_clock()
            with self.guarded():
                obey(self._log.with_name(STOP_FILE), self._context.stop)
        if self._no_time and not self._context.stop.requested:
            self._context.stop.request(OUT_OF_TIME, 0)
        if self._clock is not None:
            with self.guarded():
                self._clock.save(now=True)

    def _loop(self, slot: Slot) -> None:
        with self.guarded():
            slot.machine()  # a worker that cannot start fails here, before a job is taken
            self._usage.begin()
            while (training := self._jobs.take(slot)) is not None:
                try:
                    if not training.resumed:
                        training.advance(slot, self._context)
                    self._jobs.advanced(training, slot)
                except (Paused, SlotError) as error:
                    self._jobs.lost(training, error)
                    if isinstance(error, NoTimeLeft):  # or the slot would take it up again
                        self._no_time = True
                        break
            self._usage.end()

    def _look_at_the_clock(self) -> None:
        if self._clock is not None:
            if self._clock.left_s == 0.0:
                self._context.stop.request(OUT_OF_TIME, 0)
            with self.guarded():
                self._clock.save()

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """End the run on an error that breaks the run itself (a full disk, a locked or lost
        database).
        """
        stop = self._context.stop
        try:
            yield
        except (StorageFailed, SlotError, InputError) as error:
            stop.request(str(error), FAILED)
        except OSError as error:
            place = f" ({Path(error.filename).name})" if isinstance(error.filename, str) else ""
            what = f"{error.strerror or error}{place}"
            stop.request(f"writing to {self._log.parent}: {what}", FAILED)
        except (Exception, SystemExit) as error:  # a bug: its traceback goes into the log
            with contextlib.suppress(OSError), self._log.open("a", encoding="utf-8") as log:
                log.write(redact(traceback.format_exc()))
            stop.request(f"{type(error).__name__}: {error} (see {self._log.name})", FAILED)

    def _stop_slots(self) -> None:
        if self._context.stop.now:
            for slot in self._slots:
                slot.stop()


class InOrder(ABC):
    """Jobs one after another, each trained to its end in the slot that took it.

    A subclass says where they come from (`next_training`) and what happens when they end (`ended`).
    """

    def __init__(self, context: Context, objectives: Sequence[str] = ("valid_accuracy",)) -> None:
        self.context = context
        self.objectives = tuple(objectives)
        self._current: dict[int, Training] = {}  # by slot

    @abstractmethod
    def next_training(self, slot: Slot) -> Training | None:
        """Begin and return the next training; None if there is none."""

    @abstractmethod
    def ended(self, training: Training, ended: TrialEnded) -> None:
        """Store and tell how a training ended."""

    def told(self, training: Training) -> set[int]:
        """Return the epochs that earlier runs have already told and judged."""
        return set()

    def judge(self, training: Training, epoch: int, slot: Slot) -> TrialEnded | None:
        """Tell listeners of an epoch; return how the training ends with it, None if it goes on."""
        training.tell_epoch(epoch, slot.index, slot.machine().pid, self.context)
        return training.diverged(epoch)

    def complete(self, training: Training, slot: Slot) -> TrialEnded:
        """Return how a training with all its epochs ends."""
        return training.completed(self.objectives)

    def take(self, slot: Slot) -> Training | None:
        """Return this slot's current training, or the next one."""
        training = self._current.get(slot.index) or self.next_training(slot)
        if training is not None:
            self._current[slot.index] = training
        return training

    def advanced(self, training: Training, slot: Slot) -> None:
        if (ended := self._judged(training, slot)) is not None:
            del self._current[slot.index]
            self.ended(training, ended)

    def _judged(self, training: Training, slot: Slot) -> TrialEnded | None:
        """Judge the epochs not yet judged; return how the training ends, None if it goes on."""
        told = self.told(training) if training.resumed else ()
        training.resumed = False
        for epoch in range(training.judged + 1, training.epoch + 1):
            training.judged = epoch
            if epoch not in told and (ended := self.judge(training, epoch, slot)) is not None:
                return ended
        if training.epoch >= training.job.epochs:
            return self.complete(training, slot)
        return training.paused()

    def lost(self, training: Training, error: Paused | SlotError) -> None:
        for index in [index for index, held in self._current.items() if held is training]:
            del self._current[index]
        if isinstance(error, SlotError):
            self.ended(training, training.failed(error))
        else:
            self.ended(training, training.end(State.INTERRUPTED, str(error)))


class JobList(InOrder):
    """A fixed list of jobs, each with its folder; `ends` says, by folder, how a job ended, in this
    run or an earlier one.
    """

    def __init__(
        self,
        context: Context,
        jobs: Sequence[tuple[Job, TrialFolder]],
        objectives: Sequence[str] = ("valid_accuracy",),
        *,
        keep_weights: bool = False,
    ) -> None:
        super().__init__(context, objectives)
        self.ends: dict[Path, TrialEnded] = {}
        self._keep_weights = keep_weights
        self._open = deque(jobs)
        self._taking = threading.Lock()

    def next_training(self, slot: Slot) -> Training | None:
        with self._taking:
            while self._open and not self.context.stop.requested:
                job, folder = self._open.popleft()
                job = self.planned(job, folder)
                if (known := folder.result(job.spec)) is not None:
                    self.ends[folder.paths.folder] = known
                    continue
                folder.begin(job.number, job.seed, job.whole)
                training = Training(job, folder)
                self.begin(training, slot)
                return training
        return None

    def planned(self, job: Job, folder: TrialFolder) -> Job:
        """Return a job that is about to begin, as it is to be trained."""
        return job

    def begin(self, training: Training, slot: Slot) -> None:
        """Tell listeners that a training begins or resumes."""
        training.begin(slot.index, self.context)

    def all_ended(self, jobs: Sequence[tuple[Job, TrialFolder]]) -> bool:
        """Tell whether none of these is open or paused."""
        ends = [self.ends.get(folder.paths.folder) for _, folder in jobs]
        return all(end is not None and end.state != State.INTERRUPTED for end in ends)

    def ended(self, training: Training, ended: TrialEnded) -> None:
        job, folder = training.job, training.folder
        self.ends[folder.paths.folder] = ended
        if self._keep_weights and ended.state == State.COMPLETE:
            folder.keep_weights(job.spec, ended, job.overrides)
        if ended.state != State.INTERRUPTED:
            folder.write_result(ended, job.spec)
            folder.finish()
        self.context.emit(ended)
