"""The nets of all members as jobs of the runner: trained epoch by epoch like trials and saved after
each, so that a restart resumes; and their events: a separate study whose trials are the nets.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cnn_core import checkpoint
from cnn_core.epoch import best_of
from cnn_core.finishing import finished_weights
from cnn_core.measures import metric_of
from cnn_core.spec import Spec
from pipeline import journal
from pipeline.configuration import Config, compose
from pipeline.ensemble.duration import work_of
from pipeline.ensemble.final_time import FinalTime
from pipeline.ensemble.plan import Member, in_order
from pipeline.events import EpochDone, Event, State, StudyEnded, StudyStarted, TrialEnded
from pipeline.files import StudyPaths, TrialPaths, sha256_bytes
from pipeline.records.ensemble_record import Ensemble
from pipeline.search.messages import run_tags, study_ended, study_started
from pipeline.search.problem import Job, costs_of, shown_params
from pipeline.search.runner import JobList
from pipeline.search.trial import (
    REPLANNED_KEYS,
    Context,
    Training,
    attempt,
    end_overrides,
    not_finite,
)
from pipeline.slots.retry import Paused
from pipeline.slots.slot import Slot, SlotError
from pipeline.slots.stop_request import FAILED, Stop
from pipeline.trial_folder import TrialFolder

Say = Callable[[str], None]
Net = tuple[Job, TrialFolder]


def net_jobs(members: Sequence[Member], paths: StudyPaths) -> list[Net]:
    """Return one job per net with its folder, in training order."""
    jobs = []
    for number, net in enumerate(in_order(members)):
        shown = shown_params(compose(net.overrides), net.overrides)
        job = Job(
            number=number,
            name=f"final {net.member.name} {net.part}",
            seed=net.spec.seed,
            overrides=net.overrides,
            spec=net.spec,
            params={"member": net.member.name, "part": net.part, **shown},
            extra=costs_of(net.spec),
        )
        jobs.append((job, TrialFolder(TrialPaths(net.member.folder(paths) / net.folder))))
    return jobs


def is_trained(job: Job, folder: TrialFolder) -> bool:
    """Return whether the finished weights of exactly this net exist."""
    if not folder.paths.weights.exists():
        return False
    _, about = checkpoint.load_weights(folder.paths.weights)
    return bool(about.get("spec") == job.spec.digest())


class FinalJobs(JobList):
    """The nets that are not trained yet; one that cannot be trained stops the run.

    `known` are the events of these nets that listeners received in earlier runs; epochs that they
    missed, because they were trained before there was a journal, are emitted late.
    """

    def __init__(
        self,
        context: Context,
        nets: Sequence[Net],
        say: Say,
        statistics_batches: int,
        known: Sequence[Event] = (),
        slots: int = 1,
    ) -> None:
        self._done = [net for net in nets if is_trained(*net)]
        rest = [net for net in nets if net not in self._done]
        super().__init__(context, rest)
        self._say, self._statistics_batches, self._slots = say, statistics_batches, slots
        self._told = {(e.number, e.epoch) for e in known if isinstance(e, EpochDone)}
        self._told_complete = {
            e.number for e in known if isinstance(e, TrialEnded) and e.state == State.COMPLETE
        }
        self.counts: Counter[str] = Counter()
        self.time: FinalTime | None = None  # plans how long they train
        self._lock = threading.Lock()
        self._work_left = sum(work_of(job.spec) * job.epochs for job, _ in rest)

    def tell_done(self) -> None:
        """Emit the events of nets trained earlier that listeners have not received."""
        for job, folder in self._done:
            self.counts[State.COMPLETE] += 1
            if job.number in self._told_complete or not (rows := folder.history()):
                continue
            training, end_s = Training(job, folder), folder.paths.weights.stat().st_mtime
            training.rows = rows
            self._tell_late(training, 0, end_s)
            self.context.emit(self._end(training, State.COMPLETE, "", end_s))

    def planned(self, job: Job, folder: TrialFolder) -> Job:
        if self.time is None:
            return job
        return with_end(job, self.time.begin(_key(folder)))

    def begin(self, training: Training, slot: Slot) -> None:
        if training.complaint:
            self._say(f"{training.job.name}: checkpoint not used: {training.complaint}")
        self._count(training.job, training.epoch)
        self._tell_late(training, slot.index, time.time())

    def told(self, training: Training) -> set[int]:
        return set(range(1, training.epoch + 1))

    def judge(self, training: Training, epoch: int, slot: Slot) -> TrialEnded | None:
        self._count(training.job, 1)
        training.tell_epoch(epoch, slot.index, slot.machine().pid, self.context)
        if bad := not_finite(training.rows[epoch - 1]):
            rule = f"{training.job.name}: training must stay finite"
            return self._end(training, State.FAIL, f"{rule}, got {bad} in epoch {epoch}")
        self._say(self.line(training))
        if self.time is not None:
            last = self.time.advanced(_key(training.folder), training)
            if last is not None:
                training.end_with(last)
        return None

    def complete(self, training: Training, slot: Slot) -> TrialEnded:
        """Compute the finished net's weights and statistics in the slot and save them."""
        job, folder = training.job, training.folder

        def finish() -> Any:
            arguments = (job.spec, training.state, self._statistics_batches)
            return slot.call(finished_weights, *arguments, deadline_s=self.context.epoch_s)

        weights = attempt(finish, job, job.epochs, self.context)
        about = {"spec": job.spec.digest(), "epochs": job.epochs}
        checkpoint.save_weights(folder.paths.weights, weights, about)
        folder.finish()
        return self._end(training, State.COMPLETE)

    def lost(self, training: Training, error: Paused | SlotError) -> None:
        """End a net as interrupted: the same command resumes it; a SlotError stops the run."""
        del self._current[next(k for k, held in self._current.items() if held is training)]
        if isinstance(error, SlotError):
            self.context.stop.request(str(error), FAILED)
        self.ended(training, self._end(training, State.INTERRUPTED, str(error)))

    def ended(self, training: Training, ended: TrialEnded) -> None:
        self.counts[ended.state] += 1
        self.context.emit(ended)
        if self.time is not None and ended.state == State.COMPLETE:
            self.time.ended(_key(training.folder))
        if ended.state == State.FAIL:
            self.context.stop.request(ended.reason, FAILED)

    def line(self, training: Training) -> str:
        """Return an epoch in words, with the estimated time for the remaining nets."""
        job, row = training.job, training.rows[-1]
        left_s = self._work_left / work_of(job.spec) * row["epoch_s"] / max(1, self._slots)
        left_s = left_s if self.time is None else max(0.0, self.time.left_s)
        validation = f", validation {row['valid_accuracy']:.2%}" if "valid_accuracy" in row else ""
        shown = f"loss {row['train_loss']:.4f}{validation}, {row['epoch_s']:.1f} s"
        done = f"{time.strftime('%H:%M:%S')} {job.name} epoch {training.epoch}/{job.epochs}"
        return f"{done}: {shown}; about {left_s / 60:.0f} min left"

    def _tell_late(self, training: Training, slot: int, end_s: float) -> None:
        """Emit that a net began, and the epochs not yet emitted, the last stamped `end_s`."""
        spent_s = sum(row["epoch_s"] for row in training.rows)
        training.begin(slot, self.context, end_s - spent_s)
        number = training.job.number
        told = {epoch for known, epoch in self._told if known == number}
        training.tell_past(slot, self.context, told, end_s)

    def _end(
        self, training: Training, state: State, reason: str = "", time_s: float | None = None
    ) -> TrialEnded:
        """Return how a net ended; a complete one's objective is its kept weights' accuracy on its
        fold, if it has one.
        """
        spec, rows = training.job.spec, training.rows
        judged = state == State.COMPLETE and spec.data.fold is not None
        ended = training.end(state, reason, _objective(spec, rows) if judged else ())
        seconds = sum(row["epoch_s"] for row in rows)
        return replace(ended, duration_s=seconds, time_s=ended.time_s if time_s is None else time_s)

    def _count(self, job: Job, epochs: int) -> None:
        with self._lock:
            self._work_left -= work_of(job.spec) * epochs


