"""The methods of a search that are compared on recorded curves, replayed in many orders."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.search_parts.curves import read, settings_of, write_results
from benchmarks.search_parts.method_page import figures
from benchmarks.search_parts.replay import Replay, Replayed
from pipeline.search.open_study import quiet_optuna
from pipeline.search.prior import Prior, read_prior

METHODS: Mapping[str, tuple[str, ...]] = {
    "random": ("sampler=random", "pruner=none"),
    "random, median": ("sampler=random", "pruner=median"),
    "TPE": ("sampler=tpe", "pruner=none"),
    "TPE, median": ("sampler=tpe", "pruner=median"),
    "TPE, successive halving": ("sampler=tpe", "pruner=successive_halving"),
    "TPE, Hyperband": ("sampler=tpe", "pruner=hyperband"),
    "TPE, promote": ("sampler=tpe", "pruner=promote"),
    "TPE, PASHA": ("sampler=tpe", "pruner=pasha"),
    "TPE, top_k": ("sampler=tpe", "pruner=top_k"),
    "random, promote": ("sampler=random", "pruner=promote"),
    "random, top_k": ("sampler=random", "pruner=top_k"),
}
WITH_PRIOR = ("TPE", "TPE, promote", "TPE, top_k")
PRIORS = {"mnist": "fashion", "fashion": "digits"}  # of whose curves a prior is made


def replay(name: str, words: Sequence[str], prior: Prior | None, order: int) -> Replayed:
    """Replay one method, given by its overrides, in one order."""
    quiet_optuna()
    curves = read(name)
    trials = f"budget.trials={len(curves.params)}"
    return Replay(curves, settings_of(name, *words, trials), order, prior).run()


def prior_for(name: str) -> Prior | None:
    """Return what the curves of another space know of this one; None where none were recorded."""
    try:
        other = read(PRIORS[name])
    except (KeyError, OSError):
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = write_results(other, Path(folder) / f"{other.name}.csv")
        trials = f"budget.trials={len(read(name).params)}"
        return read_prior(settings_of(name, f"study.prior=[{file}]", trials), read(name).space)


def measured(
    name: str, seeds: int, orders: int, methods: Sequence[str]
) -> dict[str, list[Replayed]]:
    """Replay all methods with trials of so many nets."""
    prior = prior_for(name)
    wanted: dict[str, tuple[Sequence[str], Prior | None]] = {
        method: (METHODS[method], None) for method in methods
    }
    if prior is not None:
        named = f"with a prior from {PRIORS[name]}"
        wanted |= {f"{m}, {named}": (METHODS[m], prior) for m in WITH_PRIOR if m in methods}
    found = {}
    with ProcessPoolExecutor() as pool:
        for method, (words, known) in wanted.items():
            one = partial(replay, name, (*words, f"study.seeds={seeds}"), known)
            found[method] = [*pool.map(one, range(orders))]
            print(f"{name}: {method}: {figures(found[method], read(name).whole)}", flush=True)
    return found
