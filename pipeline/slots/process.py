"""Slots on this machine: one executor of joblib's loky with one worker each, so that a worker that
dies takes no other with it.

This is the only file that imports loky. Every failure it guards against occurred in practice: see
the comments.
"""

import contextlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import ShutdownExecutorError, _ExecutorManagerThread

from cnn_core.cores import FREE_CORES
from cnn_core.errors import InputError
from pipeline.configuration import Config
from pipeline.configuration.termination import ENDING
from pipeline.slots import worker
from pipeline.slots.file_lock import not_here
from pipeline.slots.slot import (
    CallFailed,
    Machine,
    Result,
    TimedOut,
    WorkerDied,
    WorkerSettings,
    failure,
)

PINS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
START_S = 60.0  # a worker that has not answered by then never will
SIGNALS = {signal.SIGINT, *ENDING}


_add_items = _ExecutorManagerThread.add_call_item_to_queue


def _add_items_that_are_left(manager: _ExecutorManagerThread) -> None:
    """Pass work on to an executor's worker, without the work that a kill has just taken away.

    A kill fails what was submitted but leaves its number in the queue; where the manager meets it,
    its thread would end with a KeyError and a traceback. What waits for such work knows already.
    """
    while True:
        try:
            _add_items(manager)
            return
        except KeyError:
            continue


_ExecutorManagerThread.add_call_item_to_queue = _add_items_that_are_left


def start_slots(count: int, settings: WorkerSettings) -> list["ProcessSlot"]:
    """Start `count` workers without waiting; they load NumPy while the caller imports the rest."""
    # Between two calls loky replaces a worker whose memory has grown by 300 MB, as that of a wide
    # net after a narrow one does; nothing is lost.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    if settings.kernels == "auto":
        for pin in PINS:  # loky can add to a worker's environment, not remove from it
            os.environ.pop(pin, None)
    # else Ctrl-C in a terminal would end the trackers, and with them the workers' semaphores
    with signals_blocked():
        loky_tracker.ensure_running()
        resource_tracker.ensure_running()
    return [ProcessSlot(index, settings) for index in range(count)]


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT, SIGTERM and SIGHUP in this thread: a process started meanwhile inherits the
    mask, so only the coordinator receives them.

    (Ignoring them in the worker's initializer would leave a window while it starts.) Raises
    InputError on a system without such masks: no worker is started there.
    """
    if sys.platform == "win32":
        raise InputError(not_here("worker processes, which are started with signals blocked"))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ProcessSlot:
    """A worker process behind `call`; replaced when it dies or is killed at its deadline."""

    def __init__(self, index: int, settings: WorkerSettings) -> None:
        self.index = index
        self._settings = settings
        self._stopped = False
        self._lock = threading.Lock()  # guards replacing the executor
        self._executor: ProcessPoolExecutor
        self._greeting: Future[tuple[str, Any]]
        self._renew()

    def call(
        self, function: Callable[..., Result], *args: Any, deadline_s: float | None = None
    ) -> Result:
        """Return ``function(*args)`` computed by the worker; see `Slot.call`."""
        self._greet()
        kind, value = self._wait(self._submit(worker.invoke, function, args), deadline_s)
        if kind:
            raise failure(kind, value)
        result: Result = value
        return result

    def machine(self) -> Machine:
        """Return what the worker runs on; raises WorkerDied when it did not start."""
        return Machine(**self._greet())

    def repeats(self) -> list[str]:
        """Return nothing: here only the caller repeats a call."""
        return []

    def stop(self) -> None:
        """Kill the worker at once, from any thread."""
        with self._lock:
            self._stopped = True
            self._executor.shutdown(wait=False, kill_workers=True)

    def close(self) -> None:
        """End the worker after its call, or kill it if it was stopped."""
        with self._lock:
            self._executor.shutdown(wait=True, kill_workers=self._stopped)
            self._stopped = True

    def _greet(self) -> dict[str, Any]:
        kind, value = self._wait(self._greeting, START_S)
        if kind:
            raise CallFailed(kind, value)
        described: dict[str, Any] = value
        return described

    def _submit(self, function: Callable[..., Any], *args: Any) -> "Future[tuple[str, Any]]":
        try:
            with signals_blocked():
                future: Future[tuple[str, Any]] = self._executor.submit(function, *args)
                return future
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            raise self._died(error) from error

    def _wait(self, future: "Future[tuple[str, Any]]", deadline_s: float | None) -> tuple[str, Any]:
        try:
            return future.result(timeout=deadline_s)
        except (BrokenProcessPool, ShutdownExecutorError) as error:
            raise self._died(error) from error
        except FutureTimeout as error:
            self._renew()
            raise TimedOut(f"timed out after {deadline_s:g} s") from error

    def _died(self, error: Exception) -> WorkerDied:
        found = re.search(r"exit codes of the workers are \{(.*?)\}", str(error))
        self._renew()
        return WorkerDied(
            f"worker died ({_signal_name(found.group(1)) if found else 'no exit code'})"
        )

    def _renew(self) -> None:
        """Create or replace the executor, and have the worker load what it needs."""
        with self._lock:
            if hasattr(self, "_executor"):
                self._executor.shutdown(wait=True, kill_workers=True)
            if self._stopped:
                return
            self._executor = ProcessPoolExecutor(
                max_workers=1,
                timeout=None,
                initializer=worker.begin,
                initargs=(os.getpid(), self._settings.memory_mb),
                env=self._environment(),
            )
            with signals_blocked():
                self._greeting = self._executor.submit(worker.invoke, worker.warm_up, ())

    def _environment(self) -> dict[str, str]:
        environment = {
            **worker.ONE_THREAD,
            worker.STUDY_MARK: self._settings.study_folder,
            FREE_CORES: str(self._settings.cores),
        }
        if self._settings.kernels not in ("auto", "inherit"):
            environment["OPENBLAS_CORETYPE"] = self._settings.kernels
        return environment


def _signal_name(exit_codes: str) -> str:
    """Return "SIGKILL" for loky's "SIGKILL(-9)", and anything else unchanged."""
    return re.sub(r"\(-\d+\)", "", exit_codes)


def clear_pins(config: Config) -> None:
    """Let OpenBLAS choose its kernels in the processes that predict, unless the configuration says
    otherwise.
    """
    for pin in PINS:
        if config.blas.kernels == "auto":
            os.environ.pop(pin, None)
    if config.blas.kernels not in ("auto", "inherit"):
        os.environ["OPENBLAS_CORETYPE"] = config.blas.kernels
