"""Deterministic mode: rounds of trials in lockstep. 1, 2 and 4 slots, or a run that was
interrupted, give the same study to the bit.

All live trials of a round finish epoch e; then, in the order of their numbers, they are reported,
and after that pruned or told. A copy of the study (`shadow`), made anew for each round from the
trials before it, decides; the study on disk records. After an interruption the round is played
again on such a copy with the epochs that are known already, and comes to the same decisions.
"""

import math
import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Thread

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.configuration.overrides import Value
from pipeline.files import StudyPaths
from pipeline.search.budget import StudyClock
from pipeline.search.coordinator import Coordinator, Usage
from pipeline.search.fork import FORKED_FROM
from pipeline.search.queue import storage_errors
from pipeline.search.trial import Paused, Room, Training, epoch_done, not_finite
from pipeline.search.trial_folder import Outcome
from pipeline.slots.slot import Slot, SlotError


class Shadow:
    """Makes a copy of a study as it stood when a round began."""

    def __init__(
        self,
        directions: Sequence[str],
        name: str,
        sampler: BaseSampler,
        pruner: BasePruner,
        first: Sequence[dict[str, Value]],
    ) -> None:
        self._directions = [
            optuna.study.StudyDirection[direction.upper()] for direction in directions
        ]
        self._name = name  # Hyperband draws a trial's bracket from it
        self._sampler = sampler
        self._pruner = pruner
        self._first = list(first)  # parameters of the trials that are enqueued

    def copy(self, finished: Sequence[FrozenTrial]) -> optuna.Study:
        """Return a study in memory that holds these trials under their numbers; they are the
        study's first ones, all ended.
        """
        study = optuna.create_study(
            directions=self._directions,
            study_name=self._name,
            sampler=self._sampler,
            pruner=self._pruner,
        )
        study.add_trials(finished)
        return study

    def ask(self, study: optuna.Study, number: int) -> optuna.Trial:
        """Ask the copy for the trial of this number: after those taken over from another study come
        the enqueued ones not among them.
        """
        taken = [
            trial.params
            for trial in study.get_trials(deepcopy=False)
            if FORKED_FROM in trial.user_attrs
        ]
        first = [
            params
            for params in self._first
            if not any(params.items() <= known.items() for known in taken)
        ]
        if number - len(taken) < len(first):
            study.enqueue_trial(first[number - len(taken)])
        trial = study.ask()
        if trial.number != number:
            raise RuntimeError(
                f"deterministic mode: trial {number} was to be asked, got {trial.number}"
            )
        return trial


ROUND = "round"  # user attribute of a trial: the number of its round's first


@dataclass
class RoundTrial:
    """A trial of a round."""

    shadow: optuna.Trial  # decides
    trial: optuna.Trial  # records
    stored: FrozenTrial  # as the study held it when the round was begun or taken up again
    training: Training
    slot: int = 0
    pid: int = 0
    error: SlotError | None = None
    outcome: Outcome | None = None

    @property
    def was_told(self) -> bool:
        return self.stored.state.is_finished()

    def value(self, epoch: int) -> float | None:
        """Return the value after an epoch; None when the trial did not get so far."""
        if self.was_told:
            return self.stored.intermediate_values.get(epoch)
        return (
            self.training.rows[epoch - 1]["valid_accuracy"]
            if epoch <= len(self.training.rows)
            else None
        )


