"""Samplers on a surrogate of recorded curves: a forest of trees, grown on the recorded
configurations, answers for any configuration what its nets would reach, so a sampler is judged on
what it asks for itself, not on the recorded configuration nearest to it (Eggensperger et al. 2015).
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import cross_val_predict

from benchmarks.document import markdown_table
from benchmarks.search_parts.curves import Curves, read, settings_of
from benchmarks.search_parts.methods import priors_for
from pipeline.search.encoding import Encoding
from pipeline.search.open_study import quiet_optuna
from pipeline.search.prior import Prior
from pipeline.search.prior_sampler import PriorSampler
from pipeline.search.samplers import make_sampler

SAMPLERS = ("random", "tpe", "gp")
AFTER = (20, 40, 60, 100)  # trials
NEARBY = 0.1  # points below the best: less than nets of one configuration differ by
WORST = 0.1  # below the best: a diverged configuration is no worse, or trees would see nothing else


class Surrogate:
    """What a configuration's nets reach, by trees; `noise` is what one net adds to it."""

    def __init__(self, curves: Curves) -> None:
        self.space = curves.space
        self._encoding = Encoding(curves.space)
        self._points = self._encoding.points(curves.params)
        self._reached = np.maximum(curves.final, curves.final.max() - WORST)
        self._trees = _forest().fit(self._points, self._reached)
        spreads = np.std(curves.values[:, :, -1], axis=1, ddof=1)
        self.noise = float(np.nanmedian(spreads))

    def __call__(self, params: dict[str, object]) -> float:
        (found,) = self._trees.predict(self._encoding.points([params]))  # type: ignore[list-item]
        return float(found)

    @property
    def best(self) -> float:
        """The most that any recorded configuration reaches by the trees."""
        return float(self._trees.predict(self._points).max())

    def error(self) -> float:
        """Return the median error on recorded configurations that trees were grown without."""
        guessed = cross_val_predict(_forest(), self._points, self._reached, cv=10)
        return float(np.median(np.abs(guessed - self._reached)))


def _forest() -> ExtraTreesRegressor:
    return ExtraTreesRegressor(300, min_samples_leaf=2, random_state=0)


@cache
def _surrogate(name: str) -> Surrogate:
    return Surrogate(read(name))


def lacking(name: str, sampler: str, prior: Prior | None, seed: int) -> list[float]:
    """Return what the configuration that a search would choose after each trial lacks to the best;
    a trial is one net's value.
    """
    quiet_optuna()
    reached = _surrogate(name)
    rng, settings = np.random.default_rng(seed), settings_of(name, f"sampler={sampler}").sampler
    made: BaseSampler = make_sampler(settings, seed, reached.space)
    if prior is not None:
        made = PriorSampler(made, prior, reached.space, seed, settings.startup)
    study = optuna.create_study(direction="maximize", sampler=made)
    for params, _ in prior.first if prior is not None else ():
        study.enqueue_trial(params)
    seen: list[tuple[float, float]] = []
    for _ in range(max(AFTER)):
        trial = study.ask()
        reached.space.suggest(trial)
        true = reached(trial.params)
        seen.append((true + rng.normal(0, reached.noise), true))
        study.tell(trial, seen[-1][0])
    return [reached.best - max(seen[: count + 1])[1] for count in range(max(AFTER))]


def on_surrogate(name: str, seeds: int) -> dict[str, NDArray[np.float64]]:
    """Return by method what its searches lack, (seeds, trials)."""
    methods: dict[str, tuple[str, Prior | None]] = {
        f"`sampler={sampler}`": (sampler, None) for sampler in SAMPLERS
    }
    methods |= {
        f"`sampler=gp`, with a prior from {source}": ("gp", known)
        for source, known in priors_for(name).items()
    }
    with ProcessPoolExecutor() as pool:
        return {
            method: np.array([*pool.map(partial(lacking, name, *given), range(seeds))])
            for method, given in methods.items()
        }


def surrogate_section(name: str, found: dict[str, NDArray[np.float64]], command: str) -> str:
    """Return the text of the section."""
    reached, seeds = _surrogate(name), len(next(iter(found.values())))
    rows = [
        [method, *(_cell(100 * lacks[:, count - 1]) for count in AFTER), _first(100 * lacks)]
        for method, lacks in found.items()
    ]
    error, noise = f"{100 * reached.error():.2f}", f"{100 * reached.noise:.2f}"
    told = (
        f"Trees grown on the {len(read(name).params)} recorded configurations say what any other "
        f"would reach (median error on those left out: {error} points); a trial is one net, which "
        f"differs by {noise}. What the configuration of the best trial lacks to the best, in "
        f"points, and the trials until it lacks no more than {NEARBY:g}: median of {seeds} seeds, "
        "in brackets the quartiles."
    )
    head = ["sampler", *(f"after {count} trials" for count in AFTER), f"within {NEARBY:g}"]
    return "\n\n".join([f"`{command}`", told, markdown_table(head, rows)])


def _first(points: NDArray[np.float64]) -> str:
    """Return the trials until a search lacks no more than NEARBY for the first time."""
    close = points <= NEARBY
    first = np.where(close.any(axis=1), close.argmax(axis=1) + 1.0, np.inf)
    low, middle, high = np.quantile(first, (0.25, 0.5, 0.75), method="nearest")
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def _cell(points: Sequence[float] | NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(points, (0.25, 0.5, 0.75))
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"
