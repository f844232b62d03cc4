"""The methods of a search that are compared on recorded curves, replayed in many orders."""

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.search_parts.curves import FOLDER, PAST, read, settings_of, write_results
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
    "TPE, top_k in steps": ("sampler=tpe", "pruner=top_k_in_steps"),
    "random, promote": ("sampler=random", "pruner=promote"),
    "random, top_k": ("sampler=random", "pruner=top_k"),
}
WITH_PRIOR = ("TPE", "TPE, promote", "TPE, top_k")
# of whose leaderboard, or recorded curves, a prior is made
PRIORS: Mapping[str, tuple[str, ...]] = {"mnist": ("fashion", "digits")}


def replay(name: str, words: Sequence[str], prior: Prior | None, order: int) -> Replayed:
    """Replay one method, given by its overrides, in one order."""
    quiet_optuna()
    curves = read(name)
    trials = f"budget.trials={len(curves.params)}"
    return Replay(curves, settings_of(name, *words, trials), order, prior).run()


def priors_for(name: str) -> dict[str, Prior]:
    """Return what is known of this space, by the name of the data where it was found out."""
    trials = f"budget.trials={len(read(name).params)}"
    found = {}
    for other in PRIORS.get(name, ()):
        with tempfile.TemporaryDirectory() as folder:
            file = FOLDER / f"{other}_leaderboard.csv"
            if other not in PAST:
                file = write_results(read(other), Path(folder) / f"{other}.csv")
            settings = settings_of(name, f"study.prior=[{file}]", trials)
            found[other] = read_prior(settings, read(name).space)
    return found


def measured(
    name: str, seeds: int, orders: int, methods: Sequence[str]
) -> dict[str, list[Replayed]]:
    """Replay all methods with trials of so many nets."""
    wanted: dict[str, tuple[Sequence[str], Prior | None]] = {
        method: (METHODS[method], None) for method in methods
    }
    wanted |= {
        f"{method}, with a prior from {source}": (METHODS[method], known)
        for source, known in priors_for(name).items()
        for method in WITH_PRIOR
        if method in methods
    }
    found = {}
    with ProcessPoolExecutor() as pool:
        for method, (words, informed) in wanted.items():
            one = partial(replay, name, (*words, f"study.seeds={seeds}"), informed)
            found[method] = [*pool.map(one, range(orders))]
            print(f"{name}: {method}: {figures(found[method], read(name).whole)}", flush=True)
    return found
