"""A stretch of a simulated day: ``python -m benchmarks.reliability_parts.day_sweep SLOTS FROM_H
SIGNAL_H SIGNAL TOLD OVERRIDE ...`` is ``pipeline.sweep`` with so many slots that sleep by a clock
that jumps, are killed, hang, fail and diverge; at SIGNAL_H this process sends itself SIGNAL.

TOLD gets a line for each tell that has reached the study.
"""

import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.reliability_parts.cheap_slot import CheapSlot, cheap_slots, epoch
from benchmarks.reliability_parts.meter import begun
from benchmarks.reliability_parts.virtual_clock import VirtualClock
from pipeline.configuration import SWEEP, command_line
from pipeline.events import TrialEnded
from pipeline.search.queue import TrialQueue
from pipeline.slots.slot import CallFailed, TimedOut, WorkerDied
from pipeline.sweep import main as sweep

EPOCH_S, SPREAD = 600.0, 0.5  # of a lognormal
HOUR_S = 3600.0
KILLED, RAISED, DIVERGED, HUNG = 0.03, 0.004, 0.004, 0.004  # shares of epochs


class SleepingSlot(CheapSlot):
    """A slot whose worker sleeps by a clock; what befalls it follows from seed, epoch and time."""

    def __init__(self, index: int, clock: VirtualClock) -> None:
        super().__init__(index)
        self._clock = clock

    def call(
        self, function: Callable[..., Any], *args: Any, deadline_s: float | None = None
    ) -> Any:
        spec, state = args
        number = 0 if state is None else state.epoch
        rng = np.random.default_rng([*spec.seed, number, int(self._clock.now)])
        fate, seconds = rng.random(), EPOCH_S * math.exp(SPREAD * rng.standard_normal())
        if fate < KILLED:
            self._clock.sleep(seconds * rng.random())
            raise WorkerDied("worker died (SIGKILL)")
        if fate < KILLED + RAISED:
            raise CallFailed("ValueError", "a misdeed")
        if deadline_s is not None and (fate > 1 - HUNG or seconds > deadline_s):
            self._clock.sleep(deadline_s)
            raise TimedOut(f"timed out after {deadline_s:g} s")
        self._clock.sleep(seconds)
        after, metrics = epoch(spec, state)
        if fate < KILLED + RAISED + DIVERGED:
            metrics["train_loss"] = float("nan")
        return after, {**metrics, "epoch_s": seconds}


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Append a line for each tell: the trial's number, its state, its objective."""
    original = TrialQueue.tell

    def tell(queue: TrialQueue, trial: Any, ended: TrialEnded) -> int | None:
        beaten = original(queue, trial, ended)
        file.write(f"{trial.number},{ended.state},{' '.join(map(repr, ended.objective))}\n")
        begun()
        return beaten

    with path.open("a", buffering=1) as file, patch.object(TrialQueue, "tell", tell):
        yield


def main(argv: Sequence[str]) -> int:
    count, begin_h, signal_h = int(argv[0]), float(argv[1]), float(argv[2])
    clock = VirtualClock(count, begin_h * HOUR_S)
    if signal_h > begin_h:
        number = getattr(signal, argv[3])
        clock.alarms.append((signal_h * HOUR_S, lambda: os.kill(os.getpid(), number)))
    with (
        cheap_slots(lambda index: SleepingSlot(index, clock), count),
        told(Path(argv[4])),
        clock.installed(),
    ):
        return command_line(SWEEP, argv[5:], sweep)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
