"""Learning-rate schedules: the factor of the optimizer's lr at each step.

A schedule is called with ``step`` from 0, the ``total_steps`` of the whole training and the
``steps_per_epoch``; every one may begin with a linear warm-up over ``warmup`` (a share of all
steps), during which its own factor is multiplied by (step + 1) / (warm-up steps).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cnn_core.field_checks import check_settings, make_named, setting


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The warm-up; a subclass adds its settings as fields and implements `factor`."""

    warmup: float = setting(0.0, "share of all steps in which the rate rises", low=0, below=1)

    def __post_init__(self) -> None:
        check_settings("schedule", self)

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

    gamma: float = setting(0.1, "factor at each fall", above=0, high=1)
    every: int = setting(10, "epochs from one fall to the next", low=1)

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        return self.gamma ** (step // steps_per_epoch // self.every)


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """``gamma^epoch``, epochs counted from 0; the NumPy article's decay is gamma = 0.9."""

    gamma: float = setting(0.9, "factor of each epoch", above=0, high=1)

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

    final: float = setting(0.0, "factor at the end", low=0, high=1)

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

    warmup: float = setting(0.25, "share of all steps in which the rate rises", low=0, below=1)
    start: float = setting(0.04, "factor at the beginning", above=0, high=1)
    final: float = setting(1e-4, "factor at the end", low=0, high=1)

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
    return make_named("schedule", SCHEDULES, settings)
