"""Suggestions from what earlier studies know: a sampler in front of the study's own."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.search.prior import PRIOR, Prior
from pipeline.search.space import Space
from pipeline.search.storage import all_trials, label
from pipeline.search.translation import key_of

INFORMED = "informed"  # what a trial is labelled with whose values the prior's trials suggested
_STREAM = 15


class PriorSampler(BaseSampler):
    """Labels the trials that a prior suggests and, up to its number of trials, suggests the values
    on whose distributions the studies agree, by a TPE over the prior's trials alone; all else is
    the study's own sampler's, after `startup` random trials of its own: what a prior knows is one
    region of the space, and a bad prior must cost no more than the trials that it suggests. A pure
    function of study, seed and number, as the study's sampler is.
    """

    def __init__(
        self, own: BaseSampler, prior: Prior, space: Space, seed: int, startup: int
    ) -> None:
        self._own, self._prior, self._seed, self._startup = own, prior, seed, startup
        self._first = {key_of(params): source for params, source in prior.first}
        self._known = _study_of(prior, space)
        # who suggests what is asked for, where it is not the own one, and the study it learns from
        self._instead: dict[int, tuple[BaseSampler, Study]] = {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._instead.clear()
        self._own.before_trial(study, trial)
        source = self._source(study, trial)
        if source and PRIOR not in trial.user_attrs:
            label(study, trial, PRIOR, source)
        (seed,) = np.random.SeedSequence([self._seed, trial.number, _STREAM]).generate_state(1)
        if source == INFORMED:
            informed = TPESampler(
                n_startup_trials=0,
                multivariate=True,
                group=True,
                constant_liar=False,  # it would note the trial in the study of the evidence
                seed=int(seed),
            )
            self._instead[trial.number] = informed, self._known
        elif not source and self._begins(study, trial):
            self._instead[trial.number] = RandomSampler(int(seed)), study

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        sampler, known = self._asked(study, trial)
        return sampler.infer_relative_search_space(known, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        sampler, known = self._asked(study, trial)
        return sampler.sample_relative(known, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        sampler, known = self._asked(study, trial)
        if known is not study:  # what the prior does not know
            sampler = self._own
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _asked(self, study: Study, trial: FrozenTrial) -> tuple[BaseSampler, Study]:
        """Return the sampler that suggests a trial's values, and the study that it learns from."""
        return self._instead.get(trial.number, (self._own, study))

    def _begins(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether a trial is one of the first that are the study's own."""
        if "fixed_params" in trial.system_attrs:
            return False
        earlier = all_trials(study)[: trial.number]
        return sum(PRIOR not in other.user_attrs for other in earlier) < self._startup

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._own.after_trial(study, trial, state, values)

    def _source(self, study: Study, trial: FrozenTrial) -> str:
        """Return where the trial's values come from, "" if not from the prior."""
        if PRIOR in trial.user_attrs:
            return str(trial.user_attrs[PRIOR])
        if (fixed := trial.system_attrs.get("fixed_params")) is not None:
            return self._first.get(key_of(fixed), "")
        earlier = all_trials(study)[: trial.number]
        suggested = sum(PRIOR in other.user_attrs for other in earlier)
        return INFORMED if self._prior.evidence and suggested < self._prior.most else ""


def _study_of(prior: Prior, space: Space) -> Study:
    """Return the prior's evidence as a study in memory."""
    study = optuna.create_study(direction="maximize")
    distributions = space.distributions()
    study.add_trials(
        create_trial(
            value=value,
            params=params,
            distributions={name: distributions[name] for name in params},
        )
        for params, value in prior.evidence
    )
    return study
