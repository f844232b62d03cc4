"""A slot that computes in this process."""

from collections.abc import Callable
from typing import Any

from benchmarks.sweep_parts.simulated import WorkerlessSlot
from pipeline.slots.stop_request import Stop


class HereSlot(WorkerlessSlot):
    """It stops the run after some calls, if told to, and counts them."""

    def __init__(self, stop: Stop, epochs: int | None = None, index: int = 0) -> None:
        self.index, self.calls = index, 0
        self._stop, self._epochs = stop, epochs

    def call(self, function: Callable[..., Any], *values: Any, deadline_s: Any = None) -> Any:
        self.calls += 1
        result = function(*values)
        if self.calls == self._epochs:
            self._stop.request("interrupted", 130)
        return result
