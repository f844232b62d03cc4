"""The sweep: one thread a slot loops ask -> epochs -> tell, and sleeps while its slot works; the main thread waits for them."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import optuna

from cnn_core.errors import InputError
from pipeline.artifacts import StudyPaths
from pipeline.search.clock import StudyClock
from pipeline.search.events import TrialEnded
from pipeline.search.keep import drop_weights, keep_weights, weights_wanted
from pipeline.search.ledger import StorageFailed
from pipeline.search.record import Outcome, TrialRecord
from pipeline.search.stop import FAILED
from pipeline.search.trial import Room, run_trial
from pipeline.slots.base import Slot

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

    def outside(self, slots: int) -> float:
        """Return the share of the slots' time that was not training."""
        if self.started is None:
            return 0.0
        span = (self.ended or time.monotonic()) - self.started
        return max(0.0, 1.0 - self.training_s / (slots * span)) if span > 0 else 0.0


class Coordinator:
    """Runs trials in slots until the ledger has no more, the stop says so, or the time is used up."""

    def __init__(self, room: Room, slots: Sequence[Slot], paths: StudyPaths, clock: StudyClock, usage: Usage) -> None:
        self.room = room
        self.slots = slots
        self.usage = usage
        self._paths = paths
        self._clock = clock
        room.stop.on_request.append(self._stop_slots)

    def run(self) -> None:
        """Return when all slots are idle for good; how it ended stands in ``room.stop``."""
        threads = [threading.Thread(target=self._loop, args=(slot,), name=f"slot-{slot.index}", daemon=True) for slot in self.slots]
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

    def _loop(self, slot: Slot) -> None:
        with self.guarded():
            slot.machine()  # a worker that cannot start is said before any trial is asked for
            self.usage.begin()
            while (asked := self.room.ledger.ask(self.room.problem.suggest)) is not None:
                self._one(*asked, slot)
            self.usage.end()

    def _one(self, trial: optuna.Trial, overrides: list[str], slot: Slot) -> None:
        record = TrialRecord(self._paths.trial(trial.number))
        try:
            self._finish(trial, self._train(trial, overrides, record, slot), record)
        except BaseException:
            self.room.ledger.release()
            raise

    def _train(self, trial: optuna.Trial, overrides: list[str], record: TrialRecord, slot: Slot) -> Outcome:
        problem = self.room.problem
        try:
            work = problem.work(trial.number, overrides)
        except InputError as error:
            return Outcome(state="FAIL", reason=str(error), time_s=time.time())
        if (known := record.result(work.spec)) is not None:
            return known
        record.begin(trial.number, work.seed, [*problem.base, *overrides])
        outcome = run_trial(trial, work, record, slot, self.room)
        if outcome.state != "INTERRUPTED":
            if weights_wanted(problem.config.tracking.keep_weights, outcome, self.room.ledger.is_best(outcome)):
                keep_weights(work, record, outcome)
            record.write_result(outcome, work.spec)
        return outcome

    def _finish(self, trial: optuna.Trial, outcome: Outcome, record: TrialRecord) -> None:
        """Tell how a trial ended: listeners first, the study last, so that what the study knows the listeners know too."""
        ended = TrialEnded(
            number=trial.number,
            state=outcome.state,
            reason=outcome.reason,
            objective=outcome.values,
            epochs=outcome.epochs,
            duration_s=outcome.duration_s,
            folder=record.paths.folder,
            time_s=outcome.time_s,
            extra=outcome.extra,
        )
        self.room.emit(ended)
        beaten = self.room.ledger.tell(trial, outcome)
        if outcome.state != "INTERRUPTED":
            record.finish()
        if beaten is not None and self.room.problem.config.tracking.keep_weights == "best":
            drop_weights(self._paths.trial(beaten))

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what breaks the sweep itself (a full disk, a database that is locked or gone) into its end."""
        try:
            yield
        except StorageFailed as error:
            self.room.stop.request(str(error), FAILED)
        except OSError as error:
            place = f" ({Path(error.filename).name})" if isinstance(error.filename, str) else ""
            self.room.stop.request(f"writing to {self._paths.folder}: {error.strerror or error}{place}", FAILED)
        except Exception as error:
            self.room.stop.request(f"{type(error).__name__}: {error}", FAILED)

    def _stop_slots(self) -> None:
        if self.room.stop.now:
            for slot in self.slots:
                slot.stop()
