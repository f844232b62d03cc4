"""Training the nets of all members in slots: the same epochs as a trial's, saved after each, so
that a restart goes on.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from cnn_core import checkpoint
from cnn_core.errors import InputError
from cnn_core.finishing import finished_weights
from cnn_core.state import TrainState, Weights
from cnn_core.training import train_epoch
from pipeline.ensemble.duration import work_of
from pipeline.ensemble.telling import Job, NetEvents, Say
from pipeline.search.coordinator import Usage
from pipeline.search.trial import RETRIES, not_finite
from pipeline.search.trial_folder import TrialRecord
from pipeline.slots.slot import Slot, SlotError, WorkerDied
from pipeline.slots.stop import FAILED, Stop

Result = TypeVar("Result")


def load_net(job: Job) -> Weights | None:
    """Return the finished weights of a job, None where they are not there yet or belong to another
    configuration.
    """
    if not job.paths.weights.exists():
        return None
    weights, about = checkpoint.load_weights(job.paths.weights)
    return weights if about.get("spec") == job.spec.digest() else None


class NetTrainer:
    """Hands jobs to slots until all are trained or the stop says so; why it ended stands in
    ``stop``.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        slots: Sequence[Slot],
        stop: Stop,
        say: Say,
        events: NetEvents,
        epoch_s: float | None = None,
    ) -> None:
        self._done = [job for job in jobs if load_net(job) is not None]
        self._open = [job for job in jobs if job not in self._done]
        self._slots, self._stop, self._say, self._events, self._epoch_s = (
            slots,
            stop,
            say,
            events,
            epoch_s,
        )
        self.usage = Usage()
        self._lock = threading.Lock()
        self._work_left = sum(work_of(job.spec) * job.spec.train.epochs for job in self._open)
        stop.on_request.append(self._stop_slots)

    def run(self) -> None:
        """Return when no net is left or all slots have stopped."""
        for job in self._done:
            self._events.found(job)
        threads = [
            threading.Thread(
                target=self._loop, args=(slot,), name=f"final-{slot.index}", daemon=True
            )
            for slot in self._slots
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # signals are handled in between

    def _loop(self, slot: Slot) -> None:
        try:
            self.usage.begin()
            while not self._stop.requested and (job := self._take()) is not None:
                self._train(job, slot)
            self.usage.end()
        except (SlotError, checkpoint.CheckpointError, InputError) as error:
            self._stop.request(str(error), FAILED)
        except OSError as error:
            self._stop.request(f"writing the final nets: {error.strerror or error}", FAILED)
        except Exception as error:
            self._stop.request(f"{type(error).__name__}: {error}", FAILED)

    def _take(self) -> Job | None:
        with self._lock:
            return self._open.pop(0) if self._open else None

    def _train(self, job: Job, slot: Slot) -> None:
        record = TrialRecord(job.paths)
        record.begin(0, job.spec.seed, job.overrides)
        state, complaint = record.load(job.spec)
        if complaint:
            self._say(f"final {job.name}: checkpoint not used: {complaint}")
        rows = record.rows(state)
        self._count(job, len(rows))
        self._events.begin(job, rows, slot.index)
        ended, reason = "INTERRUPTED", ""
        try:
            if self._epochs(job, slot, record, state, rows):
                ended = "COMPLETE"
        except BaseException as error:
            ended, reason = "FAIL" if isinstance(error, InputError) else ended, str(error)
            raise
        finally:
            self._events.end(
                job, rows, ended, reason if ended != "INTERRUPTED" else reason or self._stop.reason
            )

    def _epochs(
        self,
        job: Job,
        slot: Slot,
        record: TrialRecord,
        state: TrainState | None,
        rows: list[dict[str, float]],
    ) -> bool:
        """Train the epochs that `rows` lacks, then the statistics; tell whether the net was
        finished (not when the stop came).
        """
        while len(rows) < job.spec.train.epochs:
            outcome = self._call(slot, train_epoch, job.spec, state)
            if outcome is None:
                return False
            state, row = outcome
            rows.append(row)
            record.save(state, rows, job.spec)
            self._count(job, 1)
            self.usage.trained(row["epoch_s"])
            self._events.epoch(job, len(rows), row, slot.index, slot.machine().pid)
            if bad := not_finite(row):
                raise InputError(
                    f"final {job.name}: training must stay finite, got {bad} in epoch {len(rows)}"
                )
            self._say(self._line(job, rows))
        assert state is not None
        weights = self._call(slot, finished_weights, job.spec, state, job.statistics_batches)
        if weights is None:
            return False
        checkpoint.save_weights(
            job.paths.weights, weights, {"spec": job.spec.digest(), "epochs": job.spec.train.epochs}
        )
        record.finish()
        return True

    def _call(
        self, slot: Slot, function: Callable[..., Result], *arguments: object
    ) -> Result | None:
        """Return the call's value, None when the stop came; a worker that dies is replaced and the
        call repeated.
        """
        for attempt in range(RETRIES + 1):
            if self._stop.requested:
                return None
            try:
                return slot.call(function, *arguments, deadline_s=self._epoch_s)
            except WorkerDied as error:
                if self._stop.now:
                    return None
                if attempt == RETRIES:
                    raise
                self._say(f"final: {error}, once more")
        return None

    def _line(self, job: Job, rows: Sequence[dict[str, float]]) -> str:
        row = rows[-1]
        left_s = self._work_left / work_of(job.spec) * row["epoch_s"] / max(1, len(self._slots))
        validation = f", validation {row['valid_accuracy']:.2%}" if "valid_accuracy" in row else ""
        shown = f"loss {row['train_loss']:.4f}{validation}, {row['epoch_s']:.1f} s"
        done = (
            f"{time.strftime('%H:%M:%S')} final {job.name} epoch "
            f"{len(rows)}/{job.spec.train.epochs}"
        )
        return f"{done}: {shown}; about {left_s / 60:.0f} min left"

    def _count(self, job: Job, epochs: int) -> None:
        with self._lock:
            self._work_left -= work_of(job.spec) * epochs

    def _stop_slots(self) -> None:
        if self._stop.now:
            for slot in self._slots:
                slot.stop()
