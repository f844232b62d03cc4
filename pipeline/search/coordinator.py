"""The sweep: one thread a slot loops ask -> epochs -> tell, and sleeps while its slot works; the
main thread waits for them.
"""

import contextlib
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from cnn_core.errors import InputError
from pipeline.files import StudyPaths
from pipeline.redact import redact
from pipeline.search.budget import StudyClock
from pipeline.search.problem import Work
from pipeline.search.queue import StorageFailed
from pipeline.search.trial import Room, run_trial
from pipeline.search.trial_folder import (
    Outcome,
    TrialRecord,
    drop_weights,
    keep_weights,
    weights_wanted,
)
from pipeline.slots.slot import Slot
from pipeline.slots.stop import FAILED

POLL_S = 0.1  # how often the main thread looks at the clock; signals wake it by themselves


@dataclass
class Usage:
    """How the slots' time was spent, from the first ask until a slot found no trial left."""

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
        """Return the share of the slots' time that was not training; `idle_s`, when a slot had no
        trial to train, does not count.
        """
        if self.started is None:
            return 0.0
        busy = slots * ((self.ended or time.monotonic()) - self.started) - idle_s
        return max(0.0, 1.0 - self.training_s / busy) if busy > 0 else 0.0


class Coordinator:
    """Runs trials in slots until the ledger has no more, the stop says so, or time is used up."""

    def __init__(
        self, room: Room, slots: Sequence[Slot], paths: StudyPaths, clock: StudyClock, usage: Usage
    ) -> None:
        self.room = room
        self.slots = slots
        self.usage = usage
        self.paths = paths
        self._clock = clock
        room.stop.on_request.append(self._stop_slots)

    def run(self) -> None:
        """Return when all slots are idle for good; how it ended stands in ``room.stop``."""
        threads = self.threads()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            next(thread for thread in threads if thread.is_alive()).join(POLL_S)
            if self._clock.left_s == 0.0:
                self.room.stop.request("budget.minutes is used up", 0)
            with self.guarded():
                self._clock.save()
        with self.guarded():
            self._clock.save(now=True)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that do the work: one a slot."""
        return [
            threading.Thread(
                target=self._loop, args=(slot,), name=f"slot-{slot.index}", daemon=True
            )
            for slot in self.slots
        ]

    def _loop(self, slot: Slot) -> None:
        with self.guarded():
            slot.machine()  # a worker that cannot start is said before any trial is asked for
            self.usage.begin()
            while (asked := self.room.ledger.ask(self.room.problem.suggest)) is not None:
                self._one(*asked, slot)
            self.usage.end()

    def _one(self, trial: optuna.Trial, overrides: list[str], slot: Slot) -> None:
        try:
            with self.composed(trial, overrides) as (work, record):
                outcome = record.result(
                    work.spec
                )  # a killed run may have left one that was not told
                self.finish(
                    trial, work, outcome or run_trial(trial, work, record, slot, self.room), record
                )
        except BaseException:
            self.room.ledger.release()
            raise

    def record(self, number: int) -> TrialRecord:
        """Return the folder of a trial."""
        return TrialRecord(self.paths.trial(number))

    @contextlib.contextmanager
    def composed(
        self, trial: optuna.Trial, overrides: list[str]
    ) -> Iterator[tuple[Work, TrialRecord]]:
        """Yield a trial's work and folder; a trial that cannot be composed is told as FAIL."""
        problem, record = self.room.problem, self.record(trial.number)
        try:
            work = problem.work(trial.number, overrides)
            record.begin(trial.number, work.seed, [*problem.base, *overrides])
            yield work, record
        except InputError as error:
            self.tell(trial, Outcome(state="FAIL", reason=str(error), time_s=time.time()), record)

    def finish(
        self, trial: optuna.Trial, work: Work, outcome: Outcome, record: TrialRecord
    ) -> None:
        """Keep what a trial hands on, and tell how it ended."""
        if outcome.state == "INTERRUPTED":
            self.tell(trial, outcome, record)
            return
        keep = self.room.problem.config.tracking.keep_weights
        if weights_wanted(keep, outcome, self.room.ledger.is_best(trial.number, outcome)):
            keep_weights(work, record, outcome)
        record.write_result(outcome, work.spec)
        beaten = self.tell(trial, outcome, record)
        record.finish()
        if keep == "best":  # two trials may end at once, each better than all before
            if beaten is not None:
                drop_weights(self.paths.trial(beaten))
            if self.room.ledger.best_number != trial.number:
                drop_weights(record.paths)

    def tell(self, trial: optuna.Trial, outcome: Outcome, record: TrialRecord) -> int | None:
        """Tell an outcome: listeners first, the study last, so that what the study knows the
        listeners know too.
        """
        self.room.emit(outcome.event(trial.number, record.paths.folder))
        return self.room.ledger.tell(trial, outcome)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what breaks the sweep itself (a full disk, a database that is locked or gone) into
        its end.
        """
        try:
            yield
        except StorageFailed as error:
            self.room.stop.request(str(error), FAILED)
        except OSError as error:
            place = f" ({Path(error.filename).name})" if isinstance(error.filename, str) else ""
            self.room.stop.request(
                f"writing to {self.paths.folder}: {error.strerror or error}{place}", FAILED
            )
        except Exception as error:  # a mistake of this program: its place goes into the log
            with contextlib.suppress(OSError), self.paths.log.open("a", encoding="utf-8") as log:
                log.write(redact(traceback.format_exc()))
            self.room.stop.request(
                f"{type(error).__name__}: {error} (see {self.paths.log.name})", FAILED
            )

    def _stop_slots(self) -> None:
        if self.room.stop.now:
            for slot in self.slots:
                slot.stop()