class Rounds(Coordinator):
    """A coordinator that asks for rounds of `size` trials; what a trial gets depends on no slot and
    no clock.
    """

    def __init__(
        self,
        room: Room,
        slots: Sequence[Slot],
        paths: StudyPaths,
        clock: StudyClock,
        usage: Usage,
        *,
        size: int,
        shadow: Shadow,
    ) -> None:
        super().__init__(room, slots, paths, clock, usage)
        self._size = size
        self._shadow = shadow
        self._idle: queue.SimpleQueue[Slot] = queue.SimpleQueue()
        for slot in slots:
            self._idle.put(slot)

    def threads(self) -> list[Thread]:
        """Return the one thread that leads the rounds."""
        return [Thread(target=self._lead, name="rounds", daemon=True)]

    def _lead(self) -> None:
        with self.guarded(), ThreadPoolExecutor(len(self.slots), thread_name_prefix="slot") as pool:
            self.slots[0].machine()
            self.usage.begin()
            while not self.room.stop.requested and self.room.ledger.left:
                self._round(pool)
            self.usage.end()

    def _round(self, pool: ThreadPoolExecutor) -> None:
        members = self._members()
        decider = members[0].shadow.study
        for epoch in range(1, max(member.training.work.epochs for member in members) + 1):
            live = [member for member in members if member.outcome is None]
            list(pool.map(lambda member: self._train(member, epoch), live))  # noqa: B023 - used up at once
            if any(
                member.value(epoch) is None and member.error is None and not member.was_told
                for member in live
            ):  # the sweep stops
                for member in live:
                    self._pause(member)
                return
            for member in live:
                self._report(member, epoch)
            for member in live:
                self._judge(member, epoch, decider)

    def _members(self) -> list[RoundTrial]:
        """Ask for a round, or take up the one that an interruption broke off."""
        ledger, study = self.room.ledger, self.room.ledger.study
        with storage_errors():
            trials = study.get_trials(deepcopy=False)
        first = next(
            (t.user_attrs[ROUND] for t in trials if not t.state.is_finished()), len(trials)
        )
        before, begun = trials[:first], trials[first:]
        counted = sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in before)
        size = self._size if ledger.total is None else min(self._size, ledger.total - counted)
        decider = self._shadow.copy(before)
        members = []
        for number in range(first, first + max(size, len(begun))):
            shadow = self._shadow.ask(decider, number)
            overrides = self.room.problem.suggest(shadow)
            stored = begun[number - first] if number - first < len(begun) else None
            members.append(self._member(shadow, overrides, stored, first))
        return members

    def _member(
        self, shadow: optuna.Trial, overrides: list[str], stored: FrozenTrial | None, first: int
    ) -> RoundTrial:
        study, problem = self.room.ledger.study, self.room.problem
        params, distributions = shadow.params, shadow.distributions
        with storage_errors():
            if stored is None:
                running = create_trial(
                    state=TrialState.RUNNING,
                    params=params,
                    distributions=distributions,
                    user_attrs={ROUND: first},
                )
                study.add_trial(running)
                stored = study.get_trials(deepcopy=False)[shadow.number]
            elif stored.params != params:
                raise RuntimeError(
                    f"deterministic mode: trial {shadow.number} must be {stored.params} again, got "
                    f"{params}"
                )
            elif stored.state == TrialState.WAITING:
                study._storage.set_trial_state_values(stored._trial_id, TrialState.RUNNING)
            trial = optuna.Trial(study, stored._trial_id)
        if not stored.state.is_finished():
            self.room.ledger.enter()
        record = self.record(shadow.number)
        work = problem.work(shadow.number, overrides)
        member = RoundTrial(shadow, trial, stored, Training(work, record))
        if not member.was_told:
            record.begin(shadow.number, work.seed, [*problem.base, *overrides])
            member.training.begin(shadow.number % len(self.slots), self.room)
        return member

    def _train(self, member: RoundTrial, epoch: int) -> None:
        """Have an epoch trained by whichever slot is idle, unless it is known."""
        if member.was_told or epoch <= len(member.training.rows):
            return
        slot = self._idle.get()
        try:
            member.training.advance(slot, self.room)
            member.slot, member.pid = slot.index, slot.machine().pid
        except Paused:
            pass
        except SlotError as error:
            member.error = error
        finally:
            self._idle.put(slot)

    def _report(self, member: RoundTrial, epoch: int) -> None:
        value = member.value(epoch)
        if value is None or not math.isfinite(value):
            return
        if self.room.ledger.single:
            member.shadow.report(value, epoch)
        if not member.was_told and epoch not in member.stored.intermediate_values:
            row = member.training.rows[epoch - 1]
            self.room.emit(epoch_done(member.training.work, epoch, row, member.slot, member.pid))
            self.room.ledger.report(member.trial, epoch, value)

    def _judge(self, member: RoundTrial, epoch: int, decider: optuna.Study) -> None:
        """Decide whether a trial ends here, tell the copy, and tell the study unless it knows."""
        outcome = self._ending(member, epoch)
        if outcome is None:
            return
        member.outcome = outcome
        decider.tell(member.shadow, list(outcome.values) or None, TrialState[outcome.state])
        if not member.was_told:
            # what samplers and pruners noted on the copy is needed by the copies of later rounds
            with storage_errors():
                for key, note in decider._storage.get_trial_system_attrs(
                    member.shadow._trial_id
                ).items():
                    self.room.ledger.study._storage.set_trial_system_attr(
                        member.stored._trial_id, key, note
                    )
            known = member.training.record.result(member.training.work.spec)
            self.finish(
                member.trial, member.training.work, known or outcome, member.training.record
            )

    def _ending(self, member: RoundTrial, epoch: int) -> Outcome | None:
        training = member.training
        if member.was_told:
            return self._told_ending(member, epoch)
        if member.error is not None:
            return training.failed(member.error)
        if bad := not_finite(training.rows[epoch - 1]):
            return training.end("FAIL", f"diverged: {bad} in epoch {epoch}")
        if epoch == training.work.epochs:
            return training.completed(self.room.problem)
        if self._prune(member):
            return training.end("PRUNED", f"after epoch {epoch} of {training.work.epochs}")
        return None

    def _told_ending(self, member: RoundTrial, epoch: int) -> Outcome | None:
        """Play an ended trial again: the copy's pruner is asked as it was then, since it notes what
        it saw for those that follow.
        """
        stored = member.stored
        if stored.state != TrialState.COMPLETE or epoch < (stored.last_step or 0):
            self._prune(member)
        if epoch < (stored.last_step or 0):
            return None
        return Outcome(
            state=stored.state.name,
            values=tuple(stored.values) if stored.state == TrialState.COMPLETE else (),
        )

    def _prune(self, member: RoundTrial) -> bool:
        return self.room.ledger.single and member.shadow.should_prune()

    def _pause(self, member: RoundTrial) -> None:
        if not member.was_told:
            outcome = member.training.end("INTERRUPTED", self.room.stop.reason)
            self.finish(member.trial, member.training.work, outcome, member.training.record)
