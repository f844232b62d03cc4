"""A search replayed on recorded curves: the product's samplers, pruners and rules of promotion
decide, a look at a table takes the place of training.

The samplers suggest; the recorded configuration nearest to a suggestion that was not tried yet is
taken, and the study is told its values. One trial trains at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from benchmarks.search_parts.curves import Curves
from pipeline.configuration import Config
from pipeline.events import State
from pipeline.search.prior import Prior
from pipeline.search.prior_sampler import PriorSampler
from pipeline.search.promotion import Promotion, TrialSoFar, Turn, rule_of
from pipeline.search.pruners import make_pruner
from pipeline.search.samplers import make_sampler
from pipeline.search.translation import Params, distance

CLOSE = 0.0002  # of the best mean final accuracy: what counts as found
STATES = {
    State.COMPLETE: TrialState.COMPLETE,
    State.PAUSED: TrialState.PRUNED,
    State.PRUNED: TrialState.PRUNED,
    State.FAIL: TrialState.FAIL,
}


@dataclass
class Replayed:
    """One search: after how many epochs, and trials begun, its choice was close to the best for the
    first time, infinite where it never was; and what it was at the end of all.
    """

    found: float = math.inf
    trials: float = math.inf
    epochs: int = 0
    regret: float = math.inf  # of the choice at the end: mean final accuracy below the best's
    course: list[tuple[int, float]] = field(default_factory=list)  # epochs, regret from then on


@dataclass
class _Trial:
    """A configuration that a search has begun to train."""

    configuration: int
    params: Params
    state: State = State.RUNNING
    until: int = 0
    scores: dict[int, float] = field(default_factory=dict)

    @property
    def so_far(self) -> TrialSoFar:
        return TrialSoFar(self.state, self.scores, self.until)


class Replay:
    """A search of one method in one order."""

    def __init__(
        self, curves: Curves, config: Config, order: int, prior: Prior | None = None
    ) -> None:
        self._curves = curves
        self._seen = _seen(curves, config.study.seeds, order)
        self._rule = rule_of(config.pruner, curves.epochs)
        self._uniform = config.sampler.name == "random" and prior is None
        sampler: BaseSampler = make_sampler(config.sampler, order, curves.space)
        if prior is not None:
            sampler = PriorSampler(sampler, prior, curves.space, order, config.sampler.startup)
        self._study = optuna.create_study(
            study_name=f"order {order}",  # Hyperband draws brackets from it
            direction="maximize",
            sampler=sampler,
            pruner=make_pruner(config.pruner, curves.epochs),
        )
        self._first = [] if prior is None else [params for params, _ in prior.first]
        self._rng = np.random.default_rng(order)
        self._trials: list[_Trial] = []
        self._distributions = curves.space.distributions()
        self._result = Replayed()

    def run(self) -> Replayed:
        """Search until every configuration was tried and nothing is left to promote."""
        while (turn := self._turn()) != Turn.NOTHING:
            if isinstance(turn, Promotion):
                trial = self._trials[turn.number]
                trial.state, trial.until = State.RUNNING, turn.until
                self._train(trial)
            else:
                self._begin()
        return self._result

    def _turn(self) -> Promotion | Turn:
        more = len(self._trials) < len(self._curves.params)
        if self._rule is None:
            return Turn.START if more else Turn.NOTHING
        table = {number: trial.so_far for number, trial in enumerate(self._trials)}
        return self._rule.next_of(table, more=more)

    def _begin(self) -> None:
        asked, configuration = self._choose()
        until = self._curves.epochs if self._rule is None else self._rule.first
        trial = _Trial(configuration, self._curves.params[configuration], until=until)
        self._trials.append(trial)
        self._train(trial, asked if self._rule is None else None)

    def _choose(self) -> tuple[optuna.Trial, int]:
        """Return what was asked for, and the configuration to try next."""
        tried = {trial.configuration for trial in self._trials}
        free = [number for number in range(len(self._curves.params)) if number not in tried]
        if len(self._trials) < len(self._first):
            self._study.enqueue_trial(self._first[len(self._trials)])
        asked = self._study.ask()
        if self._uniform:
            return asked, int(self._rng.choice(free))
        self._curves.space.suggest(asked)
        params = asked.params

        def far(number: int) -> float:
            return distance(params, self._curves.params[number], self._curves.space)

        return asked, min(free, key=far)

    def _tell(self, trial: _Trial) -> None:
        """Let the study know a trial as it stands: the configuration that was taken, its scores and
        state. A study has no way back from a told trial, so its record is changed in place.
        """
        number = self._trials.index(trial)
        frozen = self._study.get_trials(deepcopy=False)[number]
        frozen.params = dict(trial.params)
        frozen.distributions = {name: self._distributions[name] for name in trial.params}
        frozen.intermediate_values = dict(trial.scores)
        frozen.state = STATES[trial.state]
        valued = frozen.state in (TrialState.COMPLETE, TrialState.PRUNED)
        frozen.values = [trial.scores[max(trial.scores)]] if valued else None

    def _train(self, trial: _Trial, asked: optuna.Trial | None = None) -> None:
        """Look up epoch by epoch until the trial ends, is pruned or pauses, and tell of it."""
        trial.state = self._end_of(trial, asked)
        self._tell(trial)
        if trial.state in (State.COMPLETE, State.PAUSED):
            self._note()

    def _end_of(self, trial: _Trial, asked: optuna.Trial | None) -> State:
        curve = self._seen[trial.configuration]
        for epoch in range(len(trial.scores) + 1, trial.until + 1):
            self._result.epochs += 1
            value = float(curve[epoch - 1])
            if math.isnan(value):
                return State.FAIL
            trial.scores[epoch] = value
            if asked is not None:
                asked.report(value, epoch)
                if epoch < self._curves.epochs and asked.should_prune():
                    return State.PRUNED
        return State.COMPLETE if trial.until == self._curves.epochs else State.PAUSED

    def _note(self) -> None:
        """Note how good the configuration is that would be chosen now."""
        best = self._best()
        if best is None:
            return
        final = self._curves.final
        self._result.regret = float(final.max() - final[best.configuration])
        self._result.course.append((self._result.epochs, self._result.regret))
        if self._result.regret <= CLOSE and math.isinf(self._result.found):
            self._result.found = self._result.epochs
            self._result.trials = len(self._trials)

    def _best(self) -> _Trial | None:
        """Return the best complete trial, else the best of those that are furthest."""
        going: Sequence[_Trial] = [t for t in self._trials if t.state != State.FAIL and t.scores]
        if not going:
            return None
        return max(going, key=lambda t: (t.state == State.COMPLETE, len(t.scores), max_of(t)))


def _seen(curves: Curves, seeds: int, order: int) -> NDArray[np.float64]:
    """Return what a trial of so many nets reports, (configurations, epochs): their mean, nan from
    the first divergence on; orders take the recorded nets in turn.
    """
    nets = (order + np.arange(seeds)) % curves.values.shape[1]
    mean: NDArray[np.float64] = curves.values[:, nets].mean(axis=1)
    return mean


def max_of(trial: _Trial) -> float:
    """Return a trial's last score."""
    return trial.scores[max(trial.scores)]
