"""The single ranking of a study: which trial is the best, for every part of the program, and how
certain that is: sampling interval, seeds, and how much of its lead is luck.

The best of many noisy values is too good on average (the winner's curse). Two honest measures of
it: measured, where the best trials were run again with other seeds (`study.confirm`); or estimated:
trials' values are modelled as true values plus noise, the true values' spread is what remains of
the observed spread (empirical Bayes; Efron and Morris 1975), and the search is replayed many times
with fresh noise: how far does the winner's value exceed its true one on average?
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnn_core.measures import ranked_by
from pipeline.events import State
from pipeline.reporting.foreign_trials import FOREIGN
from pipeline.reporting.scores import wilson
from pipeline.reporting.several_nets import noise_of_means
from pipeline.reporting.table import StudyTable, TrialRow, confirmed_metrics

SHARES = ("valid_accuracy", "valid_top_k")  # shares of images, which Wilson's interval is for
RANKED = (State.COMPLETE, State.PAUSED, State.PRUNED, State.INTERRUPTED, State.FAIL)


def ranked(table: StudyTable, *, searched: bool = False) -> list[TrialRow]:
    """Return the trials that ended, or stopped after an epoch for a time, best first: those that
    `study.confirm` has confirmed, in its order, unless only what the search found is asked for
    (`searched`); other complete ones by objective (with two objectives: the Pareto front, then by
    the first); paused, pruned and then interrupted ones by their last value; failed ones. Ties by
    number. Last, so ordered among themselves, those that were added through another program.
    """
    confirmed = [] if searched else list(confirmed_metrics(table.folder))
    front = front_of(table) if len(table.directions) > 1 else set()
    sign = -1.0 if table.directions[0] == "maximize" else 1.0

    def key(trial: TrialRow) -> tuple[Any, ...]:
        place = confirmed.index(trial.number) if trial.number in confirmed else len(confirmed)
        value = sign * values[0] if (values := last_values(trial)) else 0.0
        state = RANKED.index(State(trial.state))
        own = trial.foreign != FOREIGN
        return (not own, state, place, trial.number not in front, value, trial.number)

    paused = {trial.number for trial in table.trials if trial.state == State.INTERRUPTED}
    counted = (
        t for t in table.trials if t.state in RANKED and (t.history or t.number not in paused)
    )
    return sorted(counted, key=key)


def front_of(table: StudyTable) -> set[int]:
    """Return the number of the best trial, or with two objectives those of the Pareto front; empty
    without a complete trial.
    """
    if len(table.directions) == 1:
        best = best_of(table)
        return set() if best is None else {best.number}
    signs = [1.0 if direction == "maximize" else -1.0 for direction in table.directions]
    scores = {
        trial.number: tuple(
            sign * value for sign, value in zip(signs, trial.objective, strict=True)
        )
        for trial in table.complete
    }
    front: list[tuple[float, ...]] = []
    for score in sorted(set(scores.values()), reverse=True):  # only an earlier one may dominate
        if not any(_dominates(other, score) for other in reversed(front)):
            front.append(score)
    leading = set(front)
    return {number for number, score in scores.items() if score in leading}


def best_of(table: StudyTable) -> TrialRow | None:
    """Return the best complete trial of the study's own, None where none is complete."""
    first = next(iter(ranked(table)), None)
    return first if any(first is trial for trial in table.complete) else None


def last_values(trial: TrialRow) -> tuple[float, ...]:
    """Return a trial's objectives; for one that was stopped early, paused or interrupted, the last
    value that it reported.
    """
    if trial.objective or trial.state not in (State.PRUNED, State.PAUSED, State.INTERRUPTED):
        return trial.objective
    last = ranked_by(trial.history.get(max(trial.history, default=0), {}))
    return () if last is None else (last,)


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)


_REPLAYS = 2000


@dataclass(frozen=True)
class Confidence:
    """How certain the best trial's value is. `interval` is Wilson's, 95 %, for `images` validation
    images.
    """

    value: float
    images: int | None
    interval: tuple[float, float] | None
    noise: float | None  # standard deviation of one trial's value
    noise_source: str
    optimism: float | None  # expected excess of the winner's value over its true value
    rivals: tuple[int, ...]  # trials that the noise does not separate from the best


def assess(table: StudyTable, images: int | None, seed_noise: float | None = None) -> Confidence:
    """Assesses the best complete trial.

    images: validation images behind each value; seed_noise: standard deviation over seeds, where it
    was measured. Raises ValueError without a complete trial.
    """
    ranked = table.best_first
    if not ranked:
        raise ValueError("confidence: the study must have a complete trial, got none")
    best = ranked[0]
    is_share = table.metric in SHARES and all(0.0 <= trial.value <= 1.0 for trial in ranked)
    interval = wilson(best.value * images, images) if images and is_share else None
    noise, source = seed_noise, "measured over seeds"
    if noise is None and best.nets:
        noise = noise_of_means([trial.extra for trial in ranked])
        source = f"measured between the {len(best.nets)} nets of each trial"
    if noise is None and images and is_share:
        noise, source = (
            sampling_noise(best.value, images),
            f"the sampling error of {images} validation images",
        )
    if noise is None:
        return Confidence(best.value, images, interval, None, "", None, ())
    sign = 1.0 if table.directions[0] == "maximize" else -1.0
    values = np.array([sign * trial.value for trial in ranked])
    excess = optimism(values, noise)
    rivals = tuple(
        t.number for t in ranked[1:] if abs(t.value - best.value) < 1.96 * math.sqrt(2) * noise
    )
    return Confidence(best.value, images, interval, noise, source, excess, rivals)


def sampling_noise(value: float, images: int) -> float:
    """Return the standard deviation of a share of `images` images: sqrt(p (1 - p) / n)."""
    return math.sqrt(max(value * (1 - value), 1e-9) / images)


def optimism(values: Sequence[float] | np.ndarray, noise: float, *, seed: int = 0) -> float:
    """Expected excess of the largest of `values` over its true value, for noise of standard
    deviation `noise`.

    Only the better half is modelled: a few disasters would otherwise hide how close the leaders
    are.
    """
    observed = np.sort(np.asarray(values, dtype=float))[::-1]
    observed = observed[: max(2, (len(observed) + 1) // 2)]
    if len(observed) < 2:
        return 0.0
    spread = float(observed.var(ddof=1))
    kept = max(0.0, 1.0 - noise**2 / spread) if spread > 0 else 0.0
    truth = observed.mean() + math.sqrt(kept) * (observed - observed.mean())
    rng, excess = np.random.default_rng(seed), np.empty(_REPLAYS)
    for replay in range(_REPLAYS):  # one by one: of many trials all at once would not fit memory
        drawn = truth + noise * rng.standard_normal(len(truth))
        winner = int(drawn.argmax())
        excess[replay] = drawn[winner] - truth[winner]
    return float(excess.mean())
