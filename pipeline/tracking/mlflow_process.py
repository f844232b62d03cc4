"""The process that sends a study's journal to MLflow while the trials run, at a priority that
leaves them the processor.

    python -m pipeline.tracking.mlflow_process        started only by
                                                      `mlflow_listener.MlflowListener`,
                                                      which talks to it in lines

stdin: first the settings (JSON; every user of the machine could read arguments), then "news"
whenever the journal grew, then "close". End of file without "close" means that the coordinator
died: this process ends too, and what is not sent stays in the journal. stdout: the whole state that
the listener should know (`Told`), as a line of JSON whenever it changes.

The thread that works beside the trials loads MLflow and opens the store (some seconds of a core,
once) at normal priority: otherwise a short sweep would wait for it at its end, with one core busy
and the others idle. From then on it has the lowest priority and fills the slots' pauses between
epochs. After "close", when the sweep waits, the main thread does the rest at normal priority, since
only a superuser can raise a lowered one.
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

GATHER_S = 5.0  # how long events wait for more, to be sent together
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LOWEST = 19


@dataclass
class Told:
    """What the listener knows of this process."""

    loaded: bool = False  # MLflow is imported: from here on, delays are the store's
    experiment_id: str | None = None
    shared: bool = False  # the store took the study's view
    remark: str = ""  # what was deleted there, and stays so
    problem: str | None = None  # why the last attempt failed
    full: bool = False  # the problem is a full disk under a store on this machine
    spent_s: float = 0.0  # processor time beside the trials
    sent: int = 0  # bytes of the journal that the store has
    byte_s: float = 0.0  # processor time that one of them takes, 0 while it is not known


class Sending:
    """Sends what the journal holds, repeatedly until it is closed, and reports its state."""

    def __init__(self, target: Target) -> None:
        self.closing = threading.Event()
        self.news = threading.Event()
        self._target = target
        self._sender: Sender | None = None
        self._told = Told()
        self._failures = 0
        self._first: tuple[int, float] | None = None  # sent before this run, and its seconds

    def beside_the_trials(self) -> None:
        """Send until the close; run by the low-priority thread."""
        self._attempt(lambda sender: sender.open())
        self._tell(spent_s=time.thread_time())
        _lower_priority()
        while not self.closing.is_set():
            self.news.clear()
            if self._send():
                self._tell(spent_s=time.thread_time())
                self.news.wait()
                # Gather events for one call: a call costs more than what it carries.
                self.closing.wait(GATHER_S)
            else:
                self.closing.wait(BACKOFF_S[min(self._failures, len(BACKOFF_S)) - 1])

    def the_rest(self) -> None:
        """Send all that is left after the close, with one retry if the store had not failed before;
        run by the main thread.
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

            if self._target.plugins is not None:  # without them the pictures of nets are missing
                from cnn_core.errors import InputError
                from pipeline.configuration.named_plugins import load_named

                with contextlib.suppress(InputError):
                    load_named([self._target.plugins])
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
        """Report the sender's state; the sender calls this while it works."""
        sender, now_s = self._opened(), time.process_time()
        if sender.experiment_id is not None:
            start, start_s = self._first = self._first or (sender.offset, now_s)
            if sender.offset > start:
                self._told.byte_s = (now_s - start_s) / (sender.offset - start)
        self._tell(
            sent=sender.offset,
            loaded=sender.loaded,
            experiment_id=sender.experiment_id,
            shared=sender.shared,
            remark=sender.remark,
        )

    def _tell(self, **news: Any) -> None:
        for name, value in news.items():
            setattr(self._told, name, value)
        print(json.dumps(asdict(self._told)), flush=True)


def _lower_priority() -> None:
    """Give this thread the lowest priority, where threads have their own (Linux)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST)


def _raise_priority(thread: threading.Thread) -> None:
    """Raise a thread's priority to finish its work sooner, where that is allowed."""
    if sys.platform == "linux" and thread.native_id is not None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread.native_id, 0)


def main() -> int:
    """Send until the listener closes or dies; return the exit code."""
    logging.disable(logging.WARNING)  # what matters is reported in `Told`
    settings = json.loads(sys.stdin.readline())
    folder, root = Path(settings.pop("folder")), Path(settings.pop("root"))
    target = Target(folder, root, **settings)
    sending = Sending(target)
    # A sending process whose coordinator was killed may still be at its last event.
    with locked(target.folder / LOCK_NAME):
        thread = threading.Thread(target=sending.beside_the_trials, name="beside", daemon=True)
        thread.start()
        for line in sys.stdin:
            if line == "close\n":
                break
            sending.news.set()
        else:
            return 0  # the coordinator is gone
        sending.closing.set()
        sending.news.set()
        _raise_priority(thread)
        thread.join()
        sending.the_rest()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread may be inside a call that nobody waits for
