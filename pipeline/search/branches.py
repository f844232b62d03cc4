"""Branches of a space: which parameters are active for given values of the others."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from cnn_core.errors import InputError, did_you_mean
from pipeline.configuration.overrides import Value
from pipeline.search.parameter import Parameter

# Parameter name -> the values that satisfy the condition.
Condition = Mapping[str, tuple[Value, ...]]
MOST_BRANCHES = 64  # beyond this, each choice comes at least once, not every combination


def active(parameter: Parameter, values: Mapping[str, Value]) -> bool:
    """Tell whether the parameter is active, given these values of the others."""
    return all(
        name in values and values[name] in allowed for name, allowed in parameter.when.items()
    )


def branches(parameters: Sequence[Parameter]) -> Iterator[dict[str, Value]]:
    """Yield each distinct assignment of the deciding parameters (groups and those that conditions
    name), without the inactive ones.

    Yields every combination if there are at most MOST_BRANCHES; beyond that, each choice of each
    parameter at least once.
    """
    deciding = _deciding(parameters)
    if math.prod(len(parameter.choices) for parameter in deciding) <= MOST_BRANCHES:
        names = [parameter.name for parameter in deciding]
        wanted = [
            dict(zip(names, values, strict=True))
            for values in itertools.product(*(p.choices for p in deciding))
        ]
    else:
        wanted = [
            _reach(parameter, parameters) | {parameter.name: value}
            for parameter in deciding
            for value in parameter.choices
        ]
    seen: set[tuple[tuple[str, Value], ...]] = set()
    for chosen in wanted:
        branch: dict[str, Value] = {}
        for parameter in deciding:
            if active(parameter, branch):
                branch[parameter.name] = chosen.get(parameter.name, parameter.choices[0])
        if tuple(branch.items()) not in seen:
            seen.add(tuple(branch.items()))
            yield branch


def _deciding(parameters: Sequence[Parameter]) -> list[Parameter]:
    asked = {name for parameter in parameters for name in parameter.when}
    return [
        parameter
        for parameter in parameters
        if parameter.kind == "group" or parameter.name in asked
    ]


def _reach(parameter: Parameter, parameters: Sequence[Parameter]) -> dict[str, Value]:
    """Return values under which the parameter is active."""
    by_name = {item.name: item for item in parameters}
    values: dict[str, Value] = {}
    for name, allowed in parameter.when.items():
        values |= _reach(by_name[name], parameters) | {name: allowed[0]}
    return values


def check_condition(parameter: Parameter, parameters: Mapping[str, Parameter]) -> None:
    """Check that a `when` names choices or groups of the space, and values that they have. Raises
    InputError.
    """
    for name, allowed in parameter.when.items():
        if name not in parameters:
            raise InputError(
                f"space {parameter.name}: when must name a parameter of the space, got "
                f"{name!r}{did_you_mean(name, parameters)}"
            )
        other = parameters[name]
        if other.kind not in ("choice", "group"):
            raise InputError(
                f"space {parameter.name}: when must name a choice or a group, got {name!r}, which "
                f"is {other.kind}"
            )
        for value in allowed:
            if value not in other.choices:
                raise InputError(
                    f"space {parameter.name}: when must ask for a value of {name} "
                    f"({other.describe()}), got {value!r}"
                )


def in_order(parameters: Mapping[str, Parameter]) -> list[Parameter]:
    """Return the parameters in their written order, but each after those it depends on.

    Raises InputError for a cycle.
    """
    ordered: dict[str, Parameter] = {}

    def visit(parameter: Parameter, path: tuple[str, ...]) -> None:
        if parameter.name in path:
            raise InputError(
                f"space {parameter.name}: conditions must not form a circle, got "
                f"{' -> '.join((*path, parameter.name))}"
            )
        if parameter.name in ordered:
            return
        for name in parameter.when:
            visit(parameters[name], (*path, parameter.name))
        ordered.setdefault(parameter.name, parameter)

    for parameter in parameters.values():
        visit(parameter, ())
    return list(ordered.values())


def left_of(
    when: Condition, gone: Mapping[str, tuple[Value, ...]], conditions: Mapping[str, Condition]
) -> dict[str, tuple[Value, ...]] | None:
    """Return what remains of a condition when the `gone` parameters are fixed at one value or never
    active; None if it can never hold.
    """
    left: dict[str, tuple[Value, ...]] = {}
    for name, allowed in when.items():
        if name in gone and not set(gone[name]) & set(allowed):
            return None
        for other, values in (conditions[name] if name in gone else {name: allowed}).items():
            left[other] = tuple(value for value in left.get(other, values) if value in values)
            if not left[other]:
                return None
    return left
