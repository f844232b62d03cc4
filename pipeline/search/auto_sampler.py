"""``sampler=auto``: chosen by the space and the objectives, as Optuna's AutoSampler does.

A Gaussian process for the first 250 complete trials; after them TPE where a parameter is a choice,
else CMA-ES, which begins where those were good. With two objectives TPE takes the process's place,
and NSGA-II comes after it unless there are conditions. Optuna's rules (OptunaHub, package
samplers/auto_sampler) have TPE from the start where a parameter is a choice; the process here knows
choices and conditions, and finds better ones on the public tables (docs/SEARCH.md).
"""

import importlib.util
from dataclasses import dataclass

from optuna.samplers import BaseSampler, CmaEsSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pipeline.configuration import sampler_settings
from pipeline.search.samplers import NEEDS, SAMPLERS, PerTrialSampler
from pipeline.search.space import Space
from pipeline.search.storage import GENERATION, all_trials, note

LEARNT = 250  # complete trials after which the second sampler takes over
LEAST_KNOWN = 10  # trials that CMA-ES can begin from: it takes the best tenth of them
CHOICE = "auto_sampler"  # user attribute of a study: the names of both


@dataclass(frozen=True)
class SamplerChoice:
    """The sampler of the first LEARNT complete trials, the one after them, and why."""

    first: str
    then: str
    reason: str

    def line(self, trials: int | None) -> str:
        """Return the choice as a line for the user."""
        later = self.then != self.first and (trials is None or trials > LEARNT)
        words = f"{self.first}, after {LEARNT} complete trials {self.then}" if later else self.first
        wanted = "" if trials is None else f"{trials} trials, "
        return f"sampler auto: {words} ({wanted}{self.reason})"


def choose_samplers(space: Space, objectives: int) -> SamplerChoice:
    """Return the samplers for a space and a number of objectives."""
    count = len(space.parameters)
    words = sum(parameter.kind in ("choice", "group") for parameter in space.parameters)
    reason = f"{words} of {count} parameters are choices" if words else f"{count} numbers"
    if objectives > 1:
        conditions = any(parameter.when for parameter in space.parameters)
        reason += ", two objectives" + (", conditions" if conditions else "")
        return SamplerChoice("tpe", "tpe" if conditions else "nsga2", reason)
    if words:
        return SamplerChoice("gp", "tpe", reason)
    if lacking := _lacking("cmaes"):
        return SamplerChoice("gp", "gp", f"{reason}; cmaes would need {lacking}")
    return SamplerChoice("gp", "cmaes", reason)


def _lacking(name: str) -> str:
    """Return the library that a sampler needs and that is not installed, else ""."""
    library, _ = NEEDS[name]
    return "" if importlib.util.find_spec(library) else library


def chosen_before(study: Study) -> SamplerChoice | None:
    """Return what an earlier run of the study has chosen, None if nothing: a library installed in
    the meantime changes nothing.
    """
    stored = study.user_attrs.get(CHOICE)
    return None if stored is None else SamplerChoice(*stored)


class AutoSampler(PerTrialSampler):
    """Delegates to the first sampler of a choice and, when the study has learnt enough, to the
    second; which of them is a pure function of the study's trials.
    """

    def __init__(self, choice: SamplerChoice, startup_trials: int, seed: int, space: Space) -> None:
        self._choice, self._space = choice, space
        self._first, self._then = (
            SAMPLERS[name](_settings(name, startup_trials), space)
            for name in (choice.first, choice.then)
        )
        super().__init__(self._first, seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        super().before_trial(study, trial)
        if self._choice.then == "nsga2" and len(_complete(study)) < LEARNT:
            note(study, trial, GENERATION, 0)  # its first parents

    def _made(self, study: Study, seed: int) -> BaseSampler:
        complete = _complete(study)
        if len(complete) < LEARNT:
            return self._first(seed)
        if self._choice.then != "cmaes":
            return self._then(seed)
        distributions = self._space.distributions()
        known = [trial for trial in complete[:LEARNT] if trial.distributions == distributions]
        if len(known) < LEAST_KNOWN:  # most were added by another program, with other parameters
            known = []
        return CmaEsSampler(source_trials=known or None, warn_independent_sampling=False, seed=seed)


def _settings(name: str, startup_trials: int) -> sampler_settings.SamplerSettings:
    settings = sampler_settings.SAMPLERS[name](name=name)
    if hasattr(settings, "startup_trials"):
        settings.startup_trials = startup_trials
    return settings


def _complete(study: Study) -> list[FrozenTrial]:
    return [trial for trial in all_trials(study) if trial.state == TrialState.COMPLETE]
