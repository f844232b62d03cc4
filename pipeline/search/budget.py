"""``budget.minutes``: the choice of slots and epochs that fit, from real batches measured before
the first trial.
"""

import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cnn_core import training
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from pipeline.configuration import Config, compose, override
from pipeline.files import atomic_write_text
from pipeline.search.problem import Problem
from pipeline.search.promotion import rule_of
from pipeline.search.study_clock import StudyClock
from pipeline.slots.pool import spread
from pipeline.slots.slot import Slot
from pipeline.structured_text import read_json

SCREEN_STEPS = 2
SCREEN_S = 10.0  # limit for all branches together; the costliest come first
PROBE_STEPS, PROBES = 8, 3
PROBE_S = 6.0  # limit for each measurement
# Of a time budget, what measuring may take: for all branches of a space, and for each end of it.
SCREENED, PROBED = 0.03, 0.01
WANTED_TRIALS = 20
FEWEST_EPOCHS = 2  # unless that would leave no time for a whole trial
LONGEST = 0.4  # of the time, a trial: one is complete although the machine becomes twice as slow
HINDERED = 1.25  # so many times slower than if they shared one core, slots hinder each other
OUTSIDE = 0.03  # share of the time that is not training
KEPT = {
    "none": 1.0,
    "median": 0.6,
    "patient": 0.7,
    "successive_halving": 0.35,
    "hyperband": 0.5,
}  # share of the planned epochs that trials train under each pruner that ends them


@dataclass(frozen=True)
class TimePlan:
    """The slots, epochs and trials that fit the time budget."""

    slots: int
    epochs: int
    trials: int  # expected
    epoch_s: float  # of a typical configuration
    least_s: float = 0.0  # that the cheapest configuration needs to be complete
    least_epochs: int = 1  # its epochs then: all of them where they are fixed

    @property
    def is_sound(self) -> bool:
        """Tell whether it may have been read from a file that `calibrated` wrote."""
        counts = (self.slots, self.epochs, self.trials, self.least_epochs)
        seconds = (self.epoch_s, self.least_s)
        return all(isinstance(count, int) and 0 <= count < 10**9 for count in counts) and all(
            isinstance(s, int | float) and 0 <= s < math.inf for s in seconds
        )

    def line(self, minutes: float) -> str:
        """Return the plan as a line for the user."""
        return (
            f"{minutes:g} minutes: {self.slots} slot{'s' if self.slots > 1 else ''}, {self.epochs} "
            "epochs a trial "
            f"(about {self.epoch_s:.2g} s each), about {self.trials} trials"
        )


def calibrated(
    config: Config, problem: Problem, slots: Sequence[Slot], clock: StudyClock, *, fixed: bool
) -> tuple[Config, TimePlan | None]:
    """Return the configuration with the epochs that fit, and the plan; a study keeps the epochs and
    slots of its first plan, and one that was begun without a time budget has none. Epochs that are
    `fixed` stay: where they are not the study's, it is the study that must refuse them.

    Both ends of every branch of the space train a few real batches; then the cheapest and the
    costliest train some more, alone and in all slots at once. Raises InputError, with the least
    minutes that are needed, where not even one trial would be complete.
    """
    path = calibration_of(config)
    stored = _stored(path)
    if stored is None and config.paths.trials.exists():
        return config, None
    choice = stored or choose(config, problem, slots, clock, fixed=fixed)
    if stored is None:
        atomic_write_text(path, json.dumps(asdict(choice)) + "\n")
    if choice.epochs != config.train.epochs and not fixed:
        planned = compose(
            [*config.overrides, override("train.epochs", choice.epochs)],
            quiet=config.quiet,
            verbose=config.verbose,
        )
        config = replace(planned, invocation=config.invocation)
    return config, choice if stored is None else _as_it_is_now(config, choice, len(slots), clock)


def calibration_of(config: Config) -> Path:
    """Return the file of a study's first plan."""
    return config.paths.folder / "calibration.json"


