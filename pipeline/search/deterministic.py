"""Deterministic mode: rounds of trials in lockstep. The study is bit-identical with 1, 2 or 4
slots, and after an interruption.

All live trials of a round finish epoch e; then, in order of their numbers, they are reported, and
after that pruned or told. A copy of the study, rebuilt for each round from the trials before it,
decides; the study on disk records. After an interruption the round is replayed on such a copy with
the epochs already known, and reaches the same decisions.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from cnn_core.measures import ranked_by
from pipeline.events import State, TrialEnded
from pipeline.files import StudyPaths
from pipeline.reporting.foreign_trials import ROUND
from pipeline.search.problem import Problem
from pipeline.search.queue import TrialQueue
from pipeline.search.search_jobs import SearchJobs
from pipeline.search.storage import labels_of, note, notes_of, running_trial, set_state
from pipeline.search.storage_errors import storage_errors
from pipeline.search.study_copies import StudyCopies
from pipeline.search.trial import Context, Training
from pipeline.slots.retry import Paused
from pipeline.slots.slot import Slot, SlotError
from pipeline.trial_folder import TrialFolder


@dataclass
class RoundTrial:
    """A trial of a round."""

    stored: FrozenTrial  # as the study held it when the round began or was resumed
    training: Training
    before: int = 0  # its epochs of earlier rounds
    begun: bool = False  # in this run
    slot: int = 0  # the one that trained its last epoch
    pid: int = 0
    error: SlotError | None = None
    ended: TrialEnded | None = None

    @property
    def was_told(self) -> bool:
        return self.stored.state.is_finished()

    def value(self, epoch: int) -> float | None:
        """Return the value after an epoch; None if the trial did not get that far."""
        if self.was_told:
            return self.stored.intermediate_values.get(epoch)
        rows = self.training.rows
        return ranked_by(rows[epoch - 1]) if epoch <= len(rows) else None

    def is_behind(self, step: int) -> bool:
        """Tell whether the trial has yet to train the round's epoch."""
        epoch = self.before + step
        known = self.was_told or epoch <= self.training.epoch
        return self.ended is None and self.error is None and not known


