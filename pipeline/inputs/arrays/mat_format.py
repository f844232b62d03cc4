"""MATLAB's file format, version 5: arrays of real numbers, read with every size checked.

SciPy reads these files too, but its reader ends the process by a signal on damaged bytes.
Source: MathWorks, "MAT-File Format": a header of 128 bytes, then elements, each a tag of type and
size; an array is an element of elements: flags, sizes, name, values, columns first.
"""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.checks import check_plausible_size
from cnn_core.errors import InputError

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8"}
_TYPES |= {12: "i8", 13: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = range(6, 16)  # classes from double to 64-bit unsigned integers
_COMPLEX = 0x0800
_MOST_ARRAYS, _MOST_AXES, _LONGEST_NAME = 4096, 32, 1024
_CHUNK = 1 << 20


class MatArray(NamedTuple):
    """What an array states of itself; `numbers` is false for text, cells, structures, objects,
    sparse and complex arrays.
    """

    shape: tuple[int, ...]
    numbers: bool


class _Inflated:
    """A compressed element as a stream."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left, self._packed = file, size, b""
        self._inflate = zlib.decompressobj()

    def read(self, count: int) -> bytes:
        """Return at most that many bytes, fewer at the end alone."""
        parts: list[bytes] = []
        while count:
            if not self._packed and self._left:
                self._packed = self._file.read(min(_CHUNK, self._left))
                self._left -= len(self._packed) or self._left
            part = self._inflate.decompress(self._packed, count)
            self._packed = self._inflate.unconsumed_tail
            if not part and not (self._packed or self._left):
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def mat_arrays(path: Path) -> dict[str, MatArray]:
    """Return what the file's arrays state of themselves, unread."""
    return {name: array for name, array, _ in _walk(path, frozenset())}


def read_mat_arrays(path: Path, names: frozenset[str]) -> dict[str, NDArray[Any]]:
    """Return these arrays in the type that the file stores, which may be narrower than their class.

    Raises InputError for damaged bytes and for sizes that the file cannot hold.
    """
    return {name: values for name, _, values in _walk(path, names) if values is not None}


def _walk(
    path: Path, wanted: frozenset[str]
) -> Iterator[tuple[str, MatArray, NDArray[Any] | None]]:
    """Yield name, statement and, where wanted, values of each array."""
    try:
        with path.open("rb") as file:
            order = _byte_order(file.read(128), path)
            end, at = path.stat().st_size, 128
            for _ in range(_MOST_ARRAYS):
                if at >= end:
                    return
                file.seek(at)
                kind, size, small = _tag(file, order, path)
                if small or size > end - at - 8 or kind not in (_MATRIX, _COMPRESSED):
                    raise _damaged(f"an element of type {kind} and {size:,} bytes at {at}", path)
                yield _array(file, (kind, size, order), path, wanted)
                at += 8 + size + (-size % 8 if kind == _MATRIX else 0)
    except zlib.error as error:
        raise _damaged(str(error), path) from None
    raise _damaged(f"more than {_MOST_ARRAYS} arrays", path)


def _byte_order(header: bytes, path: Path) -> str:
    order = {b"IM": "<", b"MI": ">"}.get(header[126:128])
    version = header[124:126]
    if order is None or version not in (b"\x00\x01", b"\x01\x00"):
        raise _damaged(f"the version {version!r} {header[126:128]!r}", path)
    return order


def _damaged(what: str, path: Path) -> InputError:
    return InputError(f"a MATLAB file must be whole and of version 5, got {what} in {path}")


def _tag(stream: Any, order: str, path: Path) -> tuple[int, int, bytes]:
    """Return type and size of an element, and its bytes where they lie in the tag itself."""
    tag = stream.read(8)
    if len(tag) < 8:
        raise _damaged("its end inside an element", path)
    word, size = (int(n) for n in np.frombuffer(tag, f"{order}u4"))
    if word >> 16:
        if word >> 16 > 4:
            raise _damaged(f"a small element of {word >> 16} bytes", path)
        return word & 0xFFFF, word >> 16, tag[4:]
    return word, size, b""


def _element(stream: Any, order: str, path: Path, most: int) -> tuple[int, bytes]:
    """Return type and content of an element of at most that many bytes."""
    kind, size, small = _tag(stream, order, path)
    if small:
        return kind, small[:size]
    if size > most:
        raise _damaged(f"an element of {size:,} bytes where {most:,} are expected", path)
    content = stream.read(size + -size % 8)[:size]
    if len(content) < size:
        raise _damaged("its end inside an element", path)
    return kind, content


def _array(
    file: IO[bytes], element: tuple[int, int, str], path: Path, wanted: frozenset[str]
) -> tuple[str, MatArray, NDArray[Any] | None]:
    kind, size, order = element
    stream: Any = file
    if kind == _COMPRESSED:
        stream = _Inflated(file, size)
        if _tag(stream, order, path)[0] != _MATRIX:
            raise _damaged("a compressed element that is no array", path)
    _, flags = _element(stream, order, path, 8)
    axes, sizes = _element(stream, order, path, 4 * _MOST_AXES)
    _, name = _element(stream, order, path, _LONGEST_NAME)
    if len(flags) != 8 or axes != 5 or len(sizes) < 8 or len(sizes) % 4:
        raise _damaged("an array without flags or sizes", path)
    word = int(np.frombuffer(flags, f"{order}u4")[0])
    shape = tuple(int(n) for n in np.frombuffer(sizes, f"{order}i4"))
    if min(shape) < 0:
        raise _damaged(f"an array of the sizes {shape}", path)
    text = name.decode("latin1")
    array = MatArray(shape, word & 0xFF in _NUMBERS and not word & _COMPLEX)
    if text not in wanted or not array.numbers:
        return text, array, None
    values = _values(stream, order, shape, path)
    if kind == _COMPRESSED:
        stream.read(16)  # to the end, where the checksum is compared
    return text, array, values


def _values(stream: Any, order: str, shape: tuple[int, ...], path: Path) -> NDArray[Any]:
    kind, size, small = _tag(stream, order, path)
    if kind not in _TYPES:
        raise _damaged(f"values of type {kind}", path)
    dtype = np.dtype(order + _TYPES[kind])
    if math.prod(shape) * dtype.itemsize != size:
        raise _damaged(f"{size:,} bytes for an array of the sizes {shape}", path)
    check_plausible_size(size, path.stat().st_size, f"{path}: an array of the sizes {shape}")
    content = small[:size] if small else stream.read(size)
    if len(content) < size:
        raise _damaged("its end inside an array", path)
    return np.frombuffer(content, dtype).reshape(shape, order="F")
