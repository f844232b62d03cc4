"""The content of a file, also behind gzip or in a zip of one member, as a stream that is never a
bomb.
"""

import gzip
import io
import lzma
import zipfile
from pathlib import Path
from typing import BinaryIO, cast

from cnn_core.data.checks import open_regular
from cnn_core.data.npz import DAMAGED_ZIP, MAX_DIRECTORY_BYTES, MAX_MEMBERS, zip_directory
from cnn_core.errors import InputError

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
# Beyond the free bytes, content may be at most this many times larger than its file; digits reach
# 20.
FREE_BYTES = 64 << 20
MAX_RATIO = 100
_BROKEN = (*DAMAGED_ZIP, gzip.BadGzipFile, lzma.LZMAError)


def open_unpacked(path: Path) -> BinaryIO:
    """Open the content of a file: of gzip and of a zip's only member what is inside.

    Raises InputError, when it is opened or read, for a zip of several files, damage, and content
    that grows beyond all measure.
    """
    with open_regular(path) as file:
        start = file.read(4)
    if start.startswith(GZIP):
        return cast(BinaryIO, io.BufferedReader(_Unpacked(cast(BinaryIO, gzip.open(path)), path)))
    if start == ZIP:
        return cast(BinaryIO, io.BufferedReader(_Unpacked(_only_member(path), path)))
    return open_regular(path)


def zip_members(path: Path) -> list[str]:
    """Return the names of a zip's files, without what macOS adds. Raises InputError for damage, and
    for an archive of so many files that they are not even listed.
    """
    try:
        with open_regular(path) as file:
            count, directory = zip_directory(file)
            if count > MAX_MEMBERS or directory > MAX_DIRECTORY_BYTES:
                raise InputError(
                    "a zip archive must hold one file, or arrays, to be read as it is, got "
                    f"{count:,} files in {path}; unpack it"
                )
            archive = zipfile.ZipFile(file)
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    except InputError:
        raise
    except _BROKEN as error:
        raise _damaged(path, error) from None
    return [name for name in names if not name.startswith("__MACOSX/")]


def _only_member(path: Path) -> BinaryIO:
    names = zip_members(path)
    if len(names) != 1:
        raise InputError(
            f"a zip archive must hold one file to be read as it is, got {len(names)} files in "
            f"{path}; unpack it"
        )
    try:
        return cast(BinaryIO, zipfile.ZipFile(path).open(names[0]))
    except _BROKEN as error:
        raise _damaged(path, error) from None
    except RuntimeError:  # zipfile's word for a password
        raise InputError(
            f"a zip archive must not ask for a password, got {names[0]} in {path}; unpack it"
        ) from None


class _Unpacked(io.RawIOBase):
    """What a packed stream holds, up to the largest size that its file is trusted with."""

    def __init__(self, packed: BinaryIO, path: Path) -> None:
        self.packed, self.path = packed, path
        self.done, self.most = 0, max(FREE_BYTES, MAX_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            content = self.packed.read(len(buffer))
        except _BROKEN as error:
            raise _damaged(self.path, error) from None
        self.done += len(content)
        if self.done > self.most:
            raise InputError(
                f"compressed data may grow at most {MAX_RATIO} times, got more after "
                f"{self.done:,} bytes of {self.path}"
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self.packed.close()
        super().close()


def _damaged(path: Path, error: BaseException) -> InputError:
    return InputError(f"compressed data must be whole, got {error} in {path}")
