"""NumPy archives (.npz) from untrusted sources: read member by member, without pickle and without
trust in stated sizes.

`numpy.load` would allocate what a header states and parse every entry of the directory; here the
directory's size is checked first, then each member's name, kind and size, before any of its values
is read. NumPy alone: a bundle's predict.py holds this file.
"""

import io
import os
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

from cnn_core.data.checks import MAX_BYTES, check_plausible_size, open_regular
from cnn_core.data.npy import NpyHeader, read_npy_header
from cnn_core.errors import InputError

MAX_MEMBERS = 4096
MAX_DIRECTORY_BYTES = 1 << 20
END_OF_DIRECTORY = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")  # of zip64, right before the end
_ZIP64 = struct.Struct("<4sQ2H2L4Q")  # its record, right before the locator
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:+-]*(/[A-Za-z0-9_][A-Za-z0-9_.:+-]*)*\.npy")

# What zipfile raises for damage, beside RuntimeError for a password: ValueError for a name that is
# no text, IndexError for none.
DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),
    *(struct.error, ValueError, IndexError),
)

AnyArray = npt.NDArray[Any]


def read_npz(path: Path) -> dict[str, AnyArray]:
    """Return the arrays of an archive by name (without .npy).

    Refused with InputError: not a zip archive, a directory beyond 4096 members or 1 MiB, member
    names that leave the archive (``..``, a leading ``/``), encryption, object arrays (pickles),
    sizes that disagree or that the file cannot hold, damaged data (CRC).
    """
    with _archive(path) as archive:
        return _arrays(archive, str(path))


def arrays_of(content: bytes, where: str, most: int = MAX_BYTES) -> dict[str, AnyArray]:
    """Return the arrays of an archive that is in memory; refuses as `read_npz` does, and members
    that state more than `most` bytes together, before any of them is unpacked.
    """
    with _refused(where), _opened(io.BytesIO(content), where) as archive:
        stated = sum(member.file_size for member in archive.infolist())
        if stated > most:
            raise InputError(f"{where}: its members may hold {most:,} bytes, they state {stated:,}")
        return _arrays(archive, where)


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


def zip_directory(file: IO[bytes]) -> tuple[int, int]:
    """Return how many members a zip archive states and how many bytes its directory has, read where
    zipfile reads them: zipfile itself would build an object per entry. Raises zipfile.BadZipFile
    where there is no directory.

    Of zip64 the record right before the end counts, as zipfile takes it, whatever the end says.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END_OF_DIRECTORY.size - 65535 - _LOCATOR.size - _ZIP64.size))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + END_OF_DIRECTORY.size > len(tail):
        raise zipfile.BadZipFile("no end of a zip directory")
    _, _, _, _, members, directory, offset, _ = END_OF_DIRECTORY.unpack_from(tail, at)
    locator = tail[max(0, at - _LOCATOR.size) : at]
    if not locator.startswith(b"PK\x06\x07"):
        if members == 0xFFFF or 0xFFFFFFFF in (directory, offset):
            raise zipfile.BadZipFile("an end that refers to zip64, without its record")
        return members, directory
    at -= _LOCATOR.size + _ZIP64.size
    if at < 0 or not tail.startswith(b"PK\x06\x06", at):
        raise zipfile.BadZipFile("zip64 without its record before the end")
    stated = _ZIP64.unpack_from(tail, at)
    if members not in (0xFFFF, stated[7]) or directory not in (0xFFFFFFFF, stated[8]):
        raise zipfile.BadZipFile(f"its end states {members} members, its zip64 record {stated[7]}")
    return stated[7], stated[8]


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive of a file."""
    with _refused(str(path)), open_regular(path) as file, _opened(file, str(path)) as archive:
        yield archive


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """Turn what zipfile and the system raise into InputError."""
    try:
        yield
    except InputError:
        raise
    except (*DAMAGED_ZIP, RuntimeError) as error:
        raise InputError(f"{where}: must be a whole .npz archive, got: {error}") from error
    except OSError as error:
        raise InputError(
            f"{where}: must be a readable file, got: {error.strerror or error}"
        ) from error


@contextmanager
def _opened(file: IO[bytes], where: str) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose directory is safe to read."""
    stated, directory = zip_directory(file)
    if stated > MAX_MEMBERS or directory > MAX_DIRECTORY_BYTES:
        limit = f"at most {MAX_MEMBERS} members in a directory of {MAX_DIRECTORY_BYTES:,} bytes"
        raise InputError(
            f"{where}: an archive may hold {limit}, it states {stated} in {directory:,} bytes"
        )
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) != stated:
            raise zipfile.BadZipFile(
                f"its end states {stated} members, its directory lists {len(members)}"
            )
        _check_members(where, file.seek(0, os.SEEK_END), members)
        yield archive


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _check_members(where: str, size: int, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise InputError(
            f"{where}: an archive must hold members of different names, got {len(members)}"
        )
    for member in members:
        if not NAME.fullmatch(member.filename):
            raise InputError(
                f"{where}: members must be arrays (.npy) inside the archive, got "
                f"{member.filename[:80]!r}"
            )
        if member.flag_bits & 1 or member.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise InputError(
                f"{where}: {member.filename}: members must be stored or deflated, without "
                "encryption"
            )
    check_plausible_size(
        sum(member.file_size for member in members), size, f"{where}: its members together"
    )


def _arrays(archive: zipfile.ZipFile, where: str) -> dict[str, AnyArray]:
    return {_name(member): _read_member(where, archive, member) for member in archive.infolist()}


def _read_member(where: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> AnyArray:
    where = f"{where}: {member.filename}"
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
