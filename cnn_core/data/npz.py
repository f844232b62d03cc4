"""NumPy archives (.npz) from untrusted sources: read member by member, without pickle and without
trust in stated sizes.

`numpy.load` would allocate what a header states and parse every entry of the directory; here the
directory's size is checked first, then each member's name, kind and size, before any of its values
is read.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from cnn_core.data.checks import check_plausible_size
from cnn_core.data.npy import NpyHeader, read_npy_header
from cnn_core.errors import InputError

MAX_MEMBERS = 4096
MAX_DIRECTORY_BYTES = 1 << 20
END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*(/[A-Za-z0-9_][A-Za-z0-9_.:+-]*)*\.npy")

AnyArray = npt.NDArray[Any]


def read_npz(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of an archive by name (without .npy).

    Refused with InputError: not a zip archive, a directory beyond 4096 members or 1 MiB, member
    names that leave the archive (``..``, a leading ``/``), encryption, object arrays (pickles),
    sizes that disagree or that the file cannot hold, damaged data (CRC).
    """
    with _archive(path) as archive:
        return {_name(member): _read_member(path, archive, member) for member in archive.infolist()}


def npz_headers(path: Path) -> dict[str, NpyHeader]:
    """Return what each array of an archive states of itself, unread. Refuses as `read_npz` does."""
    found = {}
    with _archive(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                found[_name(member)] = _header(file, member, f"{path}: {member.filename}")
    return found


@contextmanager
def npz_values(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open an array of an archive at its first value, to be read as a stream; damaged data is
    refused where it is met.
    """
    with _archive(path) as archive, archive.open(f"{name}.npy") as file:
        read_npy_header(file, f"{path}: {name}.npy")
        yield file


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose directory is safe to read; what zipfile raises becomes InputError."""
    try:
        stated = _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) != stated:
                raise zipfile.BadZipFile(
                    f"its end states {stated} members, its directory lists {len(members)}"
                )
            _check_members(path, members)
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        UnicodeDecodeError,
    ) as error:
        raise InputError(f"{path}: must be a whole .npz archive, got: {error}") from error
    except OSError as error:
        raise InputError(
            f"{path}: must be a readable file, got: {error.strerror or error}"
        ) from error


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _check_directory(path: Path) -> int:
    """Return how many members the archive states; the end-of-directory record is read here: zipfile
    would build an object per entry.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_OF_DIRECTORY.size - 65535))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + END_OF_DIRECTORY.size > len(tail):
        raise zipfile.BadZipFile("no end of a zip directory")
    fields = END_OF_DIRECTORY.unpack_from(tail, at)
    members, directory = fields[4], fields[5]
    if members > MAX_MEMBERS or directory > MAX_DIRECTORY_BYTES:
        limit = f"at most {MAX_MEMBERS} members in a directory of {MAX_DIRECTORY_BYTES:,} bytes"
        raise InputError(
            f"{path}: an archive may hold {limit}, it states {members} in {directory:,} bytes"
        )
    return int(members)


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(members) > MAX_MEMBERS or len(set(names)) < len(names):
        raise InputError(
            f"{path}: an archive may hold at most {MAX_MEMBERS} members of different names, got "
            f"{len(members)}"
        )
    for member in members:
        if not NAME.fullmatch(member.filename):
            raise InputError(
                f"{path}: members must be arrays (.npy) inside the archive, got "
                f"{member.filename[:80]!r}"
            )
        if member.flag_bits & 1 or member.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise InputError(
                f"{path}: {member.filename}: members must be stored or deflated, without encryption"
            )
    check_plausible_size(path, sum(member.file_size for member in members), "its members together")


def _read_member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> AnyArray:
    where = f"{path}: {member.filename}"
    with archive.open(member) as file:
        header = _header(file, member, where)
        size = header.size_bytes
        values = bytearray(size)
        view, done = memoryview(values), 0
        while done < size:
            chunk = file.read(min(1 << 20, size - done))
            if not chunk:
                raise InputError(
                    f"{where}: offset {header.length + done}: the data ends, but shape "
                    f"{header.shape} asks for {size - done:,} bytes more"
                )
            view[done : done + len(chunk)] = chunk
            done += len(chunk)
        file.read(1)  # at the end: zipfile compares the CRC
    return header.arranged(np.frombuffer(values, header.dtype))


def _header(file: IO[bytes], member: zipfile.ZipInfo, where: str) -> NpyHeader:
    """Return a member's header, where the archive states the same size."""
    header = read_npy_header(file, where)
    if header.length + header.size_bytes != member.file_size:
        raise InputError(
            f"{where}: offset {header.length}: shape {header.shape} {header.dtype} needs "
            f"{header.size_bytes:,} bytes, got {member.file_size - header.length:,}"
        )
    return header
