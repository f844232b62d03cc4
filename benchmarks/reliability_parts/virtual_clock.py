"""A clock that jumps: when every slot either sleeps or waits for the queue, it is the time at which
the next one wakes. A day of epochs passes as quickly as the coordinator does its work.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from pipeline.search.queue import TrialQueue
from pipeline.search.runner import Usage


class VirtualClock:
    """The seconds of a simulated day, shared by `sleepers` threads; `alarms` are called, once each,
    when their time has come.
    """

    def __init__(self, sleepers: int, begin_s: float = 0.0) -> None:
        self.now = begin_s
        self.alarms: list[tuple[float, Callable[[], None]]] = []
        self._working, self._resting = sleepers, 0
        self._due: list[tuple[float, int, threading.Event]] = []
        self._order = itertools.count()
        self._lock = threading.RLock()
        self._begin = time.time() - begin_s

    def sleep(self, seconds: float) -> None:
        """Sleep for so many simulated seconds."""
        woken = threading.Event()
        with self._lock:
            heapq.heappush(self._due, (self.now + seconds, next(self._order), woken))
            self.leave()
        woken.wait()

    def leave(self) -> None:
        """Count one thread less that may still do something now."""
        with self._lock:
            self._working -= 1
            self._jump()

    def rest(self) -> None:
        """Leave until `called`."""
        with self._lock:
            self._resting += 1
            self.leave()

    def called(self) -> None:
        """Count those that rest as at work again."""
        with self._lock:
            self._working, self._resting = self._working + self._resting, 0

    def _jump(self) -> None:
        while self._working == 0 and self._due:
            self.now, _, woken = heapq.heappop(self._due)
            while self.alarms and self.alarms[0][0] <= self.now:
                self.alarms.pop(0)[1]()
            self._working += 1
            woken.set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let this process live by this clock, and its queue of trials rest where it waits."""
        clock, original, end = self, TrialQueue.__init__, Usage.end

        def begin(queue: TrialQueue, *args: Any, **kwargs: Any) -> None:
            original(queue, *args, **kwargs)
            queue._changed = _Watched(clock)

        def ended(usage: Usage) -> None:
            end(usage)
            clock.leave()

        with ExitStack() as stack:
            stack.enter_context(patch.object(time, "monotonic", lambda: self.now))
            stack.enter_context(patch.object(time, "time", lambda: self._begin + self.now))
            stack.enter_context(patch.object(TrialQueue, "__init__", begin))
            stack.enter_context(patch.object(Usage, "end", ended))
            yield


class _Watched(threading.Condition):
    """A condition that tells a clock who waits."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(threading.RLock())
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.rest()
        return super().wait(timeout)

    def notify_all(self) -> None:
        self._clock.called()
        super().notify_all()
