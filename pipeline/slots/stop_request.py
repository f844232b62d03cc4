"""Why a sweep ends early, and how fast: one small object that signals, budgets and errors set and
every slot's thread reads.
"""

import contextlib
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from pipeline.configuration.termination import ENDING, HANG_UP

INTERRUPTED = 130
TERMINATED = 143
HUNG_UP = 129
FAILED = 1
STOP_FILE = "stop"  # in a study's folder: asks for a pause from outside, as one Ctrl-C does
AT_ONCE = "now"  # its content where it asks as two do


class Stop:
    """A request to end the run. ``requested``: finish the epochs in flight, start no others.
    ``now``: do not wait for those either.
    """

    def __init__(self) -> None:
        self.requested = False
        self.now = False
        self.reason = ""
        self.exit_code = 0
        self.on_request: list[
            Callable[[], None]
        ] = []  # called at each request: wake waiting threads, kill workers
        self._lock = threading.Lock()

    def request(self, reason: str, exit_code: int, *, now: bool = False) -> None:
        """End the sweep. The first reason stays, unless it was a success and this one is a failure;
        a later call may still add `now`.
        """
        with self._lock:
            if not self.requested or (self.exit_code == 0 and exit_code == FAILED):
                self.reason, self.exit_code = reason, exit_code
            self.requested = True
            self.now = self.now or now
        for call in list(self.on_request):
            call()


def obey(file: Path, stop: Stop) -> None:
    """Request a stop where the stop file is there, and remove it."""
    with contextlib.suppress(FileNotFoundError):
        now = file.read_text(encoding="utf-8", errors="replace").strip() == AT_ONCE
        file.unlink()
        stop.request("paused from outside", INTERRUPTED, now=now)


class SignalHandling:
    """A context in which SIGINT, SIGTERM and SIGHUP become requests: Ctrl-C once finishes the
    epochs in flight; twice, SIGTERM, or a terminal that is closed ends at once.

    Ending at once saves nothing, because nothing is left to save: every finished epoch is on disk
    already. A SIGHUP that is ignored (nohup) stays so. Outside the main thread no handler can be
    installed: then what else requests a stop ends the run.
    """

    def __init__(self, stop: Stop, say: Callable[[str], None]) -> None:
        self._stop = stop
        self._say = say

    def __enter__(self) -> "SignalHandling":
        self._before = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, *ENDING)
            if threading.current_thread() is threading.main_thread()
            and (number != HANG_UP or signal.getsignal(number) is not signal.SIG_IGN)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        # A handler runs between two instructions of the main thread, which may hold any lock: hand
        # over to a thread.
        threading.Thread(target=self._request, args=(number,), name="signal", daemon=True).start()

    def _request(self, number: int) -> None:
        if number == signal.SIGTERM:
            self._stop.request("SIGTERM", TERMINATED, now=True)
        elif number == HANG_UP:
            self._stop.request("SIGHUP", HUNG_UP, now=True)
        elif self._stop.requested:
            self._stop.request("interrupted", INTERRUPTED, now=True)
        else:
            self._say("interrupted: finishing the epochs in flight; Ctrl-C again ends at once")
            self._stop.request("interrupted", INTERRUPTED)
