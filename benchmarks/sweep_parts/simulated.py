"""A sweep without training: slots that sleep for an epoch and hand back a state of real size."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnn_core.checkpoint import TrainState
from cnn_core.spec import Spec
from pipeline.configuration import compose
from pipeline.search.session import Session, make_problem, open_session
from pipeline.search.study_clock import StudyClock
from pipeline.slots.slot import Machine

STATE_FLOATS = 60_000  # 0.24 MB, and as much for each of Adam's two moments


def simulated_session(root: Path, *, trials: int, epochs: int = 4) -> Session:
    """Return an open session on the digits below `root`; its problem is real, only its epochs are
    not.
    """
    config = compose(
        [
            f"root={root}",
            "study.name=simulated",
            f"budget.trials={trials}",
            f"train.epochs={epochs}",
            "study.enqueue=[]",
        ]
    )
    config.paths.folder.mkdir(parents=True)
    problem, _ = make_problem(config)
    clock = StudyClock(config.paths.folder / "clock.json", None)
    return open_session(problem, 64, clock)


class WorkerlessSlot:
    """What slots have in common that compute, or sleep, in the calling thread."""

    index = 0

    def machine(self) -> Machine:
        return Machine(pid=0, host="", processor="", kernels="", blas="", numpy="", gflops=1.0)

    def repeats(self) -> list[str]:
        return []

    def stop(self) -> None: ...

    def close(self) -> None: ...


class SimulatedSlot(WorkerlessSlot):
    """A slot whose worker is a sleep in the calling thread."""

    def __init__(self, index: int, epoch_s: float) -> None:
        self.index = index
        self._epoch_s = epoch_s
        self._arrays = {name: np.zeros(STATE_FLOATS, np.float32) for name in ("W", "m", "v")}

    def call(
        self, function: Callable[..., Any], *args: Any, deadline_s: float | None = None
    ) -> Any:
        spec, state = args
        return self.epoch(spec, state)

    def epoch(self, spec: Spec, state: TrainState | None) -> tuple[TrainState, dict[str, float]]:
        """Return the next state after a sleep, with rising accuracy."""
        epoch = 1 if state is None else state.epoch + 1
        time.sleep(self._epoch_s)
        accuracy = 1 - math.exp(-epoch) * (1 + spec.model.dropout)
        metrics = {
            "train_loss": 0.1,
            "train_accuracy": accuracy,
            "valid_loss": 0.1,
            "valid_accuracy": accuracy,
            "lr": 0.1,
        }
        history = [*([] if state is None else state.history), metrics]
        weights, moments = (
            {"W": self._arrays["W"]},
            {"m": self._arrays["m"], "v": self._arrays["v"]},
        )
        return TrainState(epoch, epoch, weights, {}, moments, history=history), {
            **metrics,
            "epoch_s": self._epoch_s,
        }
