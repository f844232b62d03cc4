"""Checks that all readers share: regular files, sizes that a file can hold, labels, labelled sets.
NumPy alone: a bundle's predict.py holds this file.
"""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cnn_core.axes import Images, Labels
from cnn_core.errors import InputError

# A compressed file may state this much whatever its own size; beyond it, at most MAX_RATIO times
# its size (MNIST's ratio is 5).
ALWAYS_ALLOWED_BYTES = 64 << 20
MAX_RATIO = 100
MAX_BYTES = 4 << 30


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. Raises InputError for a pipe or a device, whose bytes may never come
    or never end, OSError as the system reports it.
    """
    # A FIFO without a writer would keep `open` waiting; regular files know no such waiting.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    kind = os.fstat(handle).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise InputError(f"{path}: must be a regular file, got a pipe or a device")


def read_regular(path: Path, most: int) -> bytes:
    """Return a file's bytes, of which there may be `most`. Raises as `open_regular` does."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) if size <= most else b""  # `read` allocates what it is told
    if max(size, len(content)) > most:
        raise InputError(f"{path}: may have at most {most:,} bytes, got {size:,}")
    return content


def check_plausible_size(stated_bytes: int, file_bytes: int, where: str) -> None:
    """Refuse a file that states more bytes than it can reasonably hold; nothing of that size has
    been allocated yet.
    """
    limit = min(MAX_BYTES, max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * file_bytes))
    if stated_bytes > limit:
        raise InputError(
            f"{where}: a file of {file_bytes:,} bytes may hold at most {limit:,}, it states "
            f"{stated_bytes:,}"
        )


def check_labels(labels: Labels, classes: int, place: Callable[[int], str]) -> None:
    """Refuse labels outside 0 .. classes - 1, naming the first; `place` turns its index into file
    and offset or line.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise InputError(
            f"{place(first)}: labels must be from 0 to {classes - 1}, got {int(labels[first])}"
        )


def check_labelled(images: Images, labels: Labels, classes: int, where: str) -> None:
    """Refuse images and labels that are not a labelled set: (N, C, H, W) uint8 and (N,) int64 in
    range, N at least 1.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or min(images.shape) < 1:
        raise InputError(
            f"{where}: images must be (N, C, H, W) uint8 with no empty axis, got {images.shape} "
            f"{images.dtype}"
        )
    if labels.shape != (len(images),) or labels.dtype != np.int64:
        raise InputError(
            f"{where}: labels must be ({len(images)},) int64, one an image, got {labels.shape} "
            f"{labels.dtype}"
        )
    check_labels(labels, classes, lambda i: f"{where}: image {i}")
