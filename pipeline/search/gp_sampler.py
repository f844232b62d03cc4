"""``sampler=gp``: the configuration of the largest expected improvement by a Gaussian process."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from threadpoolctl import threadpool_limits

from pipeline.configuration.overrides import Value
from pipeline.search.encoding import Encoding
from pipeline.search.gaussian_process import GaussianProcess, fit, log_expected_improvement
from pipeline.search.normal_scores import normal_scores
from pipeline.search.space import Space
from pipeline.search.storage import all_trials, notes_of
from pipeline.search.translation import Params, key_of

DRAWN = 256  # configurations drawn at random, among which the search for the best begins
KEPT, NEIGHBOURS, ROUNDS = 8, 8, 8  # it goes on near the best of them, so many of each
MOST, MOST_BEST = 250, 150  # trials learnt from: the best, and others evenly down to the worst


class GpSampler(RandomSampler):
    """Suggests whole configurations: first random ones, then the one of the largest expected
    improvement that was not tried yet, by a Gaussian process on the space's coordinates.

    It learns from normal scores of how trials rank. Where others are running it is as if they had
    ended with what is expected of them. A pure function of study, seed and number; one thread
    computes it, so that the same machine suggests the same to the bit.
    """

    def __init__(self, space: Space, startup_trials: int, seed: int) -> None:
        super().__init__(seed)
        self._encoding, self._distributions = Encoding(space), space.distributions()
        self._startup, self._seed = startup_trials, seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        rng = np.random.default_rng(self._seed)
        given = notes_of(study, trial).get("fixed_params", {})  # of an enqueued trial
        others = [t for t in all_trials(study) if t.number != trial.number and t.params]
        ended = [other for other in others if other.state.is_finished()]
        if len(ended) < self._startup:
            return self._encoding.draw(rng, given)
        scores = normal_scores(ended, maximize=study.direction == StudyDirection.MAXIMIZE)
        chosen = informative(scores)
        learnt = [ended[at].params for at in chosen]
        running = [other.params for other in others if other.state == TrialState.RUNNING]
        points, search = self._encoding.points, _Search(self._encoding, rng, given, others)
        with threadpool_limits(1):
            process = fit(points(learnt), scores[chosen], self._encoding.parameter_of)
            return search.best(process.believing(points(running)), learnt)


def informative(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which trials are learnt from, best first: all, or with more than MOST the best
    MOST_BEST and others evenly from the rest, since a process costs the cube of their number.
    """
    order = np.argsort(-scores, kind="stable")
    if len(order) <= MOST:
        return order
    rest = np.linspace(MOST_BEST, len(order) - 1, MOST - MOST_BEST).round().astype(np.int64)
    return np.concatenate([order[:MOST_BEST], order[rest]])


class _Search:
    """The search for the configuration of the largest expected improvement: among random ones and
    neighbours of the best that were tried, then near the best of those, and so on.
    """

    def __init__(
        self,
        encoding: Encoding,
        rng: Generator,
        given: Mapping[str, Value],
        others: Sequence[FrozenTrial],
    ) -> None:
        self._encoding, self._rng, self._given = encoding, rng, given
        self._tried = {key_of(other.params) for other in others}

    def best(self, process: GaussianProcess, learnt: Sequence[Params]) -> Params:
        means, _ = process.posterior(process.points)
        top = [learnt[int(at)] for at in np.argsort(-means[: len(learnt)])[:KEPT]]
        pool = [self._encoding.draw(self._rng, self._given) for _ in range(DRAWN)]
        pool += self._near(top)
        scores = self._scores(process, pool, float(means.max()))
        for _ in range(ROUNDS):
            order = np.argsort(-scores, kind="stable")[:KEPT]
            kept = [pool[int(at)] for at in order]
            more = self._near(kept)
            pool = [*kept, *more]
            found = self._scores(process, more, float(means.max()))
            scores = np.concatenate([scores[order], found])
        return pool[int(np.argmax(scores))]

    def _near(self, configurations: Sequence[Params]) -> list[Params]:
        return [
            self._encoding.near(params, self._rng, self._given)
            for params in configurations
            for _ in range(NEIGHBOURS)
        ]

    def _scores(
        self, process: GaussianProcess, pool: Sequence[Params], best: float
    ) -> NDArray[np.float64]:
        """Return the logarithms of expected improvements over `best`; -inf for what was tried."""
        mean, spread = process.posterior(self._encoding.points(pool))
        scores = log_expected_improvement(mean, spread, best)
        scores[[key_of(params) in self._tried for params in pool]] = -np.inf
        return scores
