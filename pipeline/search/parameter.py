"""One searched value: what it may be, when it is active, and how its value is written as an
override.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from cnn_core.errors import InputError, did_you_mean
from pipeline.configuration.overrides import Value, literal, override

KINDS = ("int", "float", "choice", "group")
MOST_WHOLE, MOST_REAL = 2**53, 1e300  # what a float holds exactly; a range that is finite
MOST_STEPS = 10**6  # of real numbers: more are no steps
OPTIONS = ("path", "step", "log", "when")


@dataclass(frozen=True)
class Parameter:
    """A line of a space: its name in the study, the key it sets, its distribution, and the
    conditions under which it is active.
    """

    name: str
    path: str
    kind: str  # int | float | choice | group
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    choices: tuple[Value, ...] = ()
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def distribution(self) -> BaseDistribution:
        """Return the distribution in Optuna's terms."""
        if self.kind == "int":
            return IntDistribution(
                int(self.low), int(self.high), log=self.log, step=int(self.step or 1)
            )
        if self.kind == "float":
            return FloatDistribution(self.low, self.high, log=self.log, step=self.step)
        return CategoricalDistribution(self.choices)

    def override(self, value: Value) -> str:
        """Return ``path=value`` such that composing it restores the value bit for bit."""
        return override(self.path, value)

    def ends(self) -> tuple[Value, Value]:
        """Return the first and last value: low and high, or the first and last choice."""
        if self.kind == "int":
            last = self.low + (self.high - self.low) // int(self.step or 1) * int(self.step or 1)
            return int(self.low), int(last)
        if self.kind == "float":
            return self.low, self.high
        return self.choices[0], self.choices[-1]

    def describe(self) -> str:
        """Return the distribution in a few characters: ``8 ... 64, log``, ``xavier | he``."""
        if self.kind in ("choice", "group"):
            return " | ".join(literal(value) for value in self.choices)
        words = f"{self.low:g} ... {self.high:g}"
        return (
            words + (f", step {self.step:g}" if self.step else "") + (", log" if self.log else "")
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return the parameter as plain values, floats exact."""
        plain: dict[str, Any] = {"path": self.path, "kind": self.kind}
        if self.kind in ("choice", "group"):
            plain["choices"] = list(self.choices)
        else:
            plain |= {"low": self.low, "high": self.high, "step": self.step, "log": self.log}
        return plain | {"when": {name: list(values) for name, values in sorted(self.when.items())}}


def parse_parameter(name: str, line: Any) -> Parameter:
    """Read one line of a space. Raises InputError with the rule and the values."""
    place = f"space {name}"
    if not isinstance(line, Mapping):
        raise InputError(
            f"{place}: must be a mapping such as {{int: [8, 64], log: true}}, got {line!r}"
        )
    words = [str(word) for word in line]
    for word in words:
        if word not in KINDS + OPTIONS:
            raise InputError(
                f"{place}: must be made of {', '.join(KINDS + OPTIONS)}, got "
                f"{word!r}{did_you_mean(word, KINDS + OPTIONS)}"
            )
    kinds = [word for word in words if word in KINDS]
    if len(kinds) != 1:
        raise InputError(
            f"{place}: must have exactly one of {', '.join(KINDS)}, got "
            f"{' and '.join(kinds) or 'none'}"
        )
    kind = kinds[0]
    path = line.get("path", name)
    if not isinstance(path, str) or not path:
        raise InputError(f"{place}: path must be a key of the configuration, got {path!r}")
    when = _parse_when(place, line.get("when"))
    if kind in ("choice", "group"):
        extra = [word for word in ("step", "log") if word in words]
        if extra:
            raise InputError(f"{place}: {extra[0]} belongs to int and float, got {kind}")
        return Parameter(
            name, path, kind, choices=_parse_choices(place, kind, line[kind]), when=when
        )
    low, high = _parse_range(place, kind, line[kind])
    step, log = _parse_step_log(place, kind, line, low, high)
    return Parameter(name, path, kind, low, high, step, log, when=when)


def _parse_choices(place: str, kind: str, given: Any) -> tuple[Value, ...]:
    if not isinstance(given, list | tuple) or not given:
        raise InputError(f"{place}: {kind} must be a list with at least one entry, got {given!r}")
    # Optuna's categories are scalars: a list is stored as its JSON text, which is also how the
    # override writes it.
    try:
        choices = tuple(json.dumps(v) if isinstance(v, list | tuple) else v for v in given)
    except (TypeError, ValueError, RecursionError):
        raise InputError(f"{place}: {kind} must hold plain values, got {given!r:.80}") from None
    for item in choices:
        if not isinstance(item, str | int | float | bool | None):
            raise InputError(f"{place}: {kind} must hold plain values, got {item!r}")
        if isinstance(item, float) and not math.isfinite(item):
            raise InputError(f"{place}: {kind} must hold finite numbers, got {item!r}")
        if kind == "group" and not isinstance(item, str):
            raise InputError(f"{place}: group must hold names of files, got {item!r}")
    if len({(type(item), item) for item in choices}) != len(choices):
        raise InputError(f"{place}: {kind} must name each value once, got {list(choices)}")
    return choices


def is_number(value: Any) -> bool:
    """Tell whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parse_range(place: str, kind: str, given: Any) -> tuple[float, float]:
    if (
        not isinstance(given, list | tuple)
        or len(given) != 2
        or not all(is_number(value) for value in given)
    ):
        raise InputError(f"{place}: {kind} must be [low, high], two numbers, got {given!r}")
    low, high = given
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{place}: low and high must be finite, got low={low}, high={high}")
    if kind == "int" and (int(low) != low or int(high) != high):
        raise InputError(f"{place}: low and high must be whole numbers, got low={low}, high={high}")
    if low > high:
        raise InputError(f"{place}: low <= high must hold, got low={low}, high={high}")
    if max(abs(low), abs(high)) > (MOST_WHOLE if kind == "int" else MOST_REAL):
        raise InputError(
            f"{place}: low and high must be at most {MOST_WHOLE} where whole, else {MOST_REAL:g}, "
            f"got low={low}, high={high}"
        )
    return (int(low), int(high)) if kind == "int" else (float(low), float(high))


def _parse_step_log(
    place: str, kind: str, line: Mapping[str, Any], low: float, high: float
) -> tuple[float | None, bool]:
    step, log = line.get("step"), line.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{place}: log must be true or false, got {log!r}")
    if log and low <= 0:
        raise InputError(
            f"{place}: low > 0 must hold where log is true, got low={low}, high={high}"
        )
    if step is None:
        return None, log
    if (
        not is_number(step)
        or not math.isfinite(step)
        or step <= 0
        or (kind == "int" and int(step) != step)
    ):
        raise InputError(
            f"{place}: step must be a {'whole ' if kind == 'int' else ''}number greater than 0, "
            f"got {step!r}"
        )
    if log:
        raise InputError(f"{place}: step and log exclude each other, got step={step}, log=true")
    most = MOST_WHOLE if kind == "int" else MOST_STEPS
    if not (high - low) / step <= most:
        raise InputError(
            f"{place}: there may be at most {most} steps, got low={low}, high={high}, step={step}; "
            "leave step out"
        )
    # In decimals, as Optuna does: what was written counts, not how binary numbers round it.
    lowest, highest, apart = (Decimal(str(value)) for value in (low, high, step))
    if (highest - lowest) % apart:
        raise InputError(
            f"{place}: high - low must be a multiple of step, got low={low}, high={high}, "
            f"step={step}"
        )
    return (int(step) if kind == "int" else float(step)), log


def _parse_when(place: str, given: Any) -> dict[str, tuple[Value, ...]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not given:
        raise InputError(
            f"{place}: when must be a mapping such as {{optimizer: adam}}, got {given!r}"
        )
    return {
        str(name): tuple(values) if isinstance(values, list | tuple) else (values,)
        for name, values in given.items()
    }
