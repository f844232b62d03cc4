"""Slots and a clock whose time is told, not waited for: real nets train, and take as long as a test
says.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.sweep_parts.simulated import WorkerlessSlot
from cnn_core.replanning import steps_of_next, whole_epoch
from cnn_core.spec import Spec
from cnn_core.training import TrainState, train_epoch
from pipeline.search.study_clock import StudyClock
from pipeline.slots.slot import TimedOut

Pace = Callable[[Spec, float], float]  # (spec, seconds used) -> seconds of a step


class PlayedClock(StudyClock):
    """A clock that goes on when a slot says so."""

    now = 0.0

    @property
    def used_s(self) -> float:
        return self._before_s + self.now


class PlayedSlot(WorkerlessSlot):
    """A slot that trains in this process, and moves the clock by `step_s` for each step."""

    def __init__(self, clock: PlayedClock, step_s: Pace) -> None:
        self._clock, self._step_s = clock, step_s

    def call(self, function: Any, *arguments: Any, deadline_s: float | None = None) -> Any:
        if function is not train_epoch:
            return function(*arguments)
        spec, state = arguments
        seconds = self._steps(spec, state) * self._step_s(spec, self._clock.used_s)
        if deadline_s is not None and seconds > deadline_s:
            self._clock.now += deadline_s
            raise TimedOut(f"timed out after {deadline_s:g} s")
        self._clock.now += seconds
        state, row = train_epoch(spec, state)
        return state, {**row, "epoch_s": seconds}

    @staticmethod
    def _steps(spec: Spec, state: TrainState | None) -> int:
        whole = whole_epoch(spec)
        return whole if state is None else steps_of_next(spec.train, state, whole)


def clock_of(path: Path, minutes: float) -> PlayedClock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return PlayedClock(path, minutes)


def untimed(rows: Any) -> list[dict[str, float]]:
    """Return epochs without what they took."""
    return [
        {key: value for key, value in row.items() if key not in ("epoch", "epoch_s")}
        for row in rows
    ]
