"""What a sweep searches: parameters with conditions, read from YAML, suggested by Optuna, written
as overrides.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from cnn_core.errors import InputError
from pipeline.configuration.compose import compose
from pipeline.configuration.overrides import Value, parse_override
from pipeline.configuration.tree import Config
from pipeline.search.branches import Condition, active, branches, check_condition, in_order, left_of
from pipeline.search.parameter import Parameter, parse_parameter
from pipeline.search.reach import check_paths, hard_to_compare
from pipeline.search.storage import holds


@dataclass(frozen=True)
class Space:
    """Parameters, each after those that its `when` names."""

    parameters: tuple[Parameter, ...]

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> "Space":
        """Read a space such as ``{"model.filters": {"int": [8, 64], "log": True}}``. Raises
        InputError.
        """
        if not isinstance(mapping, Mapping):
            raise InputError(f"space: must be a mapping of keys to distributions, got {mapping!r}")
        parameters = {str(name): parse_parameter(str(name), line) for name, line in mapping.items()}
        for parameter in parameters.values():
            check_condition(parameter, parameters)
        space = cls(tuple(in_order(parameters)))
        space._check_paths()
        return space

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def paths(self) -> frozenset[str]:
        """The keys of the configuration that are searched."""
        return frozenset(parameter.path for parameter in self.parameters)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions by parameter name, over all branches."""
        return {parameter.name: parameter.distribution() for parameter in self.parameters}

    def suggest(self, trial: optuna.trial.BaseTrial) -> list[str]:
        """Ask `trial` for the value of every active parameter; return the overrides, which restore
        the values bit for bit when composed.
        """
        values: dict[str, Value] = {}
        overrides: list[str] = []
        for parameter in self.parameters:
            if active(parameter, values):
                value = _suggest_one(trial, parameter)
                values[parameter.name] = value
                overrides.append(parameter.override(value))
        return overrides

    def overrides_of(self, values: Mapping[str, Value]) -> list[str]:
        """Return the overrides of parameters as a study stores them, in the space's order."""
        return [
            parameter.override(values[parameter.name])
            for parameter in self.parameters
            if parameter.name in values
        ]

    def without(self, fixed: Mapping[str, Value]) -> "Space":
        """Return the space that remains when paths have fixed values, with conditions on them
        resolved.

        What depended on a fixed parameter depends on that parameter's own conditions.
        """
        gone: dict[str, tuple[Value, ...]] = {
            p.name: (fixed[p.path],) for p in self.parameters if p.path in fixed
        }
        conditions: dict[str, Condition] = {}  # of the fixed parameters, on those that remain
        kept: list[Parameter] = []
        for parameter in self.parameters:  # in order: what a condition names comes first
            when = left_of(parameter.when, gone, conditions)
            if when is None:
                gone[parameter.name] = ()  # never active, so neither is what depends on it
            elif parameter.name in gone:
                conditions[parameter.name] = when
            else:
                kept.append(replace(parameter, when=when))
        return Space(tuple(kept))

    def branches(self) -> Iterator[dict[str, Value]]:
        """Yield the branches of the space: values of its deciding parameters (see
        `pipeline.search.branches`).
        """
        return branches(self.parameters)

    def corners(self, *, dearest: bool) -> Iterator[list[str]]:
        """Yield, for every branch, the overrides with each other parameter at its first (or last)
        value.
        """
        for branch in self.branches():
            values = dict(branch)
            overrides = []
            for parameter in self.parameters:
                if not active(parameter, values):
                    continue
                values.setdefault(parameter.name, parameter.ends()[1 if dearest else 0])
                overrides.append(parameter.override(values[parameter.name]))
            yield overrides

    def check(self, base: Sequence[str]) -> None:
        """Compose every branch at both ends with the user's overrides, so that a conflict is an
        error before the first trial.

        Raises InputError naming the branch.
        """
        done: set[tuple[str, ...]] = set()
        for dearest in (False, True):
            for overrides in self.corners(dearest=dearest):
                if tuple(overrides) in done:
                    continue
                done.add(tuple(overrides))
                try:
                    compose([*base, *overrides])
                except InputError as error:
                    raise InputError(
                        f"{error}; in the branch {' '.join(overrides)} of the space"
                    ) from error

    def enqueued(
        self, entries: Sequence[Sequence[str]]
    ) -> tuple[list[dict[str, Value]], list[str]]:
        """Return the parameters of the trials to try first, given as overrides, and a line for each
        entry or key that does not fit the space.

        Keys that are not searched are dropped; an entry with a value outside its distribution is
        dropped as a whole.
        """
        trials: list[dict[str, Value]] = []
        notes: list[str] = []
        for entry in entries:
            wanted = {
                override.key_or_group: override.value() for override in map(parse_override, entry)
            }
            values, problem = self._fit(wanted)
            unsearched = sorted(set(wanted) - self.paths)
            if problem:
                notes.append(f"study.enqueue: {' '.join(entry)} is left out: {problem}")
            elif values and values not in trials:
                trials.append(values)
                left_out = f"{', '.join(unsearched)} left out of the first trial, not searched here"
                if unsearched and f"study.enqueue: {left_out}" not in notes:
                    notes.append(f"study.enqueue: {left_out}")
        return trials, notes

    def fingerprint(self) -> dict[str, Any]:
        """Return the space as plain values: equal for equal spaces, and only for those."""
        return {parameter.name: parameter.fingerprint() for parameter in self.parameters}

    def _fit(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Value], str]:
        values: dict[str, Value] = {}
        for parameter in self.parameters:
            if not active(parameter, values) or parameter.path not in wanted:
                continue
            if not holds(parameter.distribution(), wanted[parameter.path]):
                return (
                    {},
                    f"{parameter.path}={wanted[parameter.path]} lies outside "
                    f"{parameter.describe()}",
                )
            values[parameter.name] = wanted[parameter.path]
        return values, ""

    def _check_paths(self) -> None:
        """Check that no two parameters of a branch set the same path. Raises InputError."""
        for branch in self.branches():
            setter: dict[str, str] = {}
            for parameter in self.parameters:
                if not active(parameter, branch):
                    continue
                if parameter.path in setter:
                    names = f"{setter[parameter.path]} and {parameter.name}"
                    raise InputError(
                        f"space {parameter.name}: one parameter must set {parameter.path} in each "
                        f"branch, got {names} in {branch}"
                    )
                setter[parameter.path] = parameter.name


