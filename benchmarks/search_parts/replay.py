"""A search replayed on recorded curves: the product's samplers, pruners and rules of promotion
decide, a look at a table takes the place of training.

The samplers suggest; the recorded configuration nearest to a suggestion that was not tried yet is
taken, and the study is told its values. One trial trains at a time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

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
    labels: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)  # a pruner's, such as its rungs
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
        self._curves, self._order = curves, order
        self._seen = _seen(curves, config.study.seeds, order)
        self._rule = rule_of(config.pruner, curves.epochs)
        self._pruner: BasePruner = make_pruner(config.pruner, curves.epochs)
        self._uniform = config.sampler.name == "random" and prior is None
        sampler: BaseSampler = make_sampler(config.sampler, order, curves.space)
        if prior is not None:
            sampler = PriorSampler(sampler, prior, curves.space, order)
        self._sampler = sampler
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
        configuration, labels = self._choose()
        params = self._curves.params[configuration]
        until = self._curves.epochs if self._rule is None else self._rule.first
        trial = _Trial(configuration, dict(params), labels, until=until)
        study = None
        if self._rule is None:
            study = self._study()
            study.enqueue_trial(trial.params)
        self._trials.append(trial)
        if study is None:
            self._train(trial)
            return
        self._train(trial, self._asked(study))
        trial.notes = study.get_trials(deepcopy=False)[-1].system_attrs

    def _choose(self) -> tuple[int, Mapping[str, Any]]:
        """Return the configuration to try next, and what the sampler noted on its suggestion."""
        tried = {trial.configuration for trial in self._trials}
        free = [number for number in range(len(self._curves.params)) if number not in tried]
        if self._uniform:
            return int(self._rng.choice(free)), {}
        study = self._study()
        if len(self._trials) < len(self._first):
            study.enqueue_trial(self._first[len(self._trials)])
        asked = self._asked(study)

        def far(number: int) -> float:
            return distance(asked.params, self._curves.params[number], self._curves.space)

        return min(free, key=far), dict(asked.user_attrs)

    def _study(self) -> optuna.Study:
        study = optuna.create_study(
            study_name=f"order {self._order}",  # Hyperband draws brackets from it
            direction="maximize",
            sampler=self._sampler,
            pruner=self._pruner,
        )
        study.add_trials([self._frozen(trial) for trial in self._trials])
        return study

    def _asked(self, study: optuna.Study) -> optuna.Trial:
        trial = study.ask()
        self._curves.space.suggest(trial)
        return trial

    def _frozen(self, trial: _Trial) -> FrozenTrial:
        state = STATES[trial.state]
        valued = state in (TrialState.COMPLETE, TrialState.PRUNED)
        return create_trial(
            state=state,
            value=trial.scores[max(trial.scores)] if valued else None,
            params=trial.params,
            distributions={name: self._distributions[name] for name in trial.params},
            intermediate_values=trial.scores,
            user_attrs=dict(trial.labels),
            system_attrs=dict(trial.notes),
        )

    def _train(self, trial: _Trial, asked: optuna.Trial | None = None) -> None:
        """Look up epoch by epoch until the trial ends, is pruned or pauses."""
        curve = self._seen[trial.configuration]
        for epoch in range(len(trial.scores) + 1, trial.until + 1):
            self._result.epochs += 1
            value = float(curve[epoch - 1])
            if math.isnan(value):
                trial.state = State.FAIL
                return
            trial.scores[epoch] = value
            pruned = False
            if asked is not None:
                asked.report(value, epoch)
                pruned = epoch < self._curves.epochs and asked.should_prune()
            if pruned:
                trial.state = State.PRUNED
                return
        trial.state = State.COMPLETE if trial.until == self._curves.epochs else State.PAUSED
        self._note()

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
