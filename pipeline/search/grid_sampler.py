"""The grid of a space, and a sampler that tries each of its points once.

A point is taken when a trial of the study has its values, whatever asked for that trial and
however it ended: a point that was enqueued, drawn at random before, taken over from another study
or has failed is not tried again.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from cnn_core.errors import InputError
from pipeline.configuration.overrides import Value
from pipeline.reporting.foreign_trials import FORKED_FROM
from pipeline.search.parameter import Parameter
from pipeline.search.space import Space
from pipeline.search.storage import all_trials, note, notes_of

POINTS = 4  # on the grid, of a parameter without steps or choices
MOST_STEPS = 12  # an integer range with more values is thinned to POINTS
MOST_POINTS = 100_000
POINT_KEY = "grid_point"  # note on a trial: the point from which its values are
FIXED = "fixed_params"  # Optuna's note on an enqueued trial: the values that it was given
SAME = 1e-9  # relative: a value as typed, and as computed between the ends of a range

Point = dict[str, Value]
Places = frozenset[tuple[str, int]]  # parameters with the places of their values on the grid


class Grid:
    """The points of a space's grid, by number, and which of them the trials of a study take."""

    def __init__(self, space: Space) -> None:
        self.points = grid(space)
        self._values = {parameter.name: grid_values(parameter) for parameter in space.parameters}
        self._places = [self._places_of(point) or frozenset() for point in self.points]
        self._numbers = {places: number for number, places in enumerate(self._places)}

    def taken(self, trials: Iterable[FrozenTrial]) -> set[int]:
        """Return the points that trials have, or are to have as soon as they are asked for."""
        found = (
            trial.system_attrs[POINT_KEY]
            if POINT_KEY in trial.system_attrs
            else self._number_of(_given(trial))
            for trial in trials
        )
        return {number for number in found if number is not None}

    def free(self, taken: Set[int], fixed: Mapping[str, Value]) -> int | None:
        """Return the first point not taken that has the values `fixed`; None if there is none."""
        wanted = self._places_of(fixed)
        if wanted is None:
            return None
        numbers = range(len(self.points))
        return next((n for n in numbers if n not in taken and wanted <= self._places[n]), None)

    def to_come(self, trials: Sequence[FrozenTrial], first: Sequence[Mapping[str, Value]]) -> int:
        """Return how many trials are still to be trained: those in the queue, those of `first` that
        were not asked for yet, and one for each point that none of these takes.
        """
        waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
        queued = [trial.system_attrs.get(FIXED, {}) for trial in waiting if not trial.params]
        rest, taken = _not_asked(trials, first), self.taken(trials)
        for fixed in (*queued, *rest):
            number = self.free(taken, fixed)
            taken |= set() if number is None else {number}
        return len(waiting) + len(rest) + len(self.points) - len(taken)

    def _number_of(self, params: Mapping[str, Value]) -> int | None:
        places = self._places_of(params)
        return None if places is None else self._numbers.get(places)

    def _places_of(self, params: Mapping[str, Value]) -> Places | None:
        """Return the places of values on the grid; None if one is not on it."""
        places = {name: self._place_of(name, value) for name, value in params.items()}
        found = frozenset((name, place) for name, place in places.items() if place is not None)
        return found if len(found) == len(places) else None

    def _place_of(self, name: str, value: Value) -> int | None:
        values = self._values.get(name, [])
        if value in values:
            return values.index(value)
        near = (place for place, other in enumerate(values) if _same(value, other))
        return next(near, None)


class PointSampler(BaseSampler):
    """Gives each trial the first point that no other trial has; stateless: the study holds which
    points are taken. Values that an enqueued trial leaves open are those of the first such point
    that has the others.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        if trial.params or POINT_KEY in trial.system_attrs:  # it was interrupted
            return
        others = (other for other in all_trials(study) if other.number != trial.number)
        number = self._grid.free(self._grid.taken(others), trial.system_attrs.get(FIXED, {}))
        if number is not None:
            note(study, trial, POINT_KEY, number)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        # An enqueued trial whose values are on no point takes those that it leaves open from one.
        number = notes_of(study, trial).get(POINT_KEY, 0)
        if not 0 <= number < len(self._grid.points):
            raise InputError(
                f"study {study.study_name!r}: trial {trial.number} must have one of the "
                f"{len(self._grid.points)} points of its grid, got number {number}"
            )
        point = self._grid.points[number]
        return point.get(
            param_name, param_distribution.to_external_repr(_first(param_distribution))
        )


def grid(space: Space) -> list[Point]:
    """Return every distinct configuration of the space's grid, in a fixed shuffled order. Raises
    InputError beyond MOST_POINTS.
    """
    points = list(islice(_points(space.parameters, {}), MOST_POINTS + 1))
    if len(points) > MOST_POINTS:
        raise InputError(
            f"sampler: a grid may have at most {MOST_POINTS} points, got more; give fewer values "
            "or use sampler=random"
        )
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
    """Return the values of one parameter that a grid tries: all choices or steps, else POINTS of
    its range, ends included.
    """
    if parameter.kind in ("choice", "group"):
        return list(parameter.choices)
    low, high = parameter.low, parameter.high
    whole = parameter.kind == "int"
    step = parameter.step or (
        1 if whole and not parameter.log and high - low < MOST_STEPS else None
    )
    if step is not None:
        values = [low + index * step for index in range(round((high - low) / step) + 1)]
        return [int(value) if whole else round(float(value), 12) for value in values]
    points = np.geomspace(low, high, POINTS) if parameter.log else np.linspace(low, high, POINTS)
    if whole:
        return [*sorted({round(float(point)) for point in points})]
    return [*dict.fromkeys(min(max(float(point), low), high) for point in points)]


def _first(distribution: BaseDistribution) -> float:
    return float(getattr(distribution, "low", 0.0))


def _given(trial: FrozenTrial) -> Mapping[str, Value]:
    """Return a trial's values; those that it was given before it is asked for."""
    given: Mapping[str, Value] = trial.params or trial.system_attrs.get(FIXED, {})
    return given


def _not_asked(
    trials: Sequence[FrozenTrial], first: Sequence[Mapping[str, Value]]
) -> Sequence[Mapping[str, Value]]:
    """Return which of `first` are still to be asked for: they follow the trials taken over, which
    may be some of them.
    """
    over = [trial.params for trial in trials if FORKED_FROM in trial.user_attrs]
    own = [params for params in first if not any(params.items() <= p.items() for p in over)]
    return own[len(trials) - len(over) :]


def _same(value: Value, other: Value) -> bool:
    if not (isinstance(value, int | float) and isinstance(other, float)):
        return False
    return math.isclose(value, other, rel_tol=SAME)
