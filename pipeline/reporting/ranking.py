"""The one ranking of a study: which trial is the best, wherever that is asked."""

from collections.abc import Sequence
from typing import Any

from pipeline.events import State
from pipeline.reporting.table import StudyTable, TrialRow, confirmed_metrics

ENDED = (State.COMPLETE, State.PRUNED, State.FAIL)


def ranked(table: StudyTable) -> list[TrialRow]:
    """Return the ended trials, best first: those that `study.confirm` has confirmed in its order,
    other complete ones by objective (of two objectives: the Pareto front, then the first), then
    pruned ones by their last value, then failed ones; equal ones by number.
    """
    confirmed = list(confirmed_metrics(table.folder))
    front = front_of(table) if len(table.directions) > 1 else set()
    sign = -1.0 if table.directions[0] == "maximize" else 1.0

    def key(trial: TrialRow) -> tuple[Any, ...]:
        place = confirmed.index(trial.number) if trial.number in confirmed else len(confirmed)
        value = sign * values[0] if (values := last_values(trial)) else 0.0
        state = ENDED.index(State(trial.state))
        return (state, place, trial.number not in front, value, trial.number)

    return sorted((trial for trial in table.trials if trial.state in ENDED), key=key)


def front_of(table: StudyTable) -> set[int]:
    """Return the number of the best trial, or of two objectives those of the Pareto front; empty
    without a complete trial.
    """
    if len(table.directions) == 1:
        return {trial.number for trial in ranked(table)[:1] if trial.state == State.COMPLETE}
    signs = [1.0 if direction == "maximize" else -1.0 for direction in table.directions]
    scores = {
        trial.number: [sign * value for sign, value in zip(signs, trial.objective, strict=True)]
        for trial in table.complete
    }
    return {
        number
        for number, score in scores.items()
        if not any(_dominates(other, score) for other in scores.values())
    }


def best_of(table: StudyTable) -> TrialRow | None:
    """Return the best complete trial, None where none is complete."""
    first = next(iter(ranked(table)), None)
    return first if first is not None and first.state == State.COMPLETE else None


def last_values(trial: TrialRow) -> tuple[float, ...]:
    """Return a trial's objectives; of one that was stopped early, the last value it reported."""
    if trial.objective or trial.state != State.PRUNED:
        return trial.objective
    last = trial.history.get(max(trial.history, default=0), {}).get("valid_accuracy")
    return () if last is None else (last,)


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    pairs = list(zip(a, b, strict=True))
    return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)
