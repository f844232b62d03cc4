"""IDX files (MNIST's format), plain or gzip-compressed; sizes that a header states are checked
against what the file can hold.

Format: two zero bytes, one for the type (8: unsigned byte), one for the number of dimensions, then
each size as a big-endian 32-bit number, then the values in C order. Source: the MNIST database's
page.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Images, Labels
from cnn_core.data.checks import check_labels, check_plausible_size
from cnn_core.errors import InputError

UNSIGNED_BYTE = 8
CHUNK = 1 << 20


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the array of an IDX file of unsigned bytes with that many dimensions.

    Memory is bounded: no more bytes are decompressed than the header states, and a header that
    states far more than the file can hold (a gzip bomb) is refused at once. Raises InputError with
    the file and the offset, in uncompressed bytes, where it breaks the format.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
            return _read(stream, path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: gzip data must be whole, got: {error}") from error
    except OSError as error:
        raise InputError(
            f"{path}: must be a readable file, got: {error.strerror or error}"
        ) from error


def _read(stream: BinaryIO, path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    header = stream.read(4 + 4 * dimensions)
    if (
        len(header) < 4
        or header[0]
        or header[1]
        or header[2] != UNSIGNED_BYTE
        or header[3] != dimensions
    ):
        rule = (
            f"an IDX file of unsigned bytes with {dimensions} dimension{'s'[: dimensions > 1]} "
            f"begins with 0000 08 {dimensions:02x}"
        )
        raise InputError(f"{path}: offset 0: {rule}, got {header[:4].hex(' ') or 'an empty file'}")
    if len(header) < 4 + 4 * dimensions:
        raise InputError(
            f"{path}: offset 4: the header must give {dimensions} sizes of 4 bytes, the file ends "
            f"at offset {len(header)}"
        )
    shape = tuple(int.from_bytes(header[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    size = math.prod(shape)
    if size == 0:
        raise InputError(f"{path}: offset 4: every dimension must be at least 1, got {shape}")
    check_plausible_size(path, size, f"offset 4: dimensions {shape}")
    values = np.empty(size, np.uint8)
    view, done = values.data, 0
    while done < size:
        chunk = stream.read(min(CHUNK, size - done))
        if not chunk:
            raise InputError(
                f"{path}: offset {len(header) + done}: the file ends, but dimensions {shape} ask "
                f"for {size - done} bytes more"
            )
        view[done : done + len(chunk)] = chunk
        done += len(chunk)
    if stream.read(1):
        raise InputError(
            f"{path}: offset {len(header) + size}: the file must end here by its dimensions "
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
