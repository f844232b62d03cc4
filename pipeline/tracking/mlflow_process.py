"""The process that brings a study's journal to MLflow beside the trials, at a priority that leaves
them the processor.

    python -m pipeline.tracking.mlflow_process        started by `mlflow.MlflowListener` alone,
                                                      which talks to it in lines

stdin: first the settings (JSON; arguments could be read by every user of the machine), then "news"
whenever the journal grew, then "close". Its end without "close" is the coordinator's death: this
process ends with it, and what is not sent stays in the journal. stdout: what the listener should
know (`Told`), whole, as a line of JSON whenever it changed.

The thread that works beside the trials loads MLflow and opens the store (some seconds of a core,
once) at the usual priority: a short sweep would else wait for it at its end, with one core busy and
the others idle. From then on it has the lowest: it fills the pauses that slots make between epochs.
After "close", when the sweep waits, the main thread does the rest at the usual
priority, since only a superuser can raise one again.
"""

import contextlib
import errno
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.redact import redact
from pipeline.tracking.store import LOCK_NAME, Target, full_disk, locked

if TYPE_CHECKING:
    from pipeline.tracking.mlflow_sender import Sender

GATHER_S = 5.0  # how long news may wait for more
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LOWEST = 19


@dataclass
class Told:
    """What the listener knows of this process."""

    loaded: bool = False  # MLflow is imported: what takes long from here on is the store
    experiment_id: str | None = None
    shared: bool = False  # the store took the study's view
    problem: str | None = None  # of the last attempt
    full: bool = False  # the problem is a full disk under a store on this machine
    spent_s: float = 0.0  # processor time beside the trials


class Sending:
    """Sends what the journal holds, again and again until it is closed; tells what there is to
    know.
    """

    def __init__(self, target: Target) -> None:
        self.closing = threading.Event()
        self.news = threading.Event()
        self._target = target
        self._sender: Sender | None = None
        self._told = Told()
        self._failures = 0

    def beside_the_trials(self) -> None:
        """Run by the thread of low priority until the close."""
        self._attempt(lambda sender: sender.open())
        self._tell(spent_s=time.thread_time())
        _lower_priority()
        while not self.closing.is_set():
            self.news.clear()
            if self._send():
                self._tell(spent_s=time.thread_time())
                self.news.wait()
                self.closing.wait(
                    GATHER_S
                )  # what comes together is sent together: a call costs more than what it carries
            else:
                self.closing.wait(BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1])

    def the_rest(self) -> None:
        """Run by the main thread after the close: all that is left, once more where the store
        failed for the first time.
        """
        while not self._send() and self._failures < 2:
            time.sleep(BACKOFF_S[0])

    def _send(self) -> bool:
        beside = not self.closing.is_set()
        return self._attempt(
            lambda sender: sender.send(self.closing.is_set if beside else lambda: False)
        )

    def _attempt(self, action: Callable[["Sender"], object]) -> bool:
        try:
            action(self._opened())
        except Exception as error:  # a store may fail in any way; the sweep goes on
            self._failures += 1
            self._tell(**self._described(error))
            return False
        self._failures = 0
        self._tell(problem=None, full=False)
        return True

    def _opened(self) -> "Sender":
        if self._sender is None:
            from pipeline.tracking.mlflow_sender import Sender  # NumPy, Optuna and the charts

            self._sender = Sender(self._target, self._progressed)
        return self._sender

    def _described(self, error: Exception) -> dict[str, Any]:
        if place := full_disk(error, self._target.address, self._target.root):
            return {
                "problem": f"the disk of its store is full ({os.strerror(errno.ENOSPC)}: {place})",
                "full": True,
            }
        text = str(error).strip() or type(error).__name__
        return {"problem": redact(text.splitlines()[0])[:300], "full": False}

    def _progressed(self) -> None:
        """Called by the sender while it works."""
        sender = self._opened()
        self._tell(loaded=sender.loaded, experiment_id=sender.experiment_id, shared=sender.shared)

    def _tell(self, **news: Any) -> None:
        for name, value in news.items():
            setattr(self._told, name, value)
        print(json.dumps(asdict(self._told)), flush=True)


def _lower_priority() -> None:
    """Give this thread, where threads have priorities of their own (Linux), the lowest."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)


def _raise_priority(thread: threading.Thread) -> None:
    """Let a thread end sooner what it is at, where that is allowed."""
    if sys.platform == "linux" and thread.native_id is not None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread.native_id, 0)


def main() -> int:
    """Send until the listener closes or dies; return the exit code."""
    logging.disable(logging.WARNING)  # what matters is told, in one line
    settings = json.loads(sys.stdin.readline())
    folder, root = Path(settings.pop("folder")), Path(settings.pop("root"))
    target = Target(folder, root, **settings)
    sending = Sending(target)
    with locked(
        target.folder / LOCK_NAME
    ):  # one whose coordinator was killed may be at its last event
        thread = threading.Thread(target=sending.beside_the_trials, name="beside", daemon=True)
        thread.start()
        for line in sys.stdin:
            if line == "close\n":
                break
            sending.news.set()
        else:
            return 0  # nobody is there any more
        sending.closing.set()
        sending.news.set()
        _raise_priority(thread)
        thread.join()
        sending.the_rest()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread may be in the middle of a call that nobody waits for
