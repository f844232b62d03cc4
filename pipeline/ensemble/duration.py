"""How long final nets take, and which share of the steps they were asked to have fits into the time
that is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cnn_core.data.splits import split_of
from cnn_core.spec import Spec
from pipeline.search.problem import costs_of

HALVINGS = 30  # of the interval in which a share is sought


@dataclass(frozen=True)
class NetTime:
    """A net that has yet to train: the steps it is asked to have at most, those done, those that it
    is planned to have if it has begun, the seconds of a step, and how many steps take as long as
    what follows its last one.
    """

    steps: int
    step_s: float
    done: int = 0
    planned: int | None = None  # None: not begun
    after: float = 0.0

    def seconds(self, share: float) -> float:
        """Return how long it takes to train to this share of its steps. A schedule that is half
        through is not stretched any more.
        """
        last = share * self.steps
        if self.planned is not None and 2 * self.done > self.planned:
            last = min(last, self.planned)
        return (max(0.0, last - self.done) + self.after) * self.step_s


def fitting_share(nets: Sequence[NetTime], slots: int, seconds: float) -> float:
    """Return the share of their steps, at most 1, with which all nets end after `seconds`; those
    that have begun hold a slot each, the others follow in order.
    """

    def end(share: float) -> float:
        begun = [net.seconds(share) for net in nets if net.planned is not None]
        return longest_slot([*begun, *(n.seconds(share) for n in nets if n.planned is None)], slots)

    if end(1.0) <= seconds:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if end(middle) <= seconds else (low, middle)
    return low


def longest_slot(lengths: Sequence[float], slots: int) -> float:
    """Return when the last of `slots` ends, each taking the next job as soon as it is free."""
    ends = [0.0] * slots
    for length in lengths:
        first = ends.index(min(ends))
        ends[first] += length
    return max(ends)


def multiply_adds(spec: Spec) -> float:
    """Return the multiply-adds of one image's forward pass."""
    return costs_of(spec)["multiply_adds"]


def work_of(spec: Spec) -> float:
    """Return the multiply-adds of an epoch's forward passes."""
    return multiply_adds(spec) * images_an_epoch(spec)


def images_an_epoch(spec: Spec) -> int:
    """Return how many images an epoch trains on."""
    steps = spec.train.steps_per_epoch
    return len(split_of(spec.data).train) if steps is None else steps * spec.train.batch_size
