"""Laws of a schedule."""

import math
from collections.abc import Callable

from cnn_core.laws.hold import hold
from cnn_core.schedules import Schedule

TRAININGS = ((1, 1), (7, 3), (40, 40), (100, 10), (300, 7))  # steps, and steps an epoch


def factors_are_finite_and_not_negative(make: Callable[..., Schedule]) -> None:
    """At every step of short and long trainings, with and without a warm-up."""
    for total, per_epoch in TRAININGS:
        for warmup in (0.0, 0.1, 0.5):
            schedule = make(warmup=warmup)
            for step in range(total):
                factor = schedule(step, total, per_epoch)
                hold(
                    math.isfinite(factor) and factor >= 0,
                    f"the factor must be finite and at least 0, got {factor} at step {step} of "
                    f"{total}",
                )


def a_factor_depends_on_its_step_alone(make: Callable[..., Schedule]) -> None:
    """A training that was resumed goes on with the factors of one that was not."""
    for total, per_epoch in TRAININGS:
        whole, resumed = make(), make()
        factors = [whole(step, total, per_epoch) for step in range(total)]
        for step in reversed(range(total)):
            again = resumed(step, total, per_epoch)
            hold(again == factors[step], f"step {step} must give {factors[step]}, got {again}")


SCHEDULE_LAWS = (factors_are_finite_and_not_negative, a_factor_depends_on_its_step_alone)
