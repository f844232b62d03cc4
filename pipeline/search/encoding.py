"""Configurations of a space as points, for models that measure distances; and how one is drawn, or
another near it.

A number is its place in its range, from 0 to 1 (of its logarithm where it is searched so), and so
is a choice among numbers: its place in their order. A choice among words has a coordinate for each,
so that any two are as far apart as the ends of a range. A parameter that is not active stands in
the middle of its range.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.configuration.overrides import Value
from pipeline.search.branches import active
from pipeline.search.parameter import Parameter, is_number
from pipeline.search.space import Space
from pipeline.search.translation import Params

WORD = math.sqrt(0.5)  # the coordinate of the word that is chosen: two words are 1 apart
MIDDLE = 0.5
NEAR = 0.1  # standard deviation of a number's change, as a share of its range


class ParameterAxis(ABC):
    """The coordinates of one parameter."""

    size = 1  # how many

    @abstractmethod
    def write(self, value: Value | None, row: NDArray[np.float64]) -> None:
        """Write the coordinates of a value, None where the parameter is not active, to (size,)
        zeros.
        """

    @abstractmethod
    def at(self, place: float) -> Value:
        """Return the value at a place from 0 to 1, each as likely as the distribution has it."""

    @abstractmethod
    def other(self, value: Value, rng: Generator) -> Value:
        """Return another value near by, or the same where there is no other."""


class NumberAxis(ParameterAxis):
    """A range of numbers, whole or not, of their logarithm where it is searched so."""

    def __init__(self, parameter: Parameter) -> None:
        low, high = (float(end) for end in parameter.ends())  # type: ignore[arg-type]
        self._log, self._whole = parameter.log, parameter.kind == "int"
        self._least, self._most = low, high
        self._step = parameter.step or (1 if self._whole else None)
        # what is drawn evenly: whole numbers have the same room each
        room = 0.5 if self._whole else 0.0
        self._low, self._high = self._scaled(low - room), self._scaled(high + room)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self._log else value

    def write(self, value: Value | None, row: NDArray[np.float64]) -> None:
        row[0] = MIDDLE if value is None else self._place(value)

    def _place(self, value: Any) -> float:
        span = self._high - self._low
        return (self._scaled(value) - self._low) / span if span else MIDDLE

    def at(self, place: float) -> Value:
        if self._step is not None and not self._log:
            count = round((self._most - self._least) / self._step) + 1
            value = self._least + min(int(place * count), count - 1) * self._step
            return int(value) if self._whole else min(round(value, 12), self._most)
        inside = self._low + place * (self._high - self._low)
        value = math.exp(inside) if self._log else inside
        value = min(max(round(value) if self._whole else value, self._least), self._most)
        return int(value) if self._whole else value

    def other(self, value: Value, rng: Generator) -> Value:
        change = rng.normal(0, NEAR)
        moved = self.at(min(max(self._place(value) + change, 0.0), 1.0))
        if moved == value and self._step is not None:  # a step at least
            next_one = float(value) + math.copysign(self._step, change)  # type: ignore[arg-type]
            next_one = min(max(next_one, self._least), self._most)
            return int(next_one) if self._whole else round(next_one, 12)
        return moved


class OrderedAxis(ParameterAxis):
    """A choice among numbers: places in their order."""

    def __init__(self, parameter: Parameter) -> None:
        self._ordered: list[Any] = sorted(parameter.choices)
        self._order = {value: at for at, value in enumerate(self._ordered)}

    def write(self, value: Value | None, row: NDArray[np.float64]) -> None:
        last = max(1, len(self._ordered) - 1)
        row[0] = MIDDLE if value is None else self._order[value] / last

    def at(self, place: float) -> Value:
        found: Value = self._ordered[min(int(place * len(self._ordered)), len(self._ordered) - 1)]
        return found

    def other(self, value: Value, rng: Generator) -> Value:
        at = self._order[value] + (1 if rng.random() < 0.5 else -1)
        found: Value = self._ordered[min(max(at, 0), len(self._ordered) - 1)]
        return found


class WordAxis(ParameterAxis):
    """A choice among values without an order."""

    def __init__(self, parameter: Parameter) -> None:
        self._choices = parameter.choices
        self.size = len(self._choices)

    def write(self, value: Value | None, row: NDArray[np.float64]) -> None:
        for place, choice in enumerate(self._choices):
            if choice == value and type(choice) is type(value):  # true is another one than 1
                row[place] = WORD

    def at(self, place: float) -> Value:
        return self._choices[min(int(place * self.size), self.size - 1)]

    def other(self, value: Value, rng: Generator) -> Value:
        return self.at(rng.random())


def axis_of(parameter: Parameter) -> ParameterAxis:
    """Return the axis of a parameter."""
    if not parameter.choices:
        return NumberAxis(parameter)
    return OrderedAxis(parameter) if all(map(is_number, parameter.choices)) else WordAxis(parameter)


class Encoding:
    """The coordinates of a space."""

    def __init__(self, space: Space) -> None:
        self._parameters = space.parameters
        self._axes = {parameter.name: axis_of(parameter) for parameter in space.parameters}
        self._sizes = [axis.size for axis in self._axes.values()]
        self.parameter_of = np.repeat(np.arange(len(self._sizes)), self._sizes)

    def points(self, configurations: Sequence[Params]) -> NDArray[np.float64]:
        """Return the configurations as points, (n, coordinates)."""
        points = np.zeros((len(configurations), len(self.parameter_of)))
        ends = np.cumsum(self._sizes)
        for (name, axis), end in zip(self._axes.items(), ends, strict=True):
            rows = points[:, end - axis.size : end]
            for params, row in zip(configurations, rows, strict=True):
                axis.write(params.get(name), row)
        return points

    def draw(self, rng: Generator, given: Mapping[str, Value]) -> Params:
        """Return a configuration drawn from the space's distributions, with the values `given` as
        far as they are active.
        """
        params: Params = {}
        for parameter in self._parameters:
            if not parameter.when or active(parameter, params):
                name = parameter.name
                params[name] = given[name] if name in given else self._axes[name].at(rng.random())
        return params

    def near(self, params: Params, rng: Generator, given: Mapping[str, Value]) -> Params:
        """Return a configuration in which one parameter, and each other with a small chance, is
        another one near by; what depends on it is drawn. The values `given` take the place of the
        configuration's own.
        """
        changed, free = {**params, **given}, [name for name in params if name not in given]
        chances = rng.random(len(free)) < 1 / max(1, len(free))
        sure = int(rng.integers(len(free))) if free else 0
        for place, (name, chosen) in enumerate(zip(free, chances, strict=True)):
            if chosen or place == sure:
                changed[name] = self._axes[name].other(params[name], rng)
        return self.draw(rng, changed)
