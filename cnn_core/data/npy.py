"""The header of an array file (.npy) from an untrusted source: parsed strictly, before anything is
allocated or mapped.

Format: NumPy Enhancement Proposal 1: the magic bytes, a version, the header's length, and a literal
of three fields. NumPy alone: a bundle's predict.py holds this file.
"""

import ast
import math
import os
import warnings
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cnn_core.data.checks import open_regular
from cnn_core.errors import InputError

MAX_HEADER_BYTES = 4096
MAX_AXES = 32


class NpyHeader(NamedTuple):
    """What a .npy file states: its values follow `length` bytes of header."""

    shape: tuple[int, ...]
    fortran: bool  # the first axis varies fastest
    dtype: np.dtype[Any]
    length: int

    @property
    def size_bytes(self) -> int:
        """Return how many bytes the values take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def arranged(self, flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the file's values, (product of shape,), in its shape."""
        return flat.reshape(self.shape[::-1]).T if self.fortran else flat.reshape(self.shape)


def read_npy_header(file: IO[bytes], where: str) -> NpyHeader:
    """Return shape, order, dtype and the header's length; the header is a literal, so parsing it
    runs nothing.

    Raises InputError, naming `where` and the offset, for other bytes, a header of more than 4096,
    objects (pickles), records, types of no size and shapes that are no tuple of counts.
    """
    start = file.read(12)
    if (
        start[:6] != b"\x93NUMPY"
        or start[6:8] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00")
        or len(start) < 12
    ):
        raise InputError(
            f"{where}: offset 0: a .npy member begins with 93 'NUMPY' and version 1 to 3, got "
            f"{start[:8]!r}"
        )
    wide = start[6] > 1
    length = int.from_bytes(start[8:12] if wide else start[8:10], "little")
    if length > MAX_HEADER_BYTES:
        raise InputError(
            f"{where}: offset 8: a .npy header may have at most {MAX_HEADER_BYTES} bytes, it "
            f"states {length:,}"
        )
    text = b"" if wide else start[10:12]
    text += file.read(max(0, length - len(text)))
    try:
        with warnings.catch_warnings():  # of Python and NumPy, about a stranger's spelling
            warnings.simplefilter("ignore")
            fields = ast.literal_eval(text.decode("utf-8" if start[6] == 3 else "latin1"))
            shape, fortran, descr = fields["shape"], fields["fortran_order"], fields["descr"]
            dtype = np.dtype(descr)
    except (
        *(ValueError, SyntaxError, TypeError, KeyError),
        *(MemoryError, RecursionError, OverflowError),
    ) as error:
        raise InputError(
            f"{where}: offset 10: a .npy header must give descr, fortran_order and shape, got "
            f"{text[:60]!r}"
        ) from error
    if not (_plain_shape(shape) and isinstance(fortran, bool) and _plain_type(descr, dtype)):
        raise InputError(
            f"{where}: offset 10: must be plain numbers or text (no objects), got "
            f"{str(descr)[:40]!r}, shape {str(shape)[:40]}"
        )
    # Of an empty array NumPy counts the other axes.
    if 0 in shape and math.prod(n for n in shape if n) * dtype.itemsize >= 1 << 63:
        raise InputError(
            f"{where}: offset 10: an array must have a size that NumPy can count, got shape "
            f"{str(shape)[:40]} {dtype}"
        )
    return NpyHeader(shape, fortran, dtype, (12 if wide else 10) + length)


def _plain_shape(shape: object) -> bool:
    return (
        isinstance(shape, tuple)
        and len(shape) <= MAX_AXES
        and all(type(n) is int and n >= 0 for n in shape)
    )


def _plain_type(descr: object, dtype: np.dtype[Any]) -> bool:
    return isinstance(descr, str) and dtype.kind in "biufcSU" and dtype.itemsize > 0


def npy_header(path: Path) -> NpyHeader:
    """Return the header of a .npy file whose length is what the header says. Raises InputError
    where it is not.
    """
    with open_regular(path) as file:
        header = read_npy_header(file, str(path))
        size = os.fstat(file.fileno()).st_size
    if header.length + header.size_bytes != size:
        raise InputError(
            f"{path}: offset {header.length}: a .npy file must be as long as its header says, "
            f"shape {header.shape} {header.dtype} needs {header.size_bytes:,} bytes, got "
            f"{size - header.length:,}"
        )
    return header


def read_npy(path: Path) -> npt.NDArray[Any]:
    """Return the array of a .npy file, read whole; refuses as `npy_header` does."""
    header = npy_header(path)
    with open_regular(path) as file:
        file.seek(header.length)
        content = file.read(header.size_bytes)
    if len(content) < header.size_bytes:
        raise InputError(f"{path}: must not change while it is read, got its end too early")
    return header.arranged(np.frombuffer(content, header.dtype))
