"""Threads that share the work of one training, and how many cores are free for it.

NumPy releases the interpreter's lock in products and in elementwise work on arrays, so threads of
one process compute side by side, on shared weights.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

FREE_CORES = "CNN_FREE_CORES"  # environment variable: the cores that a worker of a sweep may use


def free_cores() -> int:
    """Return how many cores a training in this process may use: those that its slot has, 1 outside
    of a slot, where BLAS has threads of its own that would wait for each other.
    """
    given = os.environ.get(FREE_CORES, "")
    return max(1, int(given)) if given.isdecimal() and given.isascii() else 1


class Crew:
    """A number of threads, the caller's among them, that take turns through lists of work.

    Thread t takes the items t, t + T, t + 2 T, ...: which thread does what follows from the numbers
    alone, and results come in the order of the items.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "crew") if threads > 1 else None

    def run(self, function: Callable[[int, Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return ``function(thread, item)`` of each item, thread from 0; what one raises is raised
        once no thread works any more.
        """

        def share(thread: int) -> list[Result]:
            return [function(thread, item) for item in items[thread :: self.threads]]

        if self._pool is None or len(items) < 2:
            return [function(0, item) for item in items]
        # NumPy's handling of floating-point errors belongs to the caller's context.
        others = [
            self._pool.submit(copy_context().run, share, thread)
            for thread in range(1, min(self.threads, len(items)))
        ]
        try:
            shares = [share(0)]
        finally:
            wait(others)
        shares += [other.result() for other in others]
        return [shares[at % self.threads][at // self.threads] for at in range(len(items))]
