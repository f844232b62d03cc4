"""The trials of a search as jobs: asked of the study, reported after each epoch, pruned or told."""

import time
from collections.abc import Sequence
from dataclasses import replace

import optuna

from cnn_core.errors import InputError
from cnn_core.measures import metric_of
from pipeline.events import State, TrialEnded
from pipeline.files import StudyPaths
from pipeline.search.prior import PRIOR
from pipeline.search.problem import Job, Problem
from pipeline.search.queue import REPLANNED, TrialQueue
from pipeline.search.rungs import REASON
from pipeline.search.runner import InOrder
from pipeline.search.search_time import SearchTime
from pipeline.search.storage import AnyTrial, labels_of
from pipeline.search.trial import Context, Training
from pipeline.slots.slot import Slot
from pipeline.trial_folder import TrialFolder, weights_wanted


class SearchJobs(InOrder):
    """What a sweep trains: the study says which trial is next and which is pruned."""

    def __init__(
        self,
        context: Context,
        problem: Problem,
        queue: TrialQueue,
        paths: StudyPaths,
        search_time: SearchTime | None = None,
    ) -> None:
        super().__init__(context, problem.objectives)
        self.problem, self.queue, self.paths = problem, queue, paths
        self._search_time = search_time
        self._asked: dict[int, optuna.Trial] = {}

    def next_training(self, slot: Slot) -> Training | None:
        while (asked := self.queue.ask(self.problem.suggest)) is not None:
            if (training := self.open(*asked)) is not None:
                training.begin(slot.index, self.context)
                return training
        return None

    def open(self, trial: optuna.Trial, overrides: Sequence[str]) -> Training | None:
        """Return a trial's training; None if its end is told at once, because it cannot be composed
        or a killed run stored its end without telling it.
        """
        folder = TrialFolder(self.paths.trial(trial.number))
        self._asked[trial.number] = trial
        try:
            job = self.job_of(trial, overrides)
        except InputError as error:
            self._tell(_not_composed(trial.number, str(error), folder))
            return None
        folder.begin(job.number, job.seed, job.whole)
        if (known := folder.result(job.spec)) is None:
            training = Training(job, folder)
            training.until = self.queue.until(trial)
            return training
        self.finish(job, folder, known)
        return None

    def job_of(self, trial: AnyTrial, overrides: Sequence[str]) -> Job:
        """Return a stored trial's job, with what the study knows of it: its end, where time has
        moved it, and the trial of another study that it comes from. Raises InputError.
        """
        known = labels_of(self.queue.study, trial)
        job = self.problem.job(trial.number, [*overrides, *known.get(REPLANNED, ())])
        return replace(job, prior=known.get(PRIOR, ""))

    def told(self, training: Training) -> set[int]:
        return self.queue.reported(self._asked[training.job.number])

    def judge(self, training: Training, epoch: int, slot: Slot) -> TrialEnded | None:
        training.tell_epoch(epoch, slot.index, slot.machine().pid, self.context)
        if (diverged := training.diverged(epoch)) is not None:
            return diverged
        trial, row = self._asked[training.job.number], training.rows[epoch - 1]
        value = row[metric_of(training.job.spec.measure)]
        pruned, last = self.queue.report(trial, epoch, value), training.job.epochs
        if pruned and epoch < last:
            return training.end(State.PRUNED, f"after epoch {epoch} of {last}")
        if self._search_time is not None and epoch == training.epoch < last:
            self._plan_time(training, trial, self._search_time)
        return None

    def _plan_time(self, training: Training, trial: optuna.Trial, search_time: SearchTime) -> None:
        """Move a training's end where it would be the first to be complete, but too late."""
        search_time.observe(training, self.queue.counted)
        if self.queue.best_number is not None:
            return
        in_flight = list(self._current.values())
        if (last := search_time.sooner(training, in_flight)) is not None:
            self.queue.note(trial, REPLANNED, list(training.end_with(last)))
            training.until = None  # it is to be the complete one: no rung stops it

    def ended(self, training: Training, ended: TrialEnded) -> None:
        if ended.state in (State.INTERRUPTED, State.PAUSED):
            self._tell(ended)
        else:
            self.finish(training.job, training.folder, ended)

    def finish(self, job: Job, folder: TrialFolder, ended: TrialEnded) -> None:
        """Store a trial's weights, if wanted, and its result, and tell how it ended."""
        keep = self.problem.config.tracking.keep_weights
        if weights_wanted(keep, ended, self.queue.is_best(job.number, ended)):
            folder.keep_weights(job.spec, ended, job.overrides)
        folder.write_result(ended, job.spec)
        beaten = self._tell(ended)
        folder.finish()
        if keep == "best":  # two trials may end at once, each better than all before
            if beaten is not None:
                TrialFolder(self.paths.trial(beaten)).drop_weights()
            if self.queue.best_number != job.number:
                folder.drop_weights()

    def tell_paused(self) -> None:
        """Tell that the trials still paused are pruned: the study has ended, and only a larger
        budget.trials promotes them. Their checkpoints stay for it.
        """
        for stored in self.queue.paused():
            folder = TrialFolder(self.paths.trial(stored.number))
            rows = folder.history()
            self.context.emit(
                TrialEnded(
                    number=stored.number,
                    state=State.PRUNED,
                    reason=stored.user_attrs.get(REASON, ""),
                    objective=(),
                    epochs=len(rows),
                    duration_s=sum(row["epoch_s"] for row in rows),
                    folder=folder.paths.folder,
                    time_s=time.time(),
                )
            )
            self.queue.tell_pruned(stored)

    def _tell(self, ended: TrialEnded) -> int | None:
        """Tell how a trial ended: listeners first, then the study, so that they know all that it
        knows.
        """
        self.context.emit(ended)
        beaten = self.queue.tell(self._asked.pop(ended.number), ended)
        self.weigh()
        return beaten

    def weigh(self) -> None:
        """End the study early if what it has says so."""
        self.queue.end_early()


def _not_composed(number: int, reason: str, folder: TrialFolder) -> TrialEnded:
    return TrialEnded(
        number=number,
        state=State.FAIL,
        reason=reason,
        objective=(),
        epochs=0,
        duration_s=0.0,
        folder=folder.paths.folder,
        time_s=time.time(),
    )
