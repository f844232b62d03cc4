"""Locks on open files that the kernel drops with the process that holds them; the one place that
asks for them, and the refusal where a system has none.
"""

import sys

from cnn_core.errors import InputError


def lock_file(descriptor: int, *, shared: bool = False, wait: bool = False) -> None:
    """Lock an open file until it is closed, or its process ends.

    Raises BlockingIOError where another process holds it and `wait` is false, and InputError on a
    system without such locks.
    """
    if sys.platform == "win32":
        raise InputError(not_here("locks that end with their process"))
    import fcntl

    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)


def not_here(what: str) -> str:
    """Return the refusal of what only POSIX systems have."""
    return (
        f"this system: must be Linux, macOS or another POSIX system for {what}, got "
        f"{sys.platform}; a bundle's predict.py needs NumPy alone"
    )
