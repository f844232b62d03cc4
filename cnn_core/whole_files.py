"""Writing files so that none is ever partial: replaced as a whole, or longer by whole lines. What
the system refuses is an OSError that names the file meant, never a temporary one.
"""

import contextlib
import errno
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

# What a file system answers that cannot fsync folders.
_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Have an OSError of this block name `path`: the system names no file where writing fails, and
    the name of a temporary one means nothing to who reads it.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextlib.contextmanager
def whole_file(
    path: Path, *, private: bool = False, lasting: bool = True, named: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a file for writing, under a temporary name beside `path`, that gets its name only where
    the block ends without an exception.

    A crash at any point leaves the old file or the new one, never a part of either. private: for
    the user's eyes alone. lasting: fsynced, so that the new one survives a power cut. Raises
    OSError, with `path` (or `named`) as its file name, where the system refuses.
    """
    said = named or path
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags, mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666
    try:
        with naming(said):
            raw = _NamedFile(os.open(temporary, flags | getattr(os, "O_BINARY", 0), mode), said)
        with io.BufferedWriter(raw) as file:
            yield cast(BinaryIO, file)
            file.flush()
            if lasting:
                with naming(said):
                    os.fsync(file.fileno())
        with naming(said):
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # what was wrong before is what is to be told
            temporary.unlink(missing_ok=True)
        raise
    if lasting:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows; a folder that may be written to and not be read
        return
    try:
        with naming(folder):
            os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise
    finally:
        os.close(handle)


def append_whole(descriptor: int, content: bytes, path: Path) -> None:
    """Append `content` to the open file of `path`, all of it or nothing. Raises OSError."""
    end, done = os.fstat(descriptor).st_size, 0
    try:
        with naming(path):
            while done < len(content):  # a disk that gets full takes a part before it refuses
                done += os.write(descriptor, content[done:])
    except OSError:
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_size == end + done:  # no other process appended meanwhile
                os.ftruncate(descriptor, end)
        raise


class _NamedFile(io.FileIO):
    """A file open for writing, whose errors name the file that it is to become."""

    def __init__(self, descriptor: int, path: Path) -> None:
        super().__init__(descriptor, "w")
        self._path = path

    def write(self, content: Any, /) -> int:
        with naming(self._path):
            return super().write(content)