def _as_it_is_now(config: Config, first: TimePlan, slots: int, clock: StudyClock) -> TimePlan:
    """Return a study's first plan with the slots that there are now, and the trials that were begun
    or still fit: it was made for the time of its own run.
    """
    count = min(first.slots, slots)
    begun = len(list(config.paths.trials.glob("*")))
    more = fitting(config, count, first.epoch_s, clock.left_s or 0.0, fixed=True).trials
    trials = begun + (more if clock.left_s else 0)
    return replace(first, slots=count, trials=min(trials, config.budget.trials or trials))


def choose(
    config: Config, problem: Problem, slots: Sequence[Slot], clock: StudyClock, *, fixed: bool
) -> TimePlan:
    """Measure, then choose slots and epochs and estimate the number of trials. Raises InputError
    for a budget that holds no trial.
    """
    images, whole_s = problem.training_images, clock.left_s
    assert whole_s is not None
    screened = screen(corners(problem), images, slots, min(SCREEN_S, SCREENED * whole_s))
    ends, probe_s = [screened[0], screened[-1]], min(PROBE_S, PROBED * whole_s)
    specs = [spec for spec, _ in ends]
    count, measured = len(slots), _ends_seconds(specs, images, slots, probe_s)
    if count > 1:
        alone = _ends_seconds(specs, images, slots[:1], probe_s)
        if _hindered(measured, alone, count):  # or another program came in between
            again = _ends_seconds(specs, images, slots, probe_s)
            measured = min(measured, again, key=geometric_mean)
            if _hindered(measured, alone, count):
                count, measured = 1, alone
    # Scaled from the two ends to all branches: a space of many costly branches and one cheap one
    # is costly.
    epoch_s = (
        geometric_mean(measured)
        * geometric_mean([cost for _, cost in screened])
        / geometric_mean([cost for _, cost in ends])
    )
    plan = fitting(config, count, epoch_s, clock.left_s or 0.0, fixed=fixed)
    least = plan.epochs if fixed else 1
    plan = replace(plan, least_s=least * min(measured), least_epochs=least)
    check_time(config, clock, plan)
    return plan


def _ends_seconds(
    specs: Sequence[Spec], images: int, slots: Sequence[Slot], limit_s: float
) -> list[float]:
    return [epoch_seconds(spec, images, slots, limit_s) for spec in specs]


def _hindered(together: Sequence[float], alone: Sequence[float], slots: int) -> bool:
    """Tell whether one slot alone clearly does more than all of them."""
    return geometric_mean(together) > HINDERED * slots * geometric_mean(alone)


def fitting(
    config: Config, slots: int, epoch_s: float, left_s: float, *, fixed: bool = False
) -> TimePlan:
    """Return the plan for the seconds that are left: as many epochs, up to those configured, as
    leave time for the trials that are wanted, and for one of them whatever comes.
    """
    epochs_in_all = left_s * slots * (1 - OUTSIDE) / epoch_s
    wanted = config.budget.trials or WANTED_TRIALS
    kept = kept_share(config, wanted)
    most = max(FEWEST_EPOCHS, int(epochs_in_all / (wanted * kept)))
    most = max(1, min(config.train.epochs, most, int(LONGEST * left_s / epoch_s)))
    epochs = config.train.epochs if fixed else most
    trials = max(1, int(epochs_in_all / (epochs * kept)))
    return TimePlan(slots, epochs, min(trials, config.budget.trials or trials), epoch_s)


def check_time(config: Config, clock: StudyClock, plan: TimePlan) -> None:
    """Refuse, by an InputError with the least minutes that are needed, a budget that does not leave
    time for the plan's cheapest trial.
    """
    least_s, epochs = plan.least_s / (1 - OUTSIDE), plan.least_epochs
    if least_s <= (clock.left_s or 0.0):
        return
    minutes = math.ceil((clock.used_s + least_s) / 0.6) / 100
    what = f"the cheapest trial's {epochs} epoch{'s' if epochs > 1 else ''}"
    raise InputError(
        f"budget.minutes: must leave time for {what}, which needs at least {minutes:g} minutes "
        f"here, got {config.budget.minutes:g}"
    )


