"""A setting, declared once: a field's default, what it means, and which values it may have.

>>> @dataclass(frozen=True, kw_only=True)
... class TrainSpec:
...     epochs: int = setting(10, "epochs of a trial", low=1)
...
...     def __post_init__(self) -> None:
...         check_settings("train", self)

The configuration's sections, their ``--help`` and their checks follow from these fields.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, TypedDict, TypeVar, Unpack, get_args, get_origin, get_type_hints

from cnn_core.errors import InputError, did_you_mean

Made = TypeVar("Made")
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
A_LIST = "a list, such as [1,2]"


class Limits(TypedDict, total=False):
    """``low <= x <= high`` and ``above < x < below``."""

    low: float
    above: float
    high: float
    below: float


_LIMITS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "low": ("at least", operator.ge),
    "above": ("greater than", operator.gt),
    "high": ("at most", operator.le),
    "below": ("less than", operator.lt),
}


def setting(
    default: Any, about: str, *, choices: Sequence[str] = (), **limits: Unpack[Limits]
) -> Any:
    """Return a dataclass field that a user sets: `about` says what it means; a number must lie
    within `limits`, a text among `choices`, and so must every element of a list.

    Its type is a key of KINDS, that type or None, or a list or tuple of one.
    """
    metadata = {"about": about, "choices": choices, "limits": limits}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def check_settings(section: str, settings: object) -> None:
    """Check every field of a dataclass that `setting` made.

    Raises InputError, such as ``train.label_smoothing: must be at least 0 and less than 1, got
    1.5``; every number must be finite.
    """
    kind: Any = type(settings)
    for rule in _rules(kind):
        broken = rule.broken_by(getattr(settings, rule.name))
        if broken:
            raise InputError(f"{section}{'.' if section else ''}{rule.name}: {broken}")


def make_named(
    section: str, table: Mapping[str, type[Made]], settings: Mapping[str, object]
) -> Made:
    """Return what ``{"name": "adam", "lr": 0.001}`` describes: an instance of the table's class.

    Raises InputError for an unknown name or key, or a value out of range.
    """
    arguments = dict(settings)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in table:
        raise InputError(f"{section}.name: must be one of {', '.join(table)}, got {name!r}")
    known = [item.name for item in fields(table[name]) if item.init]  # type: ignore[arg-type]
    for key in arguments:
        if key not in known:
            raise InputError(f"{section}.{key}: {name} takes {', '.join(known)}, got {key!r}")
    return table[name](**arguments)


@dataclass(frozen=True)
class _Rule:
    """What one field may hold."""

    name: str
    kind: type  # of the value, or of a list's elements
    many: bool
    optional: bool
    limits: Mapping[str, float]
    choices: Sequence[str]

    def broken_by(self, value: Any) -> str | None:
        """Return what is required and what was received, or None where the value is valid."""
        if value is None and self.optional:
            return None
        if not self.many:
            return self._broken_by(value)
        if not isinstance(value, list | tuple):
            return f"must be {A_LIST}, got {value!r}"
        return next(filter(None, map(self._broken_by, value)), None)

    def _broken_by(self, value: Any) -> str | None:
        accepted = (int, float) if self.kind is float else self.kind
        if self.kind in KINDS and (
            not isinstance(value, accepted) or isinstance(value, bool) != (self.kind is bool)
        ):
            null = " or null" if self.optional else ""
            return f"must be {KINDS[self.kind]}{null}, got {value!r}"
        if isinstance(value, float) and not math.isfinite(value):
            return f"must be finite, got {value!r}"
        for name, limit in self.limits.items():
            if not _LIMITS[name][1](value, limit):
                return f"must be {self._sentence()}, got {value!r}"
        if self.choices and value not in self.choices:
            hint = did_you_mean(str(value), self.choices)
            return f"must be one of {', '.join(self.choices)}, got {value!r}{hint}"
        return None

    def _sentence(self) -> str:
        if self.limits.keys() == {"low", "high"}:
            return f"from {self.limits['low']:g} to {self.limits['high']:g}"
        return " and ".join(f"{_LIMITS[name][0]} {limit:g}" for name, limit in self.limits.items())


@cache
def _rules(kind: Any) -> tuple[_Rule, ...]:
    """Return the rules of a dataclass, read once."""
    hints = get_type_hints(kind)
    found = []
    for item in fields(kind):
        if "about" not in item.metadata:
            continue
        hint = hints[item.name]
        many = get_origin(hint) in (list, tuple)
        parts = [part for part in get_args(hint) or (hint,) if part is not type(None)]
        found.append(
            _Rule(
                item.name,
                parts[0],
                many,
                optional=type(None) in get_args(hint),
                limits=item.metadata["limits"],
                choices=item.metadata["choices"],
            )
        )
    return tuple(found)
