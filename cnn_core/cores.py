"""How many cores are free for one training, and processes that share its work on them.

They are forked from the process that trains: they see its arrays as they are, without a copy, and
nothing is loaded again. Threads would do with less, but each of the few hundred calls of a step has
to get the interpreter's lock back from the others (docs/LOG.md, Speed: whole steps).
"""

import contextlib
import gc
import mmap
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np

from cnn_core.axes import Array

Item = TypeVar("Item")
Result = TypeVar("Result")
Run = Callable[[Sequence[Item]], list[Result]]

FREE_CORES = "CNN_FREE_CORES"  # environment variable: the cores that a worker of a sweep may use


_one_at_a_time = threading.Lock()  # pipe and process, see _Helper


class LostProcess(ChildProcessError):  # noqa: N818 - says what happened
    """A process that shares the work of this one died."""


def free_cores() -> int:
    """Return how many cores a training in this process may use: those that its slot has, 1 outside
    of a slot, where BLAS has threads of its own that would wait for each other.
    """
    given = os.environ.get(FREE_CORES, "")
    return max(1, int(given)) if given.isdecimal() and given.isascii() else 1


def shared_copy(array: Array) -> Array:
    """Return a copy in memory that processes forked later share: what one writes, all read."""
    memory = mmap.mmap(-1, max(1, array.nbytes))
    copied: Array = np.frombuffer(memory, array.dtype, array.size).reshape(array.shape)
    copied[...] = array
    return copied


@contextmanager
def beside(function: Callable[[Item], Result], processes: int) -> Iterator[Run[Item, Result]]:
    """Yield ``run(items) -> [function(item), ...]``, by so many processes, this one among them.

    The others are forked at the start of the block and know what this one knew then, and what it
    writes to a `shared_copy`. Process p takes the items p, p + P, p + 2 P, ...: which process does
    what follows from the numbers alone, and results come in the order of the items. What the
    function raises is raised here, where another process does it as RuntimeError with its name and
    text, and LostProcess where a process died. Elsewhere than on Linux this process does all.
    """
    others: list[_Helper] = []
    try:
        with contextlib.suppress(OSError):  # no process or pipe more: fewer do the same
            for _ in range(1, processes if sys.platform == "linux" else 1):
                others += [_Helper(function)]
        yield partial(_run, function, others)
    finally:
        for helper in others:
            helper.end()


def _run(
    function: Callable[[Item], Result], others: Sequence["_Helper"], items: Sequence[Item]
) -> list[Result]:
    processes = 1 + len(others)
    used = others[: max(0, len(items) - 1)]
    for number, helper in enumerate(used, 1):
        helper.give(items[number::processes])
    try:
        own = [function(item) for item in items[::processes]]
    finally:  # no answer is left for the next call
        answers = [helper.answer() for helper in used]
    shares = [own, *(_results(*answer) for answer in answers)]
    return [shares[at % processes][at // processes] for at in range(len(items))]


def _results(raised: str, results: list[Any]) -> list[Any]:
    if raised:
        raise RuntimeError(raised)
    return results


class _Helper:
    """A process forked from this one that applies a function to the items that it is given."""

    _here: Connection
    _pid: int

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if sys.platform == "win32":
            raise OSError("no process can be forked on this system")
        # A process holds the ends of pipes that were there before it, never of later ones: when the
        # parent is gone, the last one reads the end of its pipe, and after it the one before.
        with _one_at_a_time, warnings.catch_warnings():
            # The helper computes with NumPy alone, and waits for no lock that another thread holds.
            warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
            self._here, there = Pipe()
            self._pid = os.fork()
            if self._pid:
                there.close()
        if self._pid:
            return
        try:
            gc.freeze()  # what belongs to the parent is not tidied up here
            self._here.close()
            _serve(function, there)
        finally:
            os._exit(0)

    def give(self, items: Sequence[Any]) -> None:
        try:
            self._here.send(items)
        except OSError as error:
            raise self._died() from error

    def answer(self) -> tuple[str, list[Any]]:
        """Return what was raised, else "", and the results."""
        try:
            raised, results = self._here.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        return raised, results

    def end(self) -> None:
        """End the process at once: nobody asks any more for what it may be doing."""
        self._here.close()
        if sys.platform == "win32":
            return
        with contextlib.suppress(ChildProcessError):  # where children are reaped unasked
            if os.waitpid(self._pid, os.WNOHANG) == (0, 0):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)

    def _died(self) -> LostProcess:
        return LostProcess(f"a process that trains beside this one, {self._pid}, died")


def _serve(function: Callable[[Any], Any], there: Connection) -> None:
    """Answer until the parent closes its end, or is gone."""
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            items = there.recv()
            try:
                answer: tuple[str, list[Any]] = ("", [function(item) for item in items])
            except Exception as error:
                answer = (f"{type(error).__name__}: {error}", [])
            there.send(answer)
