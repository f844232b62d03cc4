"""Which trial trains next where trials pause at rungs: a pure function of what is known of them.

A trial that reaches a rung's epoch is paused, whatever it is worth; a rule then says which paused
trial goes on, or that a new one begins. The sweep asks it with the study's trials, deterministic
mode with those of a round's beginning, a benchmark with recorded curves.

`AsyncHalving`: Li et al., A System for Massively Parallel Hyperparameter Tuning, 2020 (ASHA).
`GrowingHalving`: Bohdal et al., PASHA, arXiv 2207.06940. `TopKept`: one look at every trial, then
the best to the end (arXiv 2307.15422, 2404.04111), in one step or in several.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from pipeline.events import State
from pipeline.search.curve_noise import crossing_noise


@dataclass(frozen=True)
class TrialSoFar:
    """What a rule knows of a trial: `scores` by epoch, larger is better; `until` is the epoch to
    which it trains or was to train.
    """

    state: State
    scores: Mapping[int, float]
    until: int

    @property
    def epoch(self) -> int:
        """The last epoch with a score; 0 before the first."""
        return max(self.scores, default=0)

    def score_at(self, epoch: int) -> float | None:
        """Return the score after an epoch: minus infinity for a trial that failed on the way there,
        the last score of one that was complete before; None if it has not got that far.
        """
        if epoch in self.scores:
            score = self.scores[epoch]
            return -math.inf if math.isnan(score) else score
        if self.state == State.FAIL and self.epoch < epoch <= self.until:
            return -math.inf
        if self.state == State.COMPLETE and self.scores and self.epoch < epoch:
            return self.scores[self.epoch]
        return None


Table = Mapping[int, TrialSoFar]  # by the trial's number


@dataclass(frozen=True)
class Promotion:
    """A paused trial goes on until an epoch."""

    number: int
    until: int


class Turn(Enum):
    """What a slot does that promotes nothing."""

    START = "start a new trial"
    WAIT = "wait for a running trial"
    NOTHING = "nothing is left"


class PromotionRule(Protocol):
    """A rule; `epochs` are those of a whole trial."""

    @property
    def epochs(self) -> int: ...

    @property
    def first(self) -> int:
        """The epoch until which a new trial trains."""

    def next_of(self, table: Table, *, more: bool) -> Promotion | Turn:
        """Return what a free slot does; `more` tells whether a new trial may begin. It is never
        NOTHING while no trial is complete and one is paused.
        """

    def share(self, trials: int) -> float:
        """Return the expected share of the planned epochs that so many trials train."""


@dataclass(frozen=True)
class AsyncHalving:
    """At each rung the best ``floor(n / factor)`` of the n trials that have reached it go on to the
    next, the highest rung first, at whatever time they come to be among them.
    """

    min_epochs: int
    factor: int
    epochs: int

    @property
    def rungs(self) -> tuple[int, ...]:
        """The epochs ``min_epochs * factor ** k``, and the last epoch."""
        powers = (self.min_epochs * self.factor**k for k in itertools.count())
        return (*itertools.takewhile(lambda rung: rung < self.epochs, powers), self.epochs)

    @property
    def first(self) -> int:
        return self.rungs[0]

    def ceiling(self, table: Table) -> int:
        """Return the index of the highest rung to which trials are promoted."""
        return len(self.rungs) - 1

    def next_of(self, table: Table, *, more: bool) -> Promotion | Turn:
        rungs = self.rungs[: self.ceiling(table) + 1]
        for rung, following in reversed([*itertools.pairwise(rungs)]):
            order = [*ranking(table, rung)]
            for number in order[: len(order) // self.factor]:
                if table[number].state == State.PAUSED and table[number].epoch < following:
                    return Promotion(number, following)
        return _otherwise(self, table, more=more)

    def share(self, trials: int) -> float:
        """Each rung keeps one trial in `factor`, rounded down; the best goes on where none is left
        for the end. Good trials that come late make it somewhat more.
        """
        return self._share_under(self.rungs, trials)

    def _share_under(self, rungs: Sequence[int], trials: int) -> float:
        trained, reached, kept = 0, 0, trials
        for rung in rungs:
            if kept == 0:
                break
            trained, reached, kept = trained + kept * (rung - reached), rung, kept // self.factor
        return (trained + self.epochs - reached) / (trials * self.epochs)


@dataclass(frozen=True)
class GrowingHalving(AsyncHalving):
    """Halving whose ceiling is at first the second rung, and rises by one while the trials of the
    top two rungs do not rank alike. What it has not promoted to the end, it has found to be no
    better than what it then trains to the end: the best.

    Trials rank alike if, at each place of the upper rung, there is one that the lower rung has
    there, or within `epsilon` of that one. Where `epsilon` is None it is estimated: the 90th
    percentile of the distances between those curves that cross twice or more. Unlike in the paper
    the ceiling follows from the table alone, so that an interruption cannot change it; it may fall
    again when more curves cross.
    """

    epsilon: float | None = None

    def ceiling(self, table: Table) -> int:
        top, highest = min(1, len(self.rungs) - 1), len(self.rungs) - 1
        while top < highest and not self._alike(table, top):
            top += 1
        return top

    def _alike(self, table: Table, top: int) -> bool:
        going = {n: trial for n, trial in table.items() if trial.state != State.FAIL}
        upper = ranking(going, self.rungs[top])
        scores = ranking({number: going[number] for number in upper}, self.rungs[top - 1])
        lower = [*scores]
        if [*upper] == lower:
            return True
        epsilon = self.epsilon
        if epsilon is None:
            epsilon = crossing_noise([going[number].scores for number in upper])
        places = zip(upper, lower, strict=True)
        return all(abs(scores[there] - scores[here]) <= epsilon for there, here in places)

    def share(self, trials: int) -> float:
        """As if the ceiling stayed where it begins; unstable rankings make it more."""
        return self._share_under(self.rungs[:2], trials)


@dataclass(frozen=True)
class TopKept:
    """Every trial trains `look` epochs; then the best `keep` of them train to the end, the best
    first.

    With `halvings` H they are chosen in steps, which wait for all: the best ``keep * 2 ** H`` go on
    to epoch ``2 * look``, half of these to ``4 * look``, and so on (successive halving, Jamieson
    and Talwalkar 2016).
    """

    look: int
    keep: int
    epochs: int
    halvings: int = 0

    @property
    def first(self) -> int:
        return min(self.look, self.epochs)

    @property
    def steps(self) -> Sequence[tuple[int, int, int]]:
        """From which epoch to which how many trials go on; the last step ends with them."""
        rungs = [self.first * 2**k for k in range(self.halvings + 1)]
        rungs = [rung for rung in rungs if rung < self.epochs]
        return [
            (rung, following, self.keep * 2 ** (len(rungs) - 1 - k))
            for k, (rung, following) in enumerate(itertools.pairwise([*rungs, self.epochs]))
        ]

    def next_of(self, table: Table, *, more: bool) -> Promotion | Turn:
        looking = any(
            trial.state == State.RUNNING and trial.epoch < self.first for trial in table.values()
        )
        if not (more or looking):
            gone = (State.FAIL, State.PRUNED)
            left = {number: trial for number, trial in table.items() if trial.state not in gone}
            for rung, following, count in self.steps:
                chosen = [*ranking(left, rung)][:count]
                left = {number: left[number] for number in chosen}
                behind = [n for n, trial in left.items() if trial.epoch < following]
                for number in behind:
                    if left[number].state == State.PAUSED:
                        return Promotion(number, following)
                if any(left[number].state == State.RUNNING for number in behind):
                    return Turn.WAIT
        return _otherwise(self, table, more=more)

    def share(self, trials: int) -> float:
        trained = trials * self.first
        for rung, following, count in self.steps:
            trained += min(count, trials) * (following - rung)
        return trained / (trials * self.epochs)


def ranking(table: Table, epoch: int) -> dict[int, float]:
    """Return the scores of the trials that have reached an epoch, best first, ties by number."""
    scores = {number: trial.score_at(epoch) for number, trial in table.items()}
    reached = sorted((-score, number) for number, score in scores.items() if score is not None)
    return {number: -score for score, number in reached}


def _otherwise(rule: PromotionRule, table: Table, *, more: bool) -> Promotion | Turn:
    """Return what a slot does where the rule itself promotes nothing: trials that paused before the
    first look (it was earlier once) go on to it; at the end, the best goes on where none is
    complete.
    """
    paused = {number: trial for number, trial in table.items() if trial.state == State.PAUSED}
    early = [number for number, trial in paused.items() if trial.epoch < rule.first]
    if early:
        return Promotion(min(early), rule.first)
    if more:
        return Turn.START
    states = {trial.state for trial in table.values()}
    if State.RUNNING in states:
        return Turn.WAIT
    if State.COMPLETE in states or not paused:
        return Turn.NOTHING
    furthest = max(trial.epoch for trial in paused.values())
    best = next(number for number in ranking(table, furthest) if number in paused)
    return Promotion(best, rule.epochs)


RULES: dict[str, Callable[[Any, int], PromotionRule]] = {
    "promote": lambda s, epochs: AsyncHalving(s.min_epochs, s.reduction_factor, epochs),
    "pasha": lambda s, epochs: GrowingHalving(s.min_epochs, s.reduction_factor, epochs, s.epsilon),
    "top_k": lambda s, epochs: TopKept(s.look, s.keep, epochs),
    "top_k_in_steps": lambda s, epochs: TopKept(s.look, s.keep, epochs, s.halvings),
}


def rule_of(settings: Any, epochs: int) -> PromotionRule | None:
    """Return the rule of a ``pruner`` section for trials of so many epochs; None for a pruner that
    ends trials instead of pausing them.
    """
    make = RULES.get(settings.name)
    return None if make is None else make(settings, epochs)
