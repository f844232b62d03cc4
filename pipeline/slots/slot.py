"""The slot protocol: one call at a time, run in another process, and the ways a call can fail."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from cnn_core.cores import LostProcess

Result = TypeVar("Result")


class SlotError(Exception):
    """A call did not return; the slot is ready again (or stopped) when this is raised."""


class WorkerDied(SlotError):  # noqa: N818 - says what happened, as Timeout or KeyboardInterrupt do
    """The worker was lost during the call: killed, crashed, or gone with its machine. The call may
    be repeated.
    """


class TimedOut(SlotError):  # noqa: N818
    """The call outlived its deadline and its worker was killed: repeating it would hang again."""


class CallFailed(SlotError):  # noqa: N818
    """The function itself raised in a healthy worker; holds the exception's kind and text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind
        self.text = text


def failure(kind: str, text: str) -> SlotError:
    """Return what a call is told of that raised in its worker: a worker whose helpers died has died
    with them (`cnn_core.cores`).
    """
    return WorkerDied(text) if kind == LostProcess.__name__ else CallFailed(kind, text)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a worker runs on, including all that determines the bits of a result."""

    pid: int
    host: str
    processor: str
    kernels: str  # OpenBLAS's kernel set in use, "" with another library
    blas: str
    numpy: str
    gflops: float  # of a single-precision matrix product, for estimates

    def fingerprint(self) -> dict[str, str]:
        """Return what two machines must share so that equal specs give equal bits."""
        return {
            "processor": self.processor,
            "kernels": self.kernels,
            "blas": self.blas,
            "numpy": self.numpy,
        }


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """How workers are started."""

    study_folder: str = (
        ""  # absolute; set in the worker's environment, by which orphans are recognised
    )
    memory_mb: int | None = None
    cores: int = 1  # that each may use
    # auto: OpenBLAS's own choice; inherit: as the environment says; else a kernel set's name
    kernels: str = "auto"


class Slot(Protocol):
    """One worker. `call` is used by one thread at a time; `stop` by any."""

    index: int

    def call(
        self, function: Callable[..., Result], *args: Any, deadline_s: float | None = None
    ) -> Result:
        """Return ``function(*args)`` computed by the worker.

        Raises WorkerDied, TimedOut (after `deadline_s` seconds on the monotonic clock) or
        CallFailed; after each of them the slot can be called again.
        """
        ...

    def machine(self) -> Machine:
        """Return what the worker runs on; waits until it has started."""
        ...

    def repeats(self) -> list[str]:
        """Return, once, why the backend of the slot silently repeated the last call."""
        ...

    def stop(self) -> None:
        """Kill the worker at once; a call in progress raises WorkerDied and the slot starts no
        other worker.
        """
        ...

    def close(self) -> None:
        """End the worker after its call."""
        ...
