"""The study of deterministic mode as it stood when a round began, in memory: what is asked of it
depends on the trials before the round alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from pipeline.configuration.overrides import Value
from pipeline.reporting.foreign_trials import FORKED_FROM


@dataclass(frozen=True)
class StudyCopies:
    """Makes copies of a study as it stood when a round began."""

    directions: Sequence[str]
    name: str  # Hyperband draws a trial's bracket from it
    sampler: BaseSampler
    pruner: BasePruner
    first: Sequence[dict[str, Value]]  # parameters of the enqueued trials
    size: int  # trials in a round

    def copy(self, finished: Sequence[FrozenTrial]) -> optuna.Study:
        """Return an in-memory study that holds these trials under their numbers; they are the
        study's first ones, all ended.
        """
        study = optuna.create_study(
            directions=[StudyDirection[name.upper()] for name in self.directions],
            study_name=self.name,
            sampler=self.sampler,
            pruner=self.pruner,
        )
        study.add_trials(finished)
        return study

    def ask(self, study: optuna.Study, number: int) -> optuna.Trial:
        """Ask the copy for the trial with this number. Trials taken over from another study come
        first, then the enqueued ones not among them.
        """
        taken = [
            trial.params
            for trial in study.get_trials(deepcopy=False)
            if FORKED_FROM in trial.user_attrs
        ]
        first = [
            params
            for params in self.first
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
