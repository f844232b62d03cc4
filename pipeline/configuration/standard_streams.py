"""Standard output and standard error that never end a command: closed at its start, of an encoding
that lacks letters, or with a reader that is gone, as after ``| head -1``; and that show neither
secrets nor control characters, whoever writes: a library, a warning, a traceback.
"""

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.redact import redact, shown

if TYPE_CHECKING:
    from rich.console import Console

GONE = (errno.EPIPE, errno.EIO)  # the reader of a pipe has exited; the terminal was closed


class _Lasting(io.FileIO):
    """A descriptor that leads to nowhere from the moment that nobody reads it any more."""

    def write(self, content: Any, /) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in GONE:
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())  # for the processes to come as well
        os.close(nowhere)
        return super().write(content)


class _Visible(io.TextIOWrapper):
    """A stream without secrets, its control characters written out, such as ``\\x1b``."""

    @property
    def rich_proxied_file(self) -> "_Drawn":
        """Where rich writes instead: it moves the cursor; what it is given is made visible."""
        return _Drawn(self)

    def write(self, text: str, /) -> int:
        super().write(shown(text))
        return len(text)

    def draw(self, text: str) -> int:
        """Write the text, control characters included."""
        super().write(redact(text))
        return len(text)


class _Drawn:
    """The same stream, for who draws on it."""

    def __init__(self, stream: _Visible) -> None:
        self._stream = stream
        self.write = stream.draw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def live_console(stream: TextIO) -> "Console":
    """Return rich's console on a standard stream, for what moves the cursor: while rich does, it
    stands before the stream itself and would find only what makes text visible.
    """
    from rich.console import Console

    return Console(
        file=getattr(stream, "rich_proxied_file", stream),
        highlight=False,
        force_jupyter=False,  # rich takes a notebook, whose kernel forces colours, for a terminal
        force_terminal=stream.isatty(),
    )


def lasting_streams() -> None:
    """Replace the process's own standard streams by lasting ones; others, such as a notebook's, are
    left alone.
    """
    if sys.stdout is sys.__stdout__:
        sys.stdout = _lasting(sys.__stdout__, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _lasting(sys.__stderr__, 2)


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    if stream is None:  # closed: a file opened next would get this number, and what is printed
        _occupy(descriptor)
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    raw = _Lasting(stream.fileno(), "w", closefd=False)
    return _Visible(
        raw if stream.write_through else io.BufferedWriter(raw),  # python -u: nothing waits
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _occupy(descriptor: int) -> None:
    """Open a closed descriptor on nothing, for the processes to come as well."""
    try:
        os.fstat(descriptor)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        os.set_inheritable(descriptor, True)
