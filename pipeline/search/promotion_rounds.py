"""Deterministic mode where trials pause: a round holds promotions and new trials, as the rule
decides on the trials as they stand when the round begins, and ends when each has reached its rung.

What a round holds is written down before it begins. After an interruption the same round goes on;
the parameters of its new trials are drawn again from the same copy of the study.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.events import State, TrialEnded
from pipeline.reporting.foreign_trials import ASKED
from pipeline.search.deterministic import LockstepJobs, RoundTrial
from pipeline.search.promotion import Promotion, TrialSoFar, Turn
from pipeline.search.queue import COUNTED
from pipeline.search.rungs import RUNG, known_trials
from pipeline.search.storage import running_trial
from pipeline.search.storage_errors import storage_errors
from pipeline.search.trial import Training
from pipeline.trial_folder import TrialFolder

PLAN = "round"  # user attribute of a study: its last round


@dataclass(frozen=True)
class Stretch:
    """What a round trains of a trial: the epochs after `before`, until `until`."""

    number: int
    before: int
    until: int

    def is_over(self, trials: Sequence[FrozenTrial]) -> bool:
        """Tell whether the trial has ended or paused again."""
        if self.number >= len(trials):
            return False
        trial = trials[self.number]
        paused_before = trial.state == TrialState.PRUNED and (trial.last_step or 0) < self.until
        return trial.state.is_finished() and not paused_before


class PromotionRounds(LockstepJobs):
    """Rounds in lockstep of stretches between rungs; no promotion depends on a slot or a clock."""

    def _new_round(self) -> list[RoundTrial]:
        study = self.queue.study
        with storage_errors():
            plan = [Stretch(*stretch) for stretch in study.user_attrs.get(PLAN, [])]
            self._pause_again(plan)
            trials = study.get_trials(deepcopy=False)
            if all(stretch.is_over(trials) for stretch in plan):
                plan = self._planned(trials)
                study.set_user_attr(PLAN, [dataclasses.astuple(stretch) for stretch in plan])
        decider = self._copies.copy(as_it_began(trials, plan))
        found = []
        for stretch in plan:
            copy = None if stretch.before else self._copies.ask(decider, stretch.number)
            if copy is not None:
                self.problem.suggest(copy)
            if not stretch.is_over(trials):
                found.append(self._taken_up(stretch, copy, trials))
        return found

    def _pause_again(self, plan: Sequence[Stretch]) -> None:
        """Put back to their rungs the trials that a kill interrupted while the study's end told
        them: no round goes on with them.
        """
        trials = self.queue.study.get_trials(deepcopy=False)
        inside = {stretch.number for stretch in plan if not stretch.is_over(trials)}
        for trial in trials:
            waits = trial.state == TrialState.WAITING and trial.user_attrs.get(RUNG)
            if waits and trial.number not in inside and (trial.last_step or 0) >= waits:
                self.queue.pause_again(trial)

    def _planned(self, trials: Sequence[FrozenTrial]) -> list[Stretch]:
        rule, total = self.queue.rule, self.queue.total
        assert rule is not None
        own = [trial for trial in trials if not self.queue.is_foreign(trial)]
        table = known_trials(self.queue.study, own)
        counted, after = sum(trial.state in COUNTED for trial in own), len(trials)
        plan: list[Stretch] = []
        while len(plan) < self._copies.size:
            turn = rule.next_of(table, more=total is None or counted < total)
            if isinstance(turn, Promotion):
                known = table[turn.number]
                plan.append(Stretch(turn.number, known.epoch, turn.until))
            elif turn == Turn.START:
                known = TrialSoFar(State.RUNNING, {}, rule.first)
                plan.append(Stretch(after, 0, rule.first))
                counted, after = counted + 1, after + 1
            else:
                break
            last = plan[-1]
            table[last.number] = dataclasses.replace(known, state=State.RUNNING, until=last.until)
        return plan

    def _taken_up(
        self, stretch: Stretch, copy: optuna.Trial | None, trials: Sequence[FrozenTrial]
    ) -> RoundTrial:
        """Return a trial of the round, begun or promoted or resumed in the study on disk."""
        study, number = self.queue.study, stretch.number
        if copy is None and trials[number].state == TrialState.PRUNED:
            asked = self.queue.promote(Promotion(number, stretch.until))
        else:
            if number < len(trials):
                self.resume(trials[number], copy)
            else:
                assert copy is not None
                self.added(copy, {ASKED: True, RUNG: stretch.until})
            self.queue.enter()
            asked = running_trial(study, study.get_trials(deepcopy=False)[number])
            with storage_errors():  # a kill within a promotion has left the rung before
                asked.set_user_attr(RUNG, stretch.until)
        self._asked[number] = asked
        job = self.job_of(asked, self.problem.suggest(asked))
        folder = TrialFolder(self.paths.trial(number))
        folder.begin(job.number, job.seed, job.whole)
        training = Training(job, folder)
        training.resumed = False  # the round itself judges the known epochs
        training.until = self.queue.until(asked)
        stored = study.get_trials(deepcopy=False)[number]
        # less than before where a checkpoint was lost: what is known is trained again
        return RoundTrial(stored, training, before=min(stretch.before, training.epoch))

    def _report(self, trial: RoundTrial, epoch: int) -> None:
        value = trial.value(epoch)
        known = epoch in trial.stored.intermediate_values
        if value is not None and math.isfinite(value) and not known:
            trial.training.tell_epoch(epoch, trial.slot, trial.pid, self.context)
            self.queue.report(self._asked[trial.stored.number], epoch, value)

    def _end_or_go_on(self, trial: RoundTrial, epoch: int) -> None:
        ended = self._ending(trial, epoch)
        if ended is None:
            return
        trial.ended = ended
        if ended.state != State.PAUSED:
            job, folder = trial.training.job, trial.training.folder
            ended = folder.result(job.spec) or ended
        self.ended(trial.training, ended)

    def _ending(self, trial: RoundTrial, epoch: int) -> TrialEnded | None:
        training = trial.training
        if trial.error is not None:
            return training.failed(trial.error)
        if (diverged := training.diverged(epoch)) is not None:
            return diverged
        if epoch == training.job.epochs:
            return training.completed(self.objectives)
        return training.paused() if epoch == training.until else None


def as_it_began(trials: Sequence[FrozenTrial], plan: Sequence[Stretch]) -> list[FrozenTrial]:
    """Return the study's trials as they stood when a round began: its new ones did not exist, its
    promoted ones were paused.
    """
    before = {stretch.number: stretch.before for stretch in plan}
    return [
        _paused_at(trial, before[trial.number]) if trial.number in before else trial
        for trial in trials
        if before.get(trial.number) != 0
    ]


def _paused_at(trial: FrozenTrial, epoch: int) -> FrozenTrial:
    values = {step: value for step, value in trial.intermediate_values.items() if step <= epoch}
    return create_trial(
        state=TrialState.PRUNED,
        value=values[epoch],
        params=trial.params,
        distributions=trial.distributions,
        intermediate_values=values,
        user_attrs=trial.user_attrs,
        system_attrs=trial.system_attrs,
    )