def kept_share(config: Config, trials: int) -> float:
    """Return the share of the planned epochs that so many trials train under the pruner: computed
    where a rule pauses trials, a typical one where they end.
    """
    rule = rule_of(config.pruner, config.train.epochs)
    return KEPT.get(config.pruner.name, 1.0) if rule is None else rule.share(trials)


def corners(problem: Problem) -> list[Spec]:
    """Return the distinct configurations at both ends of every branch of the space, most
    multiply-adds first.
    """
    jobs = [
        problem.job(0, overrides)
        for dearest in (True, False)
        for overrides in problem.space.corners(dearest=dearest)
    ]
    unlike = {job.spec.digest(): job for job in jobs}.values()
    return [job.spec for job in sorted(unlike, key=lambda job: -job.extra["multiply_adds"])]


def screen(
    specs: Sequence[Spec], images: int, slots: Sequence[Slot], limit_s: float = SCREEN_S
) -> list[tuple[Spec, float]]:
    """Return the specs that could be timed within `limit_s`, cheapest first, each with the rough
    seconds of an epoch, from a step or two.
    """
    end = time.monotonic() + limit_s

    def cost(slot: Slot, spec: Spec) -> float | None:
        if time.monotonic() > end and spec is not specs[0]:
            return None
        timed_epoch(slot, shortened(spec, 1))  # the first step allocates
        return (
            timed_epoch(slot, shortened(spec, SCREEN_STEPS)) / SCREEN_STEPS * steps_of(spec, images)
        )

    costs = zip(specs, spread(cost, specs, slots), strict=True)
    return sorted(((spec, s) for spec, s in costs if s is not None), key=lambda pair: pair[1])


def timed_epoch(slot: Slot, spec: Spec) -> float:
    """Return the seconds of a new net's first epoch."""
    _, metrics = slot.call(training.train_epoch, spec, None, deadline_s=60.0)
    return metrics["epoch_s"]


def steps_of(spec: Spec, images: int) -> int:
    """Return the number of steps in an epoch."""
    return spec.train.steps_per_epoch or math.ceil(images / spec.train.batch_size)


def shortened(spec: Spec, steps: int) -> Spec:
    """Return the spec with an epoch of `steps` steps and one validation batch."""
    return replace(
        spec, train=replace(spec.train, steps_per_epoch=steps, eval_size=spec.train.batch_size)
    )


def epoch_seconds(
    spec: Spec, images: int, slots: Sequence[Slot], limit_s: float = PROBE_S
) -> float:
    """Return the seconds of an epoch of this spec when it runs in all these slots at once,
    estimated from some of its batches.
    """
    steps = steps_of(spec, images)
    return step_seconds(spec, min(PROBE_STEPS, steps), slots, limit_s) * steps


def step_seconds(spec: Spec, steps: int, slots: Sequence[Slot], limit_s: float = PROBE_S) -> float:
    """Return the seconds of a step when such nets train in all these slots at once, from a few
    epochs of so many `steps` in each, begun within `limit_s`.
    """
    probe = shortened(spec, steps)

    def timed(slot: Slot, _: Slot) -> float:
        timed_epoch(slot, shortened(spec, 1))  # the first step allocates
        times: list[float] = []
        end = time.monotonic() + limit_s
        while not times or (len(times) < PROBES and time.monotonic() < end):
            times.append(timed_epoch(slot, probe))
        return statistics.median(times) / steps

    return max(spread(timed, slots, slots))


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean: spaces are mostly logarithmic in cost."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _stored(path: Path) -> TimePlan | None:
    try:
        plan = TimePlan(**read_json(path))
        return plan if plan.is_sound else None
    except (OSError, ValueError, TypeError):
        return None
