"""IDX files of images, plain or gzip-compressed, read as a stream."""

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from cnn_core.data.checks import check_plausible_size
from cnn_core.data.idx import read_idx_labels
from cnn_core.errors import InputError
from pipeline.inputs.input_source import Block, Wanted, fit_images, numbered

MAGIC = b"\x00\x00\x08\x03"


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
