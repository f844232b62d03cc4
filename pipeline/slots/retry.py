"""The only retry: a call whose worker died is repeated."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.slots.slot import WorkerDied
from pipeline.slots.stop_request import Stop

RETRIES = 2  # per call
Result = TypeVar("Result")


class Paused(Exception):  # noqa: N818 - an ending, not an error
    """The run stops; the trial continues with its next epoch when the run is resumed."""


def with_retries(
    call: Callable[[], Result], stop: Stop, tell: Callable[[int, str], None]
) -> Result:
    """Return ``call()``, repeated when its worker dies, at most RETRIES times, with
    ``tell(number, reason)`` for each repetition.

    Raises Paused when the run stops, WorkerDied after the last repetition, TimedOut, CallFailed.
    """
    for number in range(1, RETRIES + 2):
        if stop.requested:
            raise Paused(stop.reason)
        try:
            return call()
        except WorkerDied as error:
            if stop.now:
                raise Paused(stop.reason) from error
            if number > RETRIES:
                raise WorkerDied(f"{error}, {number} times in a row,") from error
            tell(number, str(error))
    raise AssertionError("unreachable")
