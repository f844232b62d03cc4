"""A file of labels beside the pictures: a table of id and label, one label a line, or an array."""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.checks import MAX_RATIO, open_regular
from cnn_core.data.idx import idx_header, open_idx
from cnn_core.data.npy import npy_header, read_npy
from cnn_core.data.npz import npz_headers, read_npz
from cnn_core.errors import InputError
from pipeline.inputs.labels.label_arrays import label_names
from pipeline.inputs.labels.label_table import label_table

MAX_BYTES = 256 << 20  # of a file of labels, unpacked: ten million lines


@dataclass(frozen=True)
class LabelFile:
    """The labels of a file, one a picture, and the pictures' ids where the file has them."""

    ids: tuple[str, ...] | None
    labels: tuple[str, ...]
    understood: str

    def in_order(self, count: int, where: str) -> tuple[str, ...]:
        """Return the labels of `count` pictures that have no names but their numbers. Raises
        InputError where there are not as many, or where ids do not count them.
        """
        if len(self.labels) != count:
            raise InputError(
                f"images and labels must be as many, got {count} images in {where} and "
                f"{len(self.labels)} labels ({self.understood})"
            )
        return self.counted(where)

    def counted(self, where: str) -> tuple[str, ...]:
        """Return the labels in the order of the pictures, which their ids, if any, must count from
        0 or from 1. Raises InputError where they do not.
        """
        if self.ids is None:
            return self.labels
        count = len(self.labels)
        numbers = [int(text) if text.isdecimal() else -1 for text in self.ids]
        first = min(numbers)
        if first not in (0, 1) or sorted(numbers) != list(range(first, first + count)):
            raise InputError(
                "the ids of labels must count the images, which have none, from 0 or 1, got "
                f"{self.ids[0]!r}, ... for {where} ({self.understood})"
            )
        by_number = dict(zip(numbers, self.labels, strict=True))
        return tuple(by_number[number] for number in range(first, first + count))


def read_labels(path: Path, label: str = "auto", id_column: str = "auto") -> LabelFile:
    """Return what a file of labels holds: a table (CSV, text, .gz), .npy, .npz with one array, or
    IDX of one dimension; its first bytes decide.

    `label` and `id_column` name the columns of a table. Raises InputError for anything else.
    """
    try:
        with open_regular(path) as file:
            start = file.read(8)
        if start.startswith(b"\x1f\x8b"):
            with gzip.open(path, "rb") as unpacked:
                inside = unpacked.read(8)
        else:
            inside = start
        if inside[:2] == b"\0\0":
            return _of_array(_idx(path), path)
        if start.startswith(b"\x93NUMPY"):
            _check_size(npy_header(path).size_bytes, path)
            return _of_array(read_npy(path), path)
        if start.startswith(b"PK"):
            return _of_array(_alone(path), path)
        return LabelFile(*label_table(_text(path), str(path), label, id_column))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"compressed data must be whole, got {error} in {path}") from None
    except OSError as error:
        raise InputError(
            f"labels must be a readable file, got {path} ({error.strerror or error})"
        ) from None


def _of_array(values: NDArray[Any], path: Path) -> LabelFile:
    labels = label_names(values, str(path))
    return LabelFile(None, labels, f"{len(labels)} labels of {path.name}")


def _idx(path: Path) -> NDArray[Any]:
    header = idx_header(path)
    if len(header.shape) != 1:
        raise InputError(
            f"an IDX file of labels must have one dimension, got {header.shape} in {path}"
        )
    _check_size(header.shape[0] * header.dtype.itemsize, path)
    with open_idx(path) as stream:
        content = stream.read(header.length + header.shape[0] * header.dtype.itemsize + 1)
    size = len(content) - header.length
    if size != header.shape[0] * header.dtype.itemsize:
        raise InputError(
            f"an IDX file must hold what its header says, {header.shape[0]} labels, got {size} "
            f"bytes or more in {path}"
        )
    return np.frombuffer(content, header.dtype, offset=header.length)


def _alone(path: Path) -> NDArray[Any]:
    headers = npz_headers(path)
    if len(headers) != 1:
        raise InputError(
            f"an archive of labels must hold one array, got {', '.join(sorted(headers)[:8])} in "
            f"{path}"
        )
    _check_size(next(iter(headers.values())).size_bytes, path)
    return next(iter(read_npz(path).values()))


def _check_size(size: int, path: Path) -> None:
    if size > MAX_BYTES:
        raise InputError(f"labels may have at most {MAX_BYTES:,} bytes, got {size:,} in {path}")


def _text(path: Path) -> str:
    """Return the text of a file, unpacked; refuse what is not text or grows too much."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    limit = min(MAX_BYTES, max(1 << 24, MAX_RATIO * path.stat().st_size))
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise InputError(f"a file of labels may have at most {limit:,} bytes, got more in {path}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"a file of labels must be text or an array, got other bytes in {path}")
    if not text.strip():
        raise InputError(f"a file of labels must not be empty, got no line in {path}")
    return text
