"""A training whose end is moved while it goes on, still a function of its spec.

``train.replanned`` lists, in turn, a number of epochs done and the number of steps that the whole
training has from there on: until the next entry the schedule runs towards that step. So a net that
gets less time than was planned still ends with its schedule's last rate, within an epoch if need
be, and composes again from its overrides to the same bits.
"""

import math
from dataclasses import replace

from cnn_core.checkpoint import TrainState
from cnn_core.errors import InputError
from cnn_core.repeats import epoch_steps, nets_of
from cnn_core.spec import Spec
from cnn_core.train_spec import TrainSpec


def last_step(train: TrainSpec, epochs: int, steps: int) -> int:
    """Return how many steps the whole training has as planned after `epochs` epochs; an epoch in
    full has `steps` steps.
    """
    entries = zip(train.replanned[::2], train.replanned[1::2], strict=True)
    known = [last for done, last in entries if done <= epochs]
    return known[-1] if known else train.epochs * steps


def steps_of_next(train: TrainSpec, state: TrainState, steps: int) -> int:
    """Return the steps of the epoch after `state`: all, or fewer where the training ends within it.

    Raises InputError where nothing is left for one of ``train.epochs``.
    """
    return _steps_after(train, state.epoch, state.step, steps)


def check_replanned(spec: Spec) -> None:
    """Raise InputError where what is planned leaves nothing for one of the epochs."""
    train, done = spec.train, 0
    steps = whole_epoch(spec) if train.replanned else 0
    for epoch in range(train.epochs if train.replanned else 0):
        done += _steps_after(train, epoch, done, steps)


def _steps_after(train: TrainSpec, epochs: int, done: int, steps: int) -> int:
    """Return the steps of the epoch after so many `epochs` and steps."""
    if not train.replanned:
        return steps
    left = last_step(train, epochs, steps) - done
    if left < 1:
        rule = f"must leave a step for each of train.epochs={train.epochs}"
        raise InputError(f"train.replanned: {rule}, got {list(train.replanned)}")
    return min(steps, left)


def whole_epoch(spec: Spec) -> int:
    """Return the steps of an epoch in full, of each net where there are several."""
    return epoch_steps(nets_of(spec)[0])


def planned_steps(spec: Spec) -> int:
    """Return the steps of the whole training, as last planned."""
    return last_step(spec.train, spec.train.epochs, whole_epoch(spec))


def ending_at(spec: Spec, done: int, last: int) -> Spec:
    """Return the spec of a training that has `done` epochs so far, planned anew to end with its
    step number `last`; at least one more step is trained.
    """
    steps, train = whole_epoch(spec), spec.train
    last = max(last, done * steps + 1)
    epochs = math.ceil(last / steps)
    if not done:
        past: tuple[int, ...] = ()
        rest = () if last == epochs * steps else (0, last)
    else:
        past = train.replanned or (0, train.epochs * steps)
        kept = [pair for pair in zip(past[::2], past[1::2], strict=True) if pair[0] < done]
        past, rest = tuple(number for pair in kept for number in pair), (done, last)
    return replace(spec, train=replace(train, epochs=epochs, replanned=(*past, *rest)))
