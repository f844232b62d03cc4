"""A file of labels beside the pictures: a table of id and label, one label a line, or an array."""

import gzip
import zlib
from dataclasses import dataclass
from itertools import pairwise
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
from pipeline.inputs.labels.labels import label_text

_DIGITS = 18  # of an id that counts pictures
MAX_BYTES = 256 << 20  # of a file of labels, unpacked: ten million lines


@dataclass(frozen=True)
class LabelFile:
    """The labels of a file, one a picture, and the pictures' ids where the file has them."""

    ids: tuple[str, ...] | None
    labels: tuple[str, ...]
    understood: str
    index_way: str = ""  # what names the column of ids, where it is but an index that nobody named

    def in_order(
        self, count: int, where: str, names: tuple[str, ...] | None = None
    ) -> tuple[tuple[str, ...], str]:
        """Return the labels of `count` pictures of an array, and in a word how they were joined:
        by the pictures' names where both have the same, else as `counted` does. Raises InputError
        where there are not as many, or as `counted` does.
        """
        if len(self.labels) != count:
            raise InputError(
                f"images and labels must be as many, got {count} images in {where} and "
                f"{len(self.labels)} labels ({self.understood})"
            )
        if names and self.ids and {*names} == {*self.ids}:
            by_name = dict(zip(self.ids, self.labels, strict=True))
            return tuple(by_name[name] for name in names), "by id"
        return self.counted(where)

    def counted(self, where: str, by_number: str = "") -> tuple[tuple[str, ...], str]:
        """Return the labels in the order of the pictures, which their ids, if any, must count from
        0 or from 1, and in a word how they were joined.

        An index that nobody named is what is left of a table that was sorted or shuffled: where it
        rises the labels are in order; where it counts in another order, they may stand as the
        pictures do, or as their numbers say. Raises InputError then, with `by_number`, what the
        user can say for the latter, and for ids that do not count.
        """
        if self.ids is None:
            return self.labels, "in order"
        numbers = list(map(_number, self.ids))
        if self.index_way and min(numbers) >= 0 and all(a < b for a, b in pairwise(numbers)):
            return self.labels, "in order"
        first, count = min(numbers), len(numbers)
        shown = f"{', '.join(map(repr, self.ids[:3]))}{', ...' if count > 3 else ''}"
        if first not in (0, 1) or sorted(numbers) != list(range(first, first + count)):
            raise InputError(
                "the ids of labels must count the images, which have none, from 0 or 1, got "
                f"{shown} for {where} ({self.understood}); `id`=none takes the labels in order"
            )
        if self.index_way:
            raise InputError(
                "the order of labels must be certain, got an index that counts the images, but "
                f"does not rise ({shown}) for {where} ({self.understood}); `id`=none takes the "
                f"labels in order, {by_number or self.index_way} by these numbers"
            )
        by_number_of = dict(zip(numbers, self.labels, strict=True))
        return tuple(by_number_of[number] for number in range(first, first + count)), "by number"


def _number(text: str) -> int:
    """Return the number that an id is, also as a float is written; -1 for others."""
    text = text if text.isdecimal() else label_text(text)
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else -1


def read_labels(path: Path, label: str = "auto", id_column: str = "auto") -> LabelFile:
    """Return what a file of labels holds: a table (CSV, text, .gz), .npy, .npz with one array, or
    IDX of one dimension; its first bytes decide.

    `label` and `id_column` say which columns of a table they are, as `label_table` takes them.
    Raises InputError for anything else.
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
        return LabelFile(*label_table(text_of(path), str(path), label, id_column))
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


def text_of(path: Path) -> str:
    """Return the text of a file of labels, unpacked. Raises InputError for what is not text, or
    grows too much.
    """
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
