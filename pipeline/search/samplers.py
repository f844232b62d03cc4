"""How the next trial is chosen: Optuna's samplers, made anew for each trial from (seed, number).

Optuna's own samplers hold a generator, so a resumed study would repeat its first suggestions, and what a trial gets would depend on
who asked before. A sampler that is a pure function of the study's seed and the trial's number does neither; what samplers learn is read
from the study.
"""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from cnn_core.errors import InputError
from pipeline.search.grid import PointSampler, grid
from pipeline.search.space import Space

NEEDS = {"cmaes": ("cmaes", 'pip install "numpy-cnn-sweep[cmaes]"'), "gp": ("torch", 'pip install "numpy-cnn-sweep[gp]"')}


class PerTrialSampler(BaseSampler):
    """Delegates to a fresh sampler for each trial, made from a seed of its own.

    Optuna calls a trial's methods one after another (asking is serialised), so the last one made is enough.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._current: tuple[int, BaseSampler] | None = None

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            (seed,) = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
            self._current = (trial.number, self._make(int(seed)))
        return self._current[1]

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._current = None  # the number may be asked for again, where its first trial could not be written
        self._of(trial).before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._of(trial).after_trial(study, trial, state, values)


def make_sampler(settings: Any, seed: int, space: Space) -> BaseSampler:
    """Return the study's sampler; `settings` is a section ``sampler``, `space` what it chooses from.

    Raises InputError, with the line that installs it, for a sampler whose library is absent.
    """
    library, install = NEEDS.get(settings.name, (None, ""))
    if library is not None and importlib.util.find_spec(library) is None:
        raise InputError(f"sampler: {settings.name} needs the library {library}, which is not installed; install it with: {install}")
    return PerTrialSampler(SAMPLERS[settings.name](settings, space), seed)


def _tpe(settings: Any, _: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: TPESampler(
        n_startup_trials=settings.startup_trials, n_ei_candidates=settings.candidates, multivariate=True, group=True, seed=seed
    )


def _random(_: Any, __: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: RandomSampler(seed=seed)


def _grid(_: Any, space: Space) -> Callable[[int], BaseSampler]:
    points = grid(space)
    return lambda _: PointSampler(points)


def _cmaes(settings: Any, _: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: CmaEsSampler(
        n_startup_trials=settings.startup_trials, sigma0=settings.sigma, warn_independent_sampling=False, seed=seed
    )


def _gp(settings: Any, _: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: GPSampler(n_startup_trials=settings.startup_trials, seed=seed, warn_independent_sampling=False)


def _nsga2(settings: Any, _: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: NSGAIISampler(population_size=settings.population, seed=seed)


SAMPLERS: dict[str, Callable[[Any, Space], Callable[[int], BaseSampler]]] = {
    "tpe": _tpe,
    "random": _random,
    "grid": _grid,
    "cmaes": _cmaes,
    "gp": _gp,
    "nsga2": _nsga2,
}
