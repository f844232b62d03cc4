"""What a sweep searches: parameters with conditions, read from YAML, suggested by Optuna, written as overrides."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution

from cnn_core.errors import InputError
from pipeline.configuration.compose import compose, parse_override
from pipeline.configuration.hints import did_you_mean
from pipeline.configuration.tree import Config
from pipeline.search.distributions import Parameter, Value, parse_parameter

MOST_BRANCHES = 64  # beyond it, each choice is checked once instead of with every other


@dataclass(frozen=True)
class Space:
    """Parameters in an order in which each stands after those that its `when` names."""

    parameters: tuple[Parameter, ...]

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> "Space":
        """Read a space such as ``{"model.filters": {"int": [8, 64], "log": True}}``. Raises InputError."""
        if not isinstance(mapping, Mapping):
            raise InputError(f"space: must be a mapping of keys to distributions, got {mapping!r}")
        parameters = {str(name): parse_parameter(str(name), line) for name, line in mapping.items()}
        for parameter in parameters.values():
            _check_condition(parameter, parameters)
        space = cls(tuple(_in_order(parameters)))
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
        """Return name -> Optuna's distribution, of every branch."""
        return {parameter.name: parameter.distribution() for parameter in self.parameters}

    def suggest(self, trial: optuna.trial.BaseTrial) -> list[str]:
        """Ask `trial` for the value of every active parameter; return the overrides, which give the same bits when composed."""
        values: dict[str, Value] = {}
        overrides: list[str] = []
        for parameter in self.parameters:
            if _active(parameter, values):
                value = _suggest_one(trial, parameter)
                values[parameter.name] = value
                overrides.append(parameter.override(value))
        return overrides

    def overrides_of(self, values: Mapping[str, Value]) -> list[str]:
        """Return the overrides of parameters as a study stores them, in the space's order."""
        return [parameter.override(values[parameter.name]) for parameter in self.parameters if parameter.name in values]

    def without(self, fixed: Mapping[str, Value]) -> "Space":
        """Return the space that is left when paths have fixed values: conditions on them are decided."""
        by_name = {parameter.name: parameter for parameter in self.parameters}
        gone: dict[str, tuple[Value, ...]] = {p.name: (fixed[p.path],) for p in self.parameters if p.path in fixed}
        kept: list[Parameter] = []
        for parameter in self.parameters:  # in order, so what a condition names is decided before
            if parameter.name in gone:
                continue
            if any(name in gone and not set(gone[name]) & set(values) for name, values in parameter.when.items()):
                gone[parameter.name] = ()  # never active: what depends on it is not either
                continue
            when = {name: values for name, values in parameter.when.items() if name not in gone and name in by_name}
            kept.append(replace(parameter, when=when))
        return Space(tuple(kept))

    def branches(self) -> Iterator[dict[str, Value]]:
        """Yield every combination of the values that conditions or groups depend on; beyond MOST_BRANCHES, each value at least once."""
        deciding = self._deciding()
        count = 1
        for parameter in deciding:
            count *= len(parameter.choices)
        if count <= MOST_BRANCHES:
            seen = set()
            for values in itertools.product(*(parameter.choices for parameter in deciding)):
                branch = self._complete(dict(zip((p.name for p in deciding), values, strict=True)))
                if tuple(branch.items()) not in seen:
                    seen.add(tuple(branch.items()))
                    yield branch
            return
        for parameter in deciding:
            for value in parameter.choices:
                yield self._complete(self._reach(parameter) | {parameter.name: value})

    def corners(self, *, dearest: bool) -> Iterator[list[str]]:
        """Yield, for every branch, the overrides with each other parameter at its first (or last) value."""
        for branch in self.branches():
            values = dict(branch)
            overrides = []
            for parameter in self.parameters:
                if not _active(parameter, values):
                    continue
                values.setdefault(parameter.name, parameter.ends()[1 if dearest else 0])
                overrides.append(parameter.override(values[parameter.name]))
            yield overrides

    def check(self, base: Sequence[str]) -> None:
        """Compose every branch at both ends with the user's overrides, so that a conflict is an error before the first trial.

        Raises InputError that names the branch.
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
                    raise InputError(f"{error}; in the branch {' '.join(overrides)} of the space") from error

    def enqueued(self, entries: Sequence[Sequence[str]]) -> tuple[list[dict[str, Value]], list[str]]:
        """Return the parameters of trials to try first, given as overrides, and a line for each entry or key that does not fit the space.

        Keys that are not searched are left out; an entry whose value lies outside its distribution is left out whole.
        """
        trials: list[dict[str, Value]] = []
        notes: list[str] = []
        for entry in entries:
            wanted = {override.key_or_group: override.value() for override in map(parse_override, entry)}
            values, problem = self._fit(wanted)
            unsearched = sorted(set(wanted) - self.paths)
            if problem:
                notes.append(f"study.enqueue: {' '.join(entry)} is left out: {problem}")
            elif values and values not in trials:
                trials.append(values)
                if unsearched:
                    notes.append(f"study.enqueue: {', '.join(unsearched)} left out of the first trial, not searched here")
        return trials, notes

    def fingerprint(self) -> dict[str, Any]:
        """Return the space as plain values: equal spaces, and only those, have equal fingerprints."""
        return {parameter.name: parameter.fingerprint() for parameter in self.parameters}

    def _fit(self, wanted: Mapping[str, Any]) -> tuple[dict[str, Value], str]:
        values: dict[str, Value] = {}
        for parameter in self.parameters:
            if not _active(parameter, values) or parameter.path not in wanted:
                continue
            distribution = parameter.distribution()
            try:
                fits = distribution._contains(distribution.to_internal_repr(wanted[parameter.path]))
            except (ValueError, TypeError):
                fits = False
            if not fits:
                return {}, f"{parameter.path}={wanted[parameter.path]} lies outside {parameter.describe()}"
            values[parameter.name] = wanted[parameter.path]
        return values, ""

    def _deciding(self) -> list[Parameter]:
        asked = {name for parameter in self.parameters for name in parameter.when}
        return [parameter for parameter in self.parameters if parameter.kind == "group" or parameter.name in asked]

    def _reach(self, parameter: Parameter) -> dict[str, Value]:
        """Return values under which the parameter is active."""
        by_name = {item.name: item for item in self.parameters}
        values: dict[str, Value] = {}
        for name, allowed in parameter.when.items():
            values |= self._reach(by_name[name]) | {name: allowed[0]}
        return values

    def _complete(self, chosen: Mapping[str, Value]) -> dict[str, Value]:
        """Return the chosen values that are active, and the first choice for every other deciding parameter."""
        values: dict[str, Value] = {}
        for parameter in self._deciding():
            if _active(parameter, values):
                values[parameter.name] = chosen.get(parameter.name, parameter.choices[0])
        return values

    def _check_paths(self) -> None:
        """Two parameters may set one path only in branches that exclude each other. Raises InputError."""
        for branch in self.branches():
            setter: dict[str, str] = {}
            for parameter in self.parameters:
                if not _active(parameter, branch):
                    continue
                if parameter.path in setter:
                    names = f"{setter[parameter.path]} and {parameter.name}"
                    raise InputError(
                        f"space {parameter.name}: one parameter must set {parameter.path} in each branch, got {names} in {branch}"
                    )
                setter[parameter.path] = parameter.name


def searched(config: Config) -> tuple[Space, list[str]]:
    """Return the space that the sweep searches, and a line for every searched path that the command line fixes.

    Raises InputError where nothing is left to search.
    """
    whole = Space.parse(config.space)
    given = {override.key_or_group: override.value() for override in map(parse_override, config.overrides)}
    fixed = {path: given[path] for path in sorted(whole.paths & set(given))}
    space = whole.without(fixed)
    if not space.parameters:
        rule = "must hold at least one parameter" if not whole.parameters else "must have a parameter that the command line leaves free"
        raise InputError(f"space: {rule}, got none; python -m pipeline.train trains a single configuration")
    return space, [f"{path}={value} is given, so the space does not search it" for path, value in fixed.items()]


def _suggest_one(trial: optuna.trial.BaseTrial, parameter: Parameter) -> Value:
    if parameter.kind == "int":
        return trial.suggest_int(parameter.name, int(parameter.low), int(parameter.high), step=int(parameter.step or 1), log=parameter.log)
    if parameter.kind == "float":
        return trial.suggest_float(parameter.name, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
    return trial.suggest_categorical(parameter.name, parameter.choices)  # type: ignore[no-any-return]


def _active(parameter: Parameter, values: Mapping[str, Value]) -> bool:
    return all(name in values and values[name] in allowed for name, allowed in parameter.when.items())


def _check_condition(parameter: Parameter, parameters: Mapping[str, Parameter]) -> None:
    for name, allowed in parameter.when.items():
        if name not in parameters:
            raise InputError(
                f"space {parameter.name}: when must name a parameter of the space, got {name!r}{did_you_mean(name, parameters)}"
            )
        other = parameters[name]
        if other.kind not in ("choice", "group"):
            raise InputError(f"space {parameter.name}: when must name a choice or a group, got {name!r}, which is {other.kind}")
        for value in allowed:
            if value not in other.choices:
                raise InputError(f"space {parameter.name}: when must ask for a value of {name} ({other.describe()}), got {value!r}")


def _in_order(parameters: Mapping[str, Parameter]) -> list[Parameter]:
    """Return parameters as written, each after those it depends on. Raises InputError for a circle."""
    ordered: dict[str, Parameter] = {}

    def visit(parameter: Parameter, path: tuple[str, ...]) -> None:
        if parameter.name in path:
            raise InputError(f"space {parameter.name}: conditions must not form a circle, got {' -> '.join((*path, parameter.name))}")
        for name in parameter.when:
            visit(parameters[name], (*path, parameter.name))
        ordered.setdefault(parameter.name, parameter)

    for parameter in parameters.values():
        visit(parameter, ())
    return list(ordered.values())
