"""Files of arrays: .npy, mapped into memory, .npz, read without pickle, and IDX, plain or
gzip-compressed, read as a stream.
"""

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Labels
from cnn_core.data.checks import check_plausible_size
from cnn_core.data.idx import read_idx_labels
from cnn_core.data.npz import read_npz
from cnn_core.errors import InputError
from pipeline.inputs.wanted import Block, Wanted, check_labels, fit_images, numbered

MAGIC = b"\x00\x00\x08\x03"  # IDX: unsigned bytes, three dimensions
_IMAGE_NAMES = ("images", "x", "x_test", "test_images", "arr_0")
_LABEL_NAMES = ("labels", "y", "y_test", "test_labels", "arr_1")
_MAX_HEADER_BYTES = 4096


class ArraySource:
    """Images as an array: uint8 or other integers from 0 to 255, or floats from 0 to 1."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self.path, self.wanted = path, wanted
        if path.suffix == ".npz":
            arrays = read_npz(path)
            self.values = _pick(arrays, _IMAGE_NAMES, path)
            labels = next((arrays[name] for name in _LABEL_NAMES if name in arrays), None)
        else:
            self.values, labels = _map_npy(path), None
        if self.values.ndim < 2 or len(self.values) == 0:
            raise InputError(
                "an array of images must hold at least one, (N, ...), got shape "
                f"{self.values.shape} in {path}"
            )
        if self.values.dtype.kind not in "uif":
            raise InputError(
                "images must be integers from 0 to 255 or floats from 0 to 1, got "
                f"{self.values.dtype} in {path}"
            )
        fit_images(np.empty((0, *self.values.shape[1:]), np.uint8), wanted, str(path))
        self.labels = self._checked(labels)
        self.count: int | None = len(self.values)

    def blocks(self, size: int) -> Iterator[Block]:
        for start in range(0, len(self.values), size):
            part = self.values[start : start + size]
            images = fit_images(_as_bytes(part, start, self.path), self.wanted, str(self.path))
            labels = None if self.labels is None else self.labels[start : start + size]
            yield Block(images=images, ids=numbered(start, len(part)), labels=labels)

    def _checked(self, labels: NDArray[Any] | None) -> Labels | None:
        if labels is None or self.wanted.label == "none":
            return None
        if labels.shape != (len(self.values),) or labels.dtype.kind not in "ui":
            raise InputError(
                f"labels must be {len(self.values)} integers, got shape {labels.shape} of "
                f"{labels.dtype} in {self.path}"
            )
        return check_labels(labels, self.wanted, str(self.path))


def _pick(arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...], path: Path) -> NDArray[Any]:
    for name in names:
        if name in arrays:
            return arrays[name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise InputError(
        f"an archive of images must hold an array named {', '.join(names)}, got "
        f"{', '.join(sorted(arrays)[:8])} in {path}"
    )


def _map_npy(path: Path) -> NDArray[Any]:
    """Map a .npy file into memory; its header is bounded, and an object array (a pickle) is refused
    unread.
    """
    with path.open("rb") as file:
        start = file.read(12)
        if start[:6] != b"\x93NUMPY" or len(start) < 12:
            raise InputError(
                f"a .npy file begins with its magic bytes, got {start[:6]!r} in {path}"
            )
        length = int.from_bytes(start[8:10] if start[6] == 1 else start[8:12], "little")
        if length > _MAX_HEADER_BYTES:
            raise InputError(
                f"the header of a .npy file must have at most {_MAX_HEADER_BYTES} bytes, got "
                f"{length} in {path}"
            )
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError, OverflowError, TypeError) as error:
        raise InputError(
            f"a .npy file must hold a whole array of numbers, got {str(error).splitlines()[0]} in "
            f"{path}"
        ) from None
    if math.prod(values.shape) * values.dtype.itemsize > path.stat().st_size:
        raise InputError(
            f"a .npy file must be as long as its header says, got {path.stat().st_size} bytes in "
            f"{path}"
        )
    return np.asarray(values)


def _as_bytes(values: NDArray[Any], start: int, path: Path) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return np.asarray(values)
    high = 1 if values.dtype.kind == "f" else 255
    wrong = ~((values >= 0) & (values <= high))  # NaN compares False
    if wrong.any():
        at = tuple(int(axis[0]) for axis in np.nonzero(wrong))
        kind = "floats from 0 to 1" if high == 1 else "integers from 0 to 255"
        raise InputError(
            f"pixels must be {kind}, got {values[at]} at image {start + at[0]} of {path}"
        )
    pixels: NDArray[np.uint8] = np.rint(values * (255 if high == 1 else 1)).astype(np.uint8)
    return pixels


class IdxSource:
    """``*-images-idx3-ubyte`` and ``.gz``; a labels file of the same name (``images-idx3`` ->
    ``labels-idx1``) beside it is read too.
    """

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self.path, self.wanted = path, wanted
        with _open(path) as stream:
            header = _read(stream, 16, path)
        if header[:4] != MAGIC:
            raise InputError(
                f"an IDX file of images begins with 00 00 08 03, got {header[:4].hex(' ')} in "
                f"{path}"
            )
        self.shape = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
        if self.shape[0] == 0:
            raise InputError(f"a file of images must hold at least one, got 0 in {path}")
        check_plausible_size(path, math.prod(self.shape), "its header")
        fit_images(np.empty((0, *self.shape[1:]), np.uint8), wanted, str(path))
        self.count: int | None = self.shape[0]

    def blocks(self, size: int) -> Iterator[Block]:
        labels = self._labels()
        total, image_bytes = self.shape[0], self.shape[1] * self.shape[2]
        with _open(self.path) as stream:
            _read(stream, 16, self.path)
            for start in range(0, total, size):
                count = min(size, total - start)
                values = np.frombuffer(
                    _read(stream, count * image_bytes, self.path), np.uint8
                ).reshape(count, *self.shape[1:])
                part = None if labels is None else labels[start : start + count]
                yield Block(
                    images=fit_images(values, self.wanted, str(self.path)),
                    ids=numbered(start, count),
                    labels=part,
                )
            if _some(stream, 1, self.path):
                raise InputError(
                    f"an IDX file must end where its header says, after {total} images, got more "
                    f"bytes in {self.path}"
                )

    def _labels(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
        beside = self.path.with_name(
            self.path.name.replace("images-idx3", "labels-idx1").replace(
                "images.idx3", "labels.idx1"
            )
        )
        if beside == self.path or not beside.exists() or self.wanted.label == "none":
            return None
        labels = read_idx_labels(beside, self.wanted.classes)
        if len(labels) != self.shape[0]:
            raise InputError(
                f"images and labels must be as many, got {self.shape[0]} in {self.path} and "
                f"{len(labels)} in {beside}"
            )
        return labels


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb") if compressed else path.open("rb"))


def _some(stream: BinaryIO, count: int, path: Path) -> bytes:
    try:
        return stream.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"compressed data must be whole, got {error} in {path}") from None


def _read(stream: BinaryIO, count: int, path: Path) -> bytes:
    content = _some(stream, count, path)
    if len(content) < count:
        raise InputError(
            f"an IDX file must hold what its header says, got its end {count - len(content)} bytes "
            f"early in {path}"
        )
    return content
