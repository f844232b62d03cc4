"""A study's trials and a trial's epochs as pandas tables."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.configuration.overrides import Value, parse_override
from pipeline.events import State
from pipeline.reporting.best_trials import last_values
from pipeline.reporting.table import TrialRow


def params_of(trial: TrialRow) -> dict[str, Value]:
    """Return what the search chose for a trial, by configuration path, such as optimizer.lr."""
    if not trial.overrides:  # not a trial of a sweep's own
        return dict(trial.suggested)
    chosen = map(parse_override, trial.overrides)
    return {override.key_or_group: override.value() for override in chosen}  # type: ignore[misc]


def trials_frame(trials: Sequence[TrialRow], objectives: Sequence[str]) -> pd.DataFrame:
    """Return a row a trial: number, state, objectives (for a pruned trial the last value that it
    reported, for others without one nan), epochs, seconds, then a column a searched path; where
    trials have several nets also the standard deviation between them, and the value of each.
    """
    rows = []
    for trial in trials:
        values = [*last_values(trial), *[math.nan] * len(objectives)]
        rows.append(
            {
                "number": trial.number,
                "state": str(State(trial.state)),
                **dict(zip(objectives, values, strict=False)),
                **_spread(trial),
                "epochs": trial.epochs,
                "seconds": trial.duration_s,
                **params_of(trial),
            }
        )
    return pd.DataFrame(rows, columns=None if rows else _columns(objectives))


def _spread(trial: TrialRow) -> dict[str, float | list[float]]:
    return {} if trial.std is None else {"std": trial.std, "nets": trial.nets}


def _columns(objectives: Sequence[str]) -> list[str]:
    return ["number", "state", *objectives, "epochs", "seconds"]


def history_frame(history: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """Return a row an epoch, counted from 1 by the index, and a column a metric."""
    index = pd.RangeIndex(1, len(history) + 1, name="epoch")
    return pd.DataFrame(list(history), index=index).drop(columns="epoch", errors="ignore")
