"""Optuna's samplers, recreated for each trial from (seed, number), and its pruners.

Optuna's own samplers hold a random generator, so a resumed study would repeat its first
suggestions, and a trial's parameters would depend on which trials were asked for before it. A
sampler that is a pure function of the study's seed and the trial's number avoids both; what
samplers learn is read from the study.
"""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from cnn_core.errors import InputError
from pipeline.search.grid_sampler import Grid, PointSampler
from pipeline.search.space import Space

NEEDS = {
    "cmaes": ("cmaes", 'pip install "numpy-cnn-sweep[cmaes]"'),
}


class PerTrialSampler(BaseSampler):
    """Delegates to a fresh sampler for each trial, with its own seed.

    Optuna calls a trial's methods one after another (asking is serialised), so keeping the last
    sampler is enough.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._current: tuple[int, BaseSampler] | None = None

    def _made(self, study: Study, seed: int) -> BaseSampler:
        """Return a fresh sampler; a subclass may choose it by what the study holds."""
        return self._make(seed)

    def _of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if self._current is None or self._current[0] != trial.number:
            (seed,) = np.random.SeedSequence([self._seed, trial.number]).generate_state(1)
            self._current = (trial.number, self._made(study, int(seed)))
        return self._current[1]

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._of(study, trial).sample_independent(
            study, trial, param_name, param_distribution
        )

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        # The number is asked for again if its first trial could not be written.
        self._current = None
        self._of(study, trial).before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._of(study, trial).after_trial(study, trial, state, values)


def make_sampler(settings: Any, seed: int, space: Space) -> BaseSampler:
    """Return the study's sampler, from a ``sampler`` section and the space that it samples.

    Raises InputError, with the install command, if the sampler's library is missing.
    """
    library, install = NEEDS.get(settings.name, (None, ""))
    if library is not None and importlib.util.find_spec(library) is None:
        raise InputError(
            f"sampler: {settings.name} needs the library {library}, which is not installed; "
            f"install it with: {install}"
        )
    if settings.name not in SAMPLERS:  # a plug-in's
        return PerTrialSampler(lambda seed: settings.sampler(space, seed), seed)
    return PerTrialSampler(SAMPLERS[settings.name](settings, space), seed)


def _tpe(settings: Any, _: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: TPESampler(
        n_startup_trials=settings.startup_trials,
        n_ei_candidates=settings.candidates,
        multivariate=True,
        group=True,
        seed=seed,
    )


def _random(_: Any, __: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: RandomSampler(seed=seed)


def _grid(_: Any, space: Space) -> Callable[[int], BaseSampler]:
    points = Grid(space)
    return lambda _: PointSampler(points)


def _cmaes(settings: Any, _: Space) -> Callable[[int], BaseSampler]:
    return lambda seed: CmaEsSampler(
        n_startup_trials=settings.startup_trials,
        sigma0=settings.sigma,
        warn_independent_sampling=False,
        seed=seed,
    )


def _gp(settings: Any, space: Space) -> Callable[[int], BaseSampler]:
    from pipeline.search.gp_sampler import GpSampler  # SciPy's parts take a moment to import

    return lambda seed: GpSampler(space, settings.startup_trials, seed)


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
