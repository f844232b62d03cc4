"""How a command ends early: SIGTERM and SIGHUP where nothing handles them better (what is open is
closed, and it is said), and a run that fails.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# Windows has no SIGHUP.
HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
ENDING = tuple(number for number in (signal.SIGTERM, HANG_UP) if number is not None)


class RunFailed(RuntimeError):  # noqa: N818 - named like the other ways a run ends
    """A run has begun and cannot go on; the message says why, and how to resume it."""


def refused_by_system(error: OSError) -> str:
    """Return, in a line, what the system refused (a full disk, a device that fails) and where."""
    reason = " ".join((error.strerror or str(error)).split()) or type(error).__name__
    named = isinstance(error.filename, str) and error.strerror
    return f"{error.filename}: {reason}" if named else reason


class Terminated(SystemExit):
    """A signal ends the process; its code is the shell's for it, 143 or 129."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Within it both signals raise Terminated in the main thread; a second one ends the process at
    once.

    A handler that is there already stays, and so does ignoring (nohup). Outside the main thread no
    handler can be installed, and whoever started that thread handles signals.
    """
    before = {
        number: signal.SIG_DFL
        for number in ENDING
        if threading.current_thread() is threading.main_thread()
        and signal.getsignal(number) is signal.SIG_DFL
    }

    def end(number: int, _: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise Terminated(number)

    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
