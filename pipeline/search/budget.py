"""``budget.minutes``: a study's clock across all its runs and, if no number of trials is given, the
choice of slots and epochs that fit.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cnn_core import training
from cnn_core.spec import Spec
from pipeline.configuration import Config, compose, override
from pipeline.files import atomic_write_text
from pipeline.search.problem import Problem
from pipeline.search.promotion import rule_of
from pipeline.slots.pool import spread
from pipeline.slots.slot import Slot

SAVE_EVERY_S = 5.0  # a killed coordinator loses at most this much


class StudyClock:
    """Counts the seconds that a study has run; no limit if `minutes` is None."""

    def __init__(self, path: Path, minutes: float | None) -> None:
        self._path = path
        self._limit_s = None if minutes is None else minutes * 60
        self._before_s = _read(path)
        self._start = time.monotonic()
        self._saved = self._start

    @property
    def used_s(self) -> float:
        """Seconds used by this and earlier runs."""
        return self._before_s + time.monotonic() - self._start

    @property
    def left_s(self) -> float | None:
        """Seconds left of the budget, 0 when it is used up; None without a limit."""
        return None if self._limit_s is None else max(0.0, self._limit_s - self.used_s)

    def save(self, *, now: bool = False) -> None:
        """Save the seconds used, if `now` or the last save is SAVE_EVERY_S old."""
        if now or time.monotonic() - self._saved >= SAVE_EVERY_S:
            self._saved = time.monotonic()
            atomic_write_text(self._path, json.dumps({"used_s": round(self.used_s, 3)}) + "\n")


def _read(path: Path) -> float:
    try:
        return float(json.loads(path.read_text())["used_s"])
    except FileNotFoundError:
        return 0.0


SCREEN_STEPS = 2
SCREEN_S = 10.0  # limit for all branches together; the costliest come first
PROBE_STEPS = 8
PROBE_S = 6.0  # limit for each measurement
WANTED_TRIALS = 20
FEWEST_EPOCHS = 2
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

    def line(self, minutes: float) -> str:
        """Return the plan as a line for the user."""
        return (
            f"{minutes:g} minutes: {self.slots} slot{'s' if self.slots > 1 else ''}, {self.epochs} "
            "epochs a trial "
            f"(about {self.epoch_s:.2g} s each), about {self.trials} trials"
        )


def calibrated(config: Config, problem: Problem, slots: Sequence[Slot]) -> tuple[Config, TimePlan]:
    """Return the configuration with the epochs that fit, and the plan; a study keeps its first
    plan.

    Both ends of every branch of the space train a few real batches; then the cheapest and the
    costliest train some more, alone and in all slots at once.
    """
    path = config.paths.folder / "calibration.json"
    choice = _stored(path)
    if choice is None:
        choice = choose(config, problem, slots)
        atomic_write_text(path, json.dumps(asdict(choice)) + "\n")
    if choice.epochs != config.train.epochs:
        planned = compose(
            [*config.overrides, override("train.epochs", choice.epochs)],
            quiet=config.quiet,
            verbose=config.verbose,
        )
        config = replace(planned, invocation=config.invocation)
    return config, choice


def choose(config: Config, problem: Problem, slots: Sequence[Slot]) -> TimePlan:
    """Measure, then choose slots and epochs and estimate the number of trials."""
    images = problem.training_images
    screened = screen(corners(problem), images, slots)
    ends = [screened[0], screened[-1]]
    alone = geometric_mean([epoch_seconds(spec, images, slots[:1]) for spec, _ in ends])
    together = (
        geometric_mean([epoch_seconds(spec, images, slots) for spec, _ in ends])
        if len(slots) > 1
        else alone
    )
    count, measured_s = (len(slots), together) if len(slots) / together >= 1 / alone else (1, alone)
    # Scaled from the two ends to all branches: a space of many costly branches and one cheap one
    # is costly.
    epoch_s = (
        measured_s
        * geometric_mean([cost for _, cost in screened])
        / geometric_mean([cost for _, cost in ends])
    )
    assert config.budget.minutes is not None
    epochs_in_all = config.budget.minutes * 60 * count * (1 - OUTSIDE) / epoch_s
    kept = kept_share(config, WANTED_TRIALS)
    fixed = any(text.startswith("train.epochs=") for text in config.overrides)
    fitting = int(epochs_in_all / (WANTED_TRIALS * kept))
    epochs = config.train.epochs if fixed else min(config.train.epochs, max(FEWEST_EPOCHS, fitting))
    return TimePlan(
        slots=count,
        epochs=epochs,
        trials=max(1, int(epochs_in_all / (epochs * kept))),
        epoch_s=epoch_s,
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


def screen(specs: Sequence[Spec], images: int, slots: Sequence[Slot]) -> list[tuple[Spec, float]]:
    """Return the specs that could be timed within SCREEN_S, cheapest first, each with the rough
    seconds of an epoch, from a step or two.
    """
    end = time.monotonic() + SCREEN_S

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


def epoch_seconds(spec: Spec, images: int, slots: Sequence[Slot]) -> float:
    """Return the seconds of an epoch of this spec when it runs in all these slots at once,
    estimated from some of its batches.
    """
    steps = steps_of(spec, images)
    probed = min(PROBE_STEPS, steps)
    probe = shortened(spec, probed)

    def timed(slot: Slot, _: Slot) -> float:
        timed_epoch(slot, probe)  # the first one allocates
        times: list[float] = []
        end = time.monotonic() + PROBE_S
        while len(times) < 3 and time.monotonic() < end:
            times.append(timed_epoch(slot, probe))
        return min(times)

    return max(spread(timed, slots, slots)) / probed * steps


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean: spaces are mostly logarithmic in cost."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _stored(path: Path) -> TimePlan | None:
    try:
        return TimePlan(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
