"""IDX files (MNIST's format), plain or gzip-compressed; sizes that a header states are checked
against what the file can hold.

Format: two zero bytes, one for the type (8: unsigned byte), one for the number of dimensions, then
each size as a big-endian 32-bit number, then the values in C order. Source: the MNIST database's
page. NumPy alone: a bundle's predict.py holds this file.
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Images, Labels
from cnn_core.data.checks import check_labels, check_plausible_size, open_regular
from cnn_core.errors import InputError

UNSIGNED_BYTE = 8
CHUNK = 1 << 20
TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


class IdxHeader(NamedTuple):
    """What an IDX file states: its values follow `length` bytes of header."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    length: int


@contextmanager
def open_idx(path: Path) -> Iterator[BinaryIO]:
    """Open an IDX file, unpacked where it is compressed; what gzip raises becomes InputError."""
    try:
        with open_regular(path) as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: gzip data must be whole, got: {error}") from error
    except OSError as error:
        raise InputError(
            f"{path}: must be a readable file, got: {error.strerror or error}"
        ) from error


def idx_header(path: Path) -> IdxHeader:
    """Return what an IDX file of any type states, with 1 to 4 dimensions. Raises InputError for
    other beginnings, and for sizes that the file cannot hold.
    """
    with open_idx(path) as stream:
        start = stream.read(4)
        if (
            len(start) < 4
            or start[:2] != b"\0\0"
            or start[2] not in TYPES
            or start[3] not in range(1, 5)
        ):
            raise InputError(
                f"{path}: offset 0: an IDX file begins with 00 00, its type (08, 09, 0b to 0e) and "
                f"1 to 4 dimensions, got {start.hex(' ') or 'an empty file'}"
            )
        shape, dtype = _shape(stream, path, start[3]), np.dtype(TYPES[start[2]])
    size = math.prod(shape) * dtype.itemsize
    check_plausible_size(size, path.stat().st_size, f"{path}: offset 4: dimensions {shape}")
    return IdxHeader(shape, dtype, 4 + 4 * len(shape))


def _shape(stream: BinaryIO, path: Path, dimensions: int) -> tuple[int, ...]:
    """Return the sizes that follow the first four bytes, each at least 1."""
    sizes = stream.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise InputError(
            f"{path}: offset 4: the header must give {dimensions} sizes of 4 bytes, the file ends "
            f"at offset {4 + len(sizes)}"
        )
    shape = tuple(int.from_bytes(sizes[4 * i : 4 * i + 4], "big") for i in range(dimensions))
    if 0 in shape:
        raise InputError(f"{path}: offset 4: every dimension must be at least 1, got {shape}")
    return shape


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes with that many dimensions.

    Memory is bounded: no more bytes are decompressed than the header states, and a header that
    states far more than the file can hold (a gzip bomb) is refused at once. Raises InputError with
    the file and the offset, in uncompressed bytes, where it breaks the format.
    """
    with open_idx(path) as stream:
        return _read_values(stream, path, dimensions)


def _read_values(stream: BinaryIO, path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    header = stream.read(4)
    if header != bytes((0, 0, UNSIGNED_BYTE, dimensions)):
        rule = (
            f"an IDX file of unsigned bytes with {dimensions} dimension{'s'[: dimensions > 1]} "
            f"begins with 0000 08 {dimensions:02x}"
        )
        raise InputError(f"{path}: offset 0: {rule}, got {header[:4].hex(' ') or 'an empty file'}")
    shape = _shape(stream, path, dimensions)
    size, start = math.prod(shape), 4 + 4 * dimensions
    check_plausible_size(size, path.stat().st_size, f"{path}: offset 4: dimensions {shape}")
    values = np.empty(size, np.uint8)
    view, done = values.data, 0
    while done < size:
        chunk = stream.read(min(CHUNK, size - done))
        if not chunk:
            raise InputError(
                f"{path}: offset {start + done}: the file ends, but dimensions {shape} ask "
                f"for {size - done} bytes more"
            )
        view[done : done + len(chunk)] = chunk
        done += len(chunk)
    if stream.read(1):
        raise InputError(
            f"{path}: offset {start + size}: the file must end here by its dimensions "
            f"{shape}, but goes on"
        )
    return values.reshape(shape)


def read_idx_images(path: Path) -> Images:
    """Return (N, 1, H, W) uint8."""
    return read_idx(path, 3)[:, None]


def read_idx_labels(path: Path, classes: int) -> Labels:
    """Return (N,) int64, all from 0 to classes - 1."""
    labels = read_idx(path, 1).astype(np.int64)
    check_labels(labels, classes, lambda i: f"{path}: offset {8 + i}")
    return labels