class LockstepJobs(SearchJobs):
    """Rounds of trials in lockstep; no trial's parameters or end depend on a slot or a clock."""

    def __init__(
        self,
        context: Context,
        problem: Problem,
        queue: TrialQueue,
        paths: StudyPaths,
        copies: StudyCopies,
    ) -> None:
        super().__init__(context, problem, queue, paths)
        self._copies = copies
        self._round: list[RoundTrial] = []
        self._decided: dict[int, optuna.Trial] = {}  # in the study's copy, which decides
        self._epoch = 0  # the round's current epoch
        self._waiting: list[RoundTrial] = []  # for a slot to train their epoch
        self._in_slots = 0
        self._changed = threading.Condition()
        context.stop.on_request.append(self._wake)

    def take(self, slot: Slot) -> Training | None:
        """Return a trial of the round that has yet to train the current epoch. The slot that finds
        none left, neither waiting nor in training, judges the epoch and begins the next.
        """
        with self._changed:
            while self.context.stop.requested or not self._waiting:
                if self._in_slots:
                    self._changed.wait()
                elif not self._next_epoch():
                    self._changed.notify_all()
                    return None
            trial = self._waiting.pop(0)
            if not trial.begun:
                trial.begun = True
                trial.training.begin(slot.index, self.context)
            self._in_slots += 1
            return trial.training

    def advanced(self, training: Training, slot: Slot) -> None:
        with self._changed:
            trial = self._trial_of(training)
            trial.slot, trial.pid = slot.index, slot.machine().pid
            self._arrived()

    def lost(self, training: Training, error: Paused | SlotError) -> None:
        with self._changed:
            if isinstance(error, SlotError):
                self._trial_of(training).error = error
            self._arrived()

    def _arrived(self) -> None:
        self._in_slots -= 1
        self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _trial_of(self, training: Training) -> RoundTrial:
        return next(trial for trial in self._round if trial.training is training)

    def _next_epoch(self) -> bool:
        """Judge the epoch that all live trials have reached, then begin the next epoch or round;
        return False if there is none or the sweep stops.
        """
        live = self._live()
        if live and not any(trial.is_behind(self._epoch) for trial in live):
            self._judge_all(live)
            live = self._live()
        if self.context.stop.requested:
            for trial in live:
                if not trial.was_told:
                    reason = self.context.stop.reason
                    self.ended(trial.training, trial.training.end(State.INTERRUPTED, reason))
            self._round = []
            return False
        if live:
            self._epoch += 1
        elif self._goes_on():
            self._decided.clear()  # each holds a whole copy of the study
            self._round, self._epoch = self._new_round(), 1
        if not self._live():
            return False
        self._waiting = [trial for trial in self._round if trial.is_behind(self._epoch)]
        return True

    def weigh(self) -> None:
        """Do nothing within a round: a study ends between two of them."""

    def _goes_on(self) -> bool:
        self.queue.end_early(at_rest=True)
        return not self.queue.finished

    def _live(self) -> list[RoundTrial]:
        return [trial for trial in self._round if trial.ended is None]

    def _judge_all(self, live: Sequence[RoundTrial]) -> None:
        for trial in live:
            self._report(trial, trial.before + self._epoch)
        for trial in live:
            self._end_or_go_on(trial, trial.before + self._epoch)

    def _new_round(self) -> list[RoundTrial]:
        """Ask for a new round, or resume the one that was interrupted."""
        with storage_errors():
            trials = self.queue.study.get_trials(deepcopy=False)
        open_rounds = (
            t.user_attrs[ROUND]
            for t in trials
            if not t.state.is_finished() and ROUND in t.user_attrs
        )
        first = next(open_rounds, len(trials))
        before, begun = trials[:first], trials[first:]
        counted = sum(map(self.queue.counts_for_the_budget, before))
        total = self.queue.total
        size = self._copies.size if total is None else min(self._copies.size, total - counted)
        decider = self._copies.copy(before)
        found = []
        for number in range(first, first + max(size, len(begun))):
            copy = self._copies.ask(decider, number)
            overrides = self.problem.suggest(copy)
            stored = begun[number - first] if number - first < len(begun) else None
            found.append(self._round_trial(copy, overrides, stored, first))
        return found

    def _round_trial(
        self, copy: optuna.Trial, overrides: list[str], stored: FrozenTrial | None, first: int
    ) -> RoundTrial:
        stored = self._recorded(copy, stored, first)
        if not stored.state.is_finished():
            self.queue.enter()
        self._decided[copy.number] = copy
        self._asked[copy.number] = running_trial(self.queue.study, stored)
        folder = TrialFolder(self.paths.trial(copy.number))
        job = self.job_of(stored, overrides)
        trial = RoundTrial(stored, Training(job, folder))
        trial.training.resumed = False  # the round itself judges the known epochs
        if not trial.was_told:
            folder.begin(job.number, job.seed, job.whole)
        return trial

    def _recorded(self, copy: optuna.Trial, stored: FrozenTrial | None, first: int) -> FrozenTrial:
        """Return the trial as the study on disk holds it, adding it there if it is new."""
        if stored is None:
            return self.added(copy, {ROUND: first})
        self.resume(stored, copy)
        return stored

    def added(self, copy: optuna.Trial, marks: Mapping[str, Any]) -> FrozenTrial:
        """Add a trial that a copy of the study has asked for to the study on disk, with the user
        attributes `marks`.
        """
        running = create_trial(
            state=TrialState.RUNNING,
            params=copy.params,
            distributions=copy.distributions,
            user_attrs={**marks, **labels_of(copy.study, copy)},
            system_attrs=notes_of(copy.study, copy),
        )
        with storage_errors():
            self.queue.study.add_trial(running)
            return self.queue.study.get_trials(deepcopy=False)[copy.number]

    def resume(self, stored: FrozenTrial, copy: optuna.Trial | None) -> None:
        """Let a trial of an interrupted round run again. Raises RuntimeError where the `copy` of
        the study, which is asked again for a trial that is new in the round, draws another one.
        """
        if copy is not None and stored.params != copy.params:
            must = f"trial {copy.number} must be {stored.params} again"
            raise RuntimeError(f"deterministic mode: {must}, got {copy.params}")
        if stored.state == TrialState.WAITING:
            with storage_errors():
                set_state(self.queue.study, stored, TrialState.RUNNING)

    def _report(self, trial: RoundTrial, epoch: int) -> None:
        value = trial.value(epoch)
        if value is None or not math.isfinite(value):
            return
        if self.queue.single:
            self._decided[trial.stored.number].report(value, epoch)
        if not trial.was_told and epoch not in trial.stored.intermediate_values:
            trial.training.tell_epoch(epoch, trial.slot, trial.pid, self.context)
            self.queue.report(self._asked[trial.stored.number], epoch, value)

    def _end_or_go_on(self, trial: RoundTrial, epoch: int) -> None:
        """Decide whether a trial ends here; if so, tell the copy, and the study unless it knows."""
        ended = self._ending(trial, epoch)
        if ended is None:
            return
        copy, study = self._decided[trial.stored.number], self.queue.study
        trial.ended, decider = ended, copy.study
        decider.tell(copy, list(ended.objective) or None, TrialState[ended.state])
        if trial.was_told:
            return
        # Copies of later rounds need what samplers and pruners noted on this one.
        with storage_errors():
            for key, value in notes_of(decider, copy).items():
                note(study, trial.stored, key, value)
        job, folder = trial.training.job, trial.training.folder
        self.finish(job, folder, folder.result(job.spec) or ended)

    def _ending(self, trial: RoundTrial, epoch: int) -> TrialEnded | None:
        training = trial.training
        if trial.was_told:
            return self._told_ending(trial, epoch)
        if trial.error is not None:
            return training.failed(trial.error)
        if (diverged := training.diverged(epoch)) is not None:
            return diverged
        if epoch == training.job.epochs:
            return training.completed(self.objectives)
        if self._prune(trial):
            return training.end(State.PRUNED, f"after epoch {epoch} of {training.job.epochs}")
        return None

    def _told_ending(self, trial: RoundTrial, epoch: int) -> TrialEnded | None:
        """Replay an ended trial: the copy's pruner is asked as it was the first time, because it
        notes what it saw for later trials.
        """
        stored, last = trial.stored, trial.stored.last_step or 0
        complete = stored.state == TrialState.COMPLETE
        if not complete or epoch < last:
            self._prune(trial)
        if epoch < last:
            return None
        objective = tuple(stored.values) if complete else ()
        return trial.training.end(State(stored.state.name), objective=objective)

    def _prune(self, trial: RoundTrial) -> bool:
        return self.queue.single and self._decided[trial.stored.number].should_prune()
