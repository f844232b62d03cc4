"""The sweep's own command with slots that do not train: ``with cheap_slots(make): main(config)``.

What an epoch gives follows from the trial alone, and its state is small. The costs of asking,
reporting and telling go to a file, a line a call; all is wrapped from outside.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

import numpy as np

from benchmarks.reliability_parts.meter import begun
from benchmarks.sweep_parts.simulated import WorkerlessSlot
from cnn_core.checkpoint import TrainState
from cnn_core.spec import Spec
from pipeline import whole_sweep
from pipeline.configuration import Config
from pipeline.search import run_sweep
from pipeline.search.queue import TrialQueue
from pipeline.slots.slot import Slot

TIMED = ("ask", "report", "tell")
FLOATS = 100
Make = Callable[[int], Slot]


def epoch(spec: Spec, state: TrainState | None) -> tuple[TrainState, dict[str, float]]:
    """Return the state after one more epoch, and metrics that rise to the trial's own level."""
    number = 1 if state is None else state.epoch + 1
    noise = float(np.random.default_rng([*spec.seed, number]).random())
    level = 0.5 + 0.3 * spec.model.dropout + 0.05 * noise
    accuracy = level * (1 - math.exp(-number))
    metrics = {"train_loss": 1 - accuracy, "train_accuracy": accuracy, "valid_loss": 1 - accuracy,
               "valid_accuracy": accuracy, "lr": 0.1}  # fmt: skip
    history = [*([] if state is None else state.history), metrics]
    weights = {"W": np.full(FLOATS, number, np.float32)}
    after = TrainState(number, number, weights, {}, {"m": weights["W"]}, history=history)
    return after, {**metrics, "epoch_s": 0.001}


class CheapSlot(WorkerlessSlot):
    """A slot that computes in the calling thread."""

    def __init__(self, index: int) -> None:
        self.index = index

    def call(
        self, function: Callable[..., Any], *args: Any, deadline_s: float | None = None
    ) -> Any:
        return epoch(*args)


@contextlib.contextmanager
def cheap_slots(make: Make = CheapSlot, count: int = 1) -> Iterator[None]:
    """Let sweeps in this process run in `count` slots that `make` makes."""

    @contextlib.contextmanager
    def opened(config: Config, folder: Path, count_: int | None = None) -> Iterator[Sequence[Slot]]:
        yield [make(index) for index in range(count)]

    def uncalibrated(config: Config, *rest: Any, fixed: bool) -> tuple[Config, None]:
        return config, None  # such an epoch takes as long with two steps as with a thousand

    with (
        patch.object(whole_sweep, "open_slots", opened),
        patch.object(run_sweep, "calibrated", uncalibrated),
    ):
        yield


@contextlib.contextmanager
def costs_noted(path: Path) -> Iterator[None]:
    """Append a line for each call of the queue: what, the trial's number, processor seconds of its
    thread.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("a", buffering=1))
        for name in TIMED:
            stack.enter_context(patch.object(TrialQueue, name, _timed(name, file)))
        yield


def _timed(name: str, file: TextIO) -> Callable[..., Any]:
    original: Callable[..., Any] = getattr(TrialQueue, name)

    def call(queue: TrialQueue, *args: Any) -> Any:
        began = time.thread_time()
        result = original(queue, *args)
        trial = result[0] if name == "ask" and result else args[0]
        file.write(f"{name},{getattr(trial, 'number', -1)},{time.thread_time() - began:.6f}\n")
        if name == "tell":
            begun()
        return result

    return call
