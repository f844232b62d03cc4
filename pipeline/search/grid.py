"""Grid search over a space with conditions: every distinct configuration once, in an order that covers the space early.

Optuna's own GridSampler knows no conditions, holds the whole product in memory, and cannot be told of trials tried before.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from cnn_core.errors import InputError
from pipeline.configuration.overrides import Value
from pipeline.search.distributions import Parameter
from pipeline.search.space import Space

POINTS = 4  # of a parameter without steps or choices
MOST_STEPS = 12  # an integer range with more whole numbers is thinned to POINTS
MOST_POINTS = 100_000
POINT_KEY = "grid_point"

Point = dict[str, Value]


class PointSampler(BaseSampler):
    """Gives each trial the first point that no trial before had; stateless, what is taken stands in the study."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = points

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if POINT_KEY in trial.system_attrs or "fixed_params" in trial.system_attrs:
            return
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        taken = {t.system_attrs[POINT_KEY] for t in trials if POINT_KEY in t.system_attrs}
        free = next((index for index in range(len(self._points)) if index not in taken), len(self._points) - 1)
        study._storage.set_trial_system_attr(trial._trial_id, POINT_KEY, free)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        attributes = study._storage.get_trial_system_attrs(trial._trial_id)
        point = self._points[attributes.get(POINT_KEY, 0)]  # an enqueued trial that leaves parameters open takes the first point's
        return point.get(param_name, param_distribution.to_external_repr(_first(param_distribution)))


def grid(space: Space) -> list[Point]:
    """Return every distinct configuration of the space's grid, shuffled once and for all. Raises InputError beyond MOST_POINTS."""
    points = list(islice(_points(space.parameters, {}), MOST_POINTS + 1))
    if len(points) > MOST_POINTS:
        raise InputError(f"sampler: a grid may have at most {MOST_POINTS} points, got more; give fewer values or use sampler=random")
    order = np.random.default_rng(0).permutation(len(points))
    return [points[index] for index in order]


def _points(parameters: Sequence[Parameter], values: Mapping[str, Value]) -> Iterator[Point]:
    if not parameters:
        yield dict(values)
        return
    first, rest = parameters[0], parameters[1:]
    if not all(name in values and values[name] in allowed for name, allowed in first.when.items()):
        yield from _points(rest, values)
        return
    for value in grid_values(first):
        yield from _points(rest, {**values, first.name: value})


def grid_values(parameter: Parameter) -> list[Value]:
    """Return the values of one parameter that a grid tries: all choices or steps, else POINTS of its range, ends included."""
    if parameter.kind in ("choice", "group"):
        return list(parameter.choices)
    low, high = parameter.low, parameter.high
    whole = parameter.kind == "int"
    step = parameter.step or (1 if whole and not parameter.log and high - low < MOST_STEPS else None)
    if step is not None:
        values = [low + index * step for index in range(round((high - low) / step) + 1)]
        return [int(value) if whole else round(float(value), 12) for value in values]
    points = np.geomspace(low, high, POINTS) if parameter.log else np.linspace(low, high, POINTS)
    if whole:
        return [*sorted({round(float(point)) for point in points})]
    return [min(max(float(point), low), high) for point in points]


def _first(distribution: BaseDistribution) -> float:
    return float(getattr(distribution, "low", 0.0))
