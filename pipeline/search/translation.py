"""A configuration in the terms of another space: each value becomes the nearest of the parameter
with the same path; and how far two configurations are apart.
"""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.configuration.overrides import Value
from pipeline.search.branches import active
from pipeline.search.parameter import Parameter, is_number
from pipeline.search.space import Space
from pipeline.search.storage import holds

Params = dict[str, Value]  # by a parameter's name in a space


def translated(tried: Mapping[str, Any], space: Space) -> Params:
    """Return values by configuration path as parameters of a space, as far as it searches them and
    its conditions ask for them.
    """
    params: Params = {}
    for parameter in space.parameters:
        if parameter.path in tried and active(parameter, params):
            for value in _nearest(parameter, tried[parameter.path]):
                params[parameter.name] = value
    return params


def _nearest(parameter: Parameter, value: Any) -> list[Value]:
    """Return the value of the parameter's distribution that is nearest to `value`; none where
    nothing is near a word.
    """
    if parameter.kind in ("choice", "group"):
        truth = isinstance(value, bool)
        same = [c for c in parameter.choices if c == value and isinstance(c, bool) == truth]
        if not same and all(map(is_number, (value, *parameter.choices))):
            return [min(parameter.choices, key=lambda choice: abs(choice - value))]
        return same[:1]
    if not is_number(value):
        return []
    if holds(parameter.distribution(), value):
        return [int(value) if parameter.kind == "int" else float(value)]
    low, high = _ends(parameter)
    inside = min(max(float(value), low), high)
    if parameter.step is not None:
        inside = min(low + round((inside - low) / parameter.step) * parameter.step, high)
    return [round(inside) if parameter.kind == "int" else inside]


def _ends(parameter: Parameter) -> tuple[float, float]:
    low, high = parameter.ends()
    return float(low), float(high)  # type: ignore[arg-type]


def key_of(params: Mapping[str, Any]) -> tuple[tuple[str, type, Any], ...]:
    """Return what only equal configurations have in common; true is another value than 1."""
    return tuple((name, type(value), value) for name, value in sorted(params.items()))


def distance(first: Params, second: Params, space: Space) -> float:
    """Return in how many parameters two configurations differ, numbers by their share of the
    range.
    """
    total = 0.0
    for parameter in space.parameters:
        given = [params[parameter.name] for params in (first, second) if parameter.name in params]
        if len(given) == 1:
            total += 1.0
        elif given and given[0] != given[1]:
            total += _apart(parameter, *given)
    return total


def _apart(parameter: Parameter, first: Any, second: Any) -> float:
    if parameter.kind in ("choice", "group"):
        return 1.0
    low, high = _ends(parameter)
    if parameter.log:
        return abs(math.log(first / second)) / math.log(high / low)
    return abs(float(first) - float(second)) / (high - low)
