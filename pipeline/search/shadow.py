"""The copy of a study that decides in deterministic mode: what is asked and pruned, from the trials of the rounds before alone."""

from collections.abc import Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from pipeline.configuration.overrides import Value
from pipeline.search.fork import FORKED_FROM


class Shadow:
    """Makes a copy of a study as it stood when a round began."""

    def __init__(
        self, directions: Sequence[str], name: str, sampler: BaseSampler, pruner: BasePruner, first: Sequence[dict[str, Value]]
    ) -> None:
        self._directions = [optuna.study.StudyDirection[direction.upper()] for direction in directions]
        self._name = name  # Hyperband draws a trial's bracket from it
        self._sampler = sampler
        self._pruner = pruner
        self._first = list(first)  # parameters of the trials that are enqueued

    def copy(self, finished: Sequence[FrozenTrial]) -> optuna.Study:
        """Return a study in memory that holds these trials under their numbers; they are the study's first ones, all ended."""
        study = optuna.create_study(directions=self._directions, study_name=self._name, sampler=self._sampler, pruner=self._pruner)
        study.add_trials(finished)
        return study

    def ask(self, study: optuna.Study, number: int) -> optuna.Trial:
        """Ask the copy for the trial of this number: after those taken over from another study come the enqueued ones not among them."""
        taken = [trial.params for trial in study.get_trials(deepcopy=False) if FORKED_FROM in trial.user_attrs]
        first = [params for params in self._first if not any(params.items() <= known.items() for known in taken)]
        if number - len(taken) < len(first):
            study.enqueue_trial(first[number - len(taken)])
        trial = study.ask()
        if trial.number != number:
            raise RuntimeError(f"deterministic mode: trial {number} was to be asked, got {trial.number}")
        return trial