def _key(folder: TrialFolder) -> str:
    """Return the name of a net in a plan: its member's folder and its own."""
    place = folder.paths.folder
    return f"{place.parent.name}/{place.name}"


def with_end(job: Job, spec: Spec) -> Job:
    """Return a job whose net ends as `spec` says."""
    kept = (text for text in job.overrides if text.partition("=")[0] not in REPLANNED_KEYS)
    return replace(job, spec=spec, overrides=(*kept, *end_overrides(spec)))


def _objective(spec: Spec, rows: Sequence[Mapping[str, float]]) -> tuple[float, ...]:
    best = best_of(spec, rows) if spec.train.select == "best" else None
    return ((best or rows[-1])[metric_of(spec.measure)],)


def runs_folder(paths: StudyPaths, nets: Sequence[Net]) -> Path:
    """Return the journal's folder for a plan of nets: the same command continues the same runs,
    another plan gets its own.
    """
    digests = "".join(job.spec.digest() for job, _ in nets)
    return paths.final / "runs" / sha256_bytes(digests.encode())[:12]


def final_started(
    config: Config, nets: Sequence[Net], slots: Sequence[Slot], folder: Path
) -> StudyStarted:
    """Return the start event of a run of final training whose journal is in `folder`, stamped
    now.
    """
    name = config.study.name
    note = f"final nets of the study {name}: members x (folds + refits); {config.study.note}"
    tags = run_tags(config, nets[0][0].spec.data.digest, slots[0].machine(), "final")
    return study_started(
        config,
        {**tags, "study": name, "kind": "final"},
        study=f"{name} final",
        folder=folder,
        note=note.rstrip("; "),
        resumed=bool(journal.read_all(folder)),
        total=len(nets),
        slots=len(slots),
    )


def final_ended(
    stop: Stop, counts: Mapping[str, int], outside: float, ensemble: Ensemble | None
) -> StudyEnded:
    """Return the end event of a run of final training; `ensemble` is None where it stopped."""
    return study_ended(
        stop, trials=counts, outside_training=outside, figures=ensemble_figures(ensemble)
    )


def ensemble_figures(ensemble: Ensemble | None) -> dict[str, float]:
    """Return an ensemble's metrics for MLflow: out-of-fold scores and gains; the objective is the
    accuracy on the set it was chosen on.
    """
    found: dict[str, float] = {}
    if ensemble is None:
        return found
    for name, score in ensemble.out_of_fold.items():
        found[f"ensemble_{name}_accuracy"] = score.accuracy
        found[f"ensemble_{name}_log_loss"] = score.log_loss
        found[f"best_member_{name}_accuracy"] = score.best_member_accuracy
        found[f"gain_{name}"] = score.gain.gain
        found[f"errors_removed_{name}"] = score.gain.errors_removed
    found["objective"] = found[f"ensemble_{ensemble.chosen_on}_accuracy"]
    found["members"] = float(len(ensemble.members))
    return found


def one_line_at_a_time(say: Say) -> Say:
    """Return a thread-safe `say`: lines do not interleave."""
    lock = threading.Lock()

    def said(line: str) -> None:
        with lock:
            say(line)

    return said
