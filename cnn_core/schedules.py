"""Learning-rate schedules: the factor of the optimizer's lr at each step.

A schedule is called with ``step`` from 0, the ``total_steps`` of the whole training and the
``steps_per_epoch``; every one may begin with a linear warm-up over ``warmup`` (a share of all
steps), during which its own factor is multiplied by (step + 1) / (warm-up steps).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from cnn_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Warm-up and checks; a subclass writes `factor`."""

    warmup: float = 0.0

    def __post_init__(self) -> None:
        self.require("warmup", 0 <= self.warmup < 1, "at least 0 and less than 1")

    def require(self, name: str, holds: bool, rule: str) -> None:
        """Raise InputError unless the rule holds; write rules so that nan breaks them."""
        if not holds:
            raise InputError(
                f"schedule.{name}: must be {rule}, got {getattr(self, name)} "
                f"({type(self).__name__.lower()})"
            )

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """Return the factor at `step` without the warm-up."""
        raise NotImplementedError(f"{type(self).__name__}.factor")

    def __call__(self, step: int, total_steps: int, steps_per_epoch: int = 1) -> float:
        """Return the factor at `step`, 0 <= step < total_steps."""
        rising = round(self.warmup * total_steps)
        start = (step + 1) / rising if step < rising else 1.0
        return start * self.factor(step, total_steps, steps_per_epoch)


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """1."""

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """``gamma^(epoch // every)``, epochs counted from 0."""

    gamma: float = 0.1
    every: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("gamma", 0 < self.gamma <= 1, "greater than 0 and at most 1")
        self.require("every", self.every >= 1, "at least 1 epoch")

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        return self.gamma ** (step // steps_per_epoch // self.every)


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """``gamma^epoch``, epochs counted from 0; the NumPy article's decay is gamma = 0.9."""

    gamma: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("gamma", 0 < self.gamma <= 1, "greater than 0 and at most 1")

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        return float(self.gamma ** (step // steps_per_epoch))


def _cosine(start: float, end: float, share: float) -> float:
    """Go from `start` to `end` along half a cosine as `share` goes from 0 to 1."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * min(max(share, 0.0), 1.0)))


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from 1 to `final` over the steps after the warm-up. Source: Loshchilov and
    Hutter (2017), equation 5, no restarts.
    """

    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("final", 0 <= self.final <= 1, "from 0 to 1")

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        rising = round(self.warmup * total_steps)
        return _cosine(1.0, self.final, (step - rising) / max(total_steps - rising, 1))


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """From `start` up to 1 over the first `warmup` of all steps, then down to `final`, both along
    half a cosine.

    Source: Smith and Topin (2018); departures: cosines instead of lines, and the momentum stays as
    it is.
    """

    warmup: float = 0.25
    start: float = 0.04
    final: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("start", 0 < self.start <= 1, "greater than 0 and at most 1")
        self.require("final", 0 <= self.final <= 1, "from 0 to 1")

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        rising = round(self.warmup * total_steps)
        if step < rising:
            return _cosine(self.start, 1.0, step / rising)
        return _cosine(1.0, self.final, (step - rising) / max(total_steps - 1 - rising, 1))

    def __call__(self, step: int, total_steps: int, steps_per_epoch: int = 1) -> float:
        """Return the factor; the warm-up is part of the cycle itself."""
        return self.factor(step, total_steps, steps_per_epoch)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "cosine": Cosine,
    "one_cycle": OneCycle,
}


def make_schedule(settings: Mapping[str, object]) -> Schedule:
    """Return the schedule of ``{"name": "cosine", ...}``; raise InputError for an unknown name, key
    or value out of range.
    """
    arguments = dict(settings)
    name = arguments.pop("name", None)
    if name not in SCHEDULES:
        raise InputError(f"schedule.name: must be one of {', '.join(SCHEDULES)}, got {name!r}")
    kind = SCHEDULES[str(name)]
    known = {f.name: f.type for f in fields(kind)}
    for key, value in arguments.items():
        if key not in known:
            raise InputError(f"schedule.{key}: {name} takes {', '.join(known)}, got {key!r}")
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or (known[key] is int and not isinstance(value, int))
        ):
            raise InputError(f"schedule.{key}: must be a number, got {value!r} ({name})")
    return kind(**arguments)  # type: ignore[arg-type]