def searched(config: Config) -> tuple[Space, list[str]]:
    """Return the space that the sweep searches, and a line for every searched path that the command
    line fixes or that makes trials hard to compare.

    Raises InputError where nothing is left to search, or where no trial would use a path.
    """
    whole = Space.parse(config.space)
    check_paths(whole.parameters)
    given = {
        override.key_or_group: override.value()
        for override in map(parse_override, config.overrides)
    }
    fixed: dict[str, Any] = {path: given[path] for path in sorted(whole.paths & set(given))}
    space = whole.without(fixed)
    if not space.parameters:
        rule = (
            "must hold at least one parameter"
            if not whole.parameters
            else "must have a parameter that the command line leaves free"
        )
        raise InputError(
            f"space: {rule}, got none; python -m pipeline.train trains a single configuration"
        )
    remarks = [
        f"{path}={value} is given, so the space does not search it" for path, value in fixed.items()
    ]
    return space, [*remarks, *hard_to_compare(space.paths)]


def _suggest_one(trial: optuna.trial.BaseTrial, parameter: Parameter) -> Value:
    if parameter.kind == "int":
        return trial.suggest_int(
            parameter.name,
            int(parameter.low),
            int(parameter.high),
            step=int(parameter.step or 1),
            log=parameter.log,
        )
    if parameter.kind == "float":
        return trial.suggest_float(
            parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
        )
    return trial.suggest_categorical(parameter.name, parameter.choices)
