"""Files of arrays: .npy and .npz, read as streams and without pickle, and MATLAB's .mat."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.npy import NpyHeader, npy_header
from cnn_core.data.npz import npz_headers, npz_values
from cnn_core.errors import InputError
from pipeline.inputs.arrays.array_layout import ArrayLayout, layout_of
from pipeline.inputs.arrays.array_names import ArrayInfo, choose_arrays
from pipeline.inputs.arrays.mat_files import read_mat
from pipeline.inputs.arrays.stored_array import HeldArray, StoredArray, StreamedArray
from pipeline.inputs.input_source import Block, Hints, numbered
from pipeline.inputs.labels.label_arrays import label_names
from pipeline.inputs.labels.label_files import read_labels


class ArraySource:
    """Pictures of an array, (N, H, W), (N, C, H, W), (N, H, W, C) or rows of pixels, of any type of
    numbers, with the labels of the same archive or of `hints.labels`.
    """

    def __init__(self, path: Path, hints: Hints) -> None:
        self.path = path
        self._array, found, self._ids, words = _open(path, hints)
        if self._array.dtype.kind not in "uifb":
            raise InputError(f"images must be numbers, got {self._array.dtype} in {path}")
        if not self._array.shape:
            raise InputError(f"images must be an array (N, ...), got one number in {path}")
        self._labels, more = labels_for(found, self._array.shape[0], hints, path, self._ids)
        self._layout = layout_of(
            self._array.shape,
            hints.shape,
            str(path),
            lambda: next(self._array.blocks(64)),
            labelled=self._labels is not None,
        )
        self.count: int | None = self._array.shape[0]
        self.id_name: str | None = "id" if self._ids is not None else None
        self.understood = "; ".join(
            part for part in (words, more, self._layout.words, f"{self.count} pictures") if part
        )
        self.damaged: Sequence[str] = ()
        self.pixel_names: Sequence[str] = ()
        self.separate = False

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield blocks of at most `size` pictures; ids that the file does not hold count from 1."""
        yield from numbered_blocks(self._array.blocks(size), self._layout, self._labels, self._ids)


def numbered_blocks(
    parts: Iterator[NDArray[Any]],
    layout: ArrayLayout,
    labels: tuple[str, ...] | None,
    ids: tuple[str, ...] | None = None,
) -> Iterator[Block]:
    """Yield the parts of an array as blocks of pictures with their labels and ids, which count from
    1 where there are none.
    """
    start = 0
    for part in parts:
        stop = start + len(part)
        yield Block(
            pictures=layout.pictures(part),
            ids=numbered(start, len(part)) if ids is None else ids[start:stop],
            labels=None if labels is None else labels[start:stop],
        )
        start = stop


def labels_for(
    found: tuple[str, ...] | None,
    count: int,
    hints: Hints,
    path: Path,
    ids: tuple[str, ...] | None = None,
) -> tuple[tuple[str, ...] | None, str]:
    """Return the labels of `count` pictures, of these ids or numbered: those found with them, or of
    `hints.labels`, and a line about the latter. Raises InputError where they are not as many, or
    needed and absent.
    """
    if hints.label == "none":
        return None, ""
    if hints.labels is not None:
        file = read_labels(hints.labels, hints.label, hints.id)
        labels, order = file.in_order(count, str(path), ids)
        return labels, f"labels: {hints.labels.name}, {order}: {file.understood}"
    if found is None and hints.need_labels:
        raise InputError(
            "images must have labels here; give labels, a file of them, or labels_key, an array of "
            f"the same archive: got none with {path}"
        )
    if found is not None and len(found) != count:
        raise InputError(
            f"images and labels must be as many, got {count} images and {len(found)} labels in "
            f"{path}"
        )
    return found, ""


_Names = tuple[str, ...] | None


def _open(path: Path, hints: Hints) -> tuple[StoredArray, _Names, _Names, str]:
    """Return the array of images, labels and ids in the same file, and a line about them."""
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"\x93NUMPY"):
        return _npy(path), None, None, ""
    if start.startswith(b"PK"):
        return _npz(path, hints)
    if start.startswith(b"MATLAB"):
        images, labels, words = read_mat(path, hints)
        names = None if labels is None else label_names(labels, str(path))
        return HeldArray(images), names, None, words
    raise InputError(
        "a file of arrays must be .npy, .npz or .mat, which begin with their own signs, got "
        f"{start!r} in {path}"
    )


def _npy(path: Path) -> StoredArray:
    header = npy_header(path)
    if header.fortran and len(header.shape) > 1 and header.size_bytes:
        mapped = np.memmap(path, header.dtype, "r", header.length, header.shape, "F")
        return HeldArray(np.asarray(mapped))

    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        with path.open("rb") as file:
            file.seek(header.length)
            yield file

    return StreamedArray(header.shape, header.dtype, str(path), opened)


def _npz(path: Path, hints: Hints) -> tuple[StoredArray, _Names, _Names, str]:
    headers = npz_headers(path)
    known = {name: ArrayInfo(header.shape, header.dtype.kind) for name, header in headers.items()}
    choice = choose_arrays(known, hints, str(path))
    labels, ids = (
        label_names(_whole(path, name, headers[name]), f"{path}: {name}") if name else None
        for name in (choice.labels, choice.ids)
    )
    if ids is not None and hints.class_names and not hints.need_labels:
        _check_distinct(ids, choice.ids, path)
    images = headers[choice.images]
    if images.fortran and len(images.shape) > 1:
        return HeldArray(_whole(path, choice.images, images)), labels, ids, choice.words
    stored = StreamedArray(
        images.shape,
        images.dtype,
        f"{path}: {choice.images}",
        lambda: npz_values(path, choice.images),
    )
    return stored, labels, ids, choice.words


def _check_distinct(ids: tuple[str, ...], name: str | None, path: Path) -> None:
    """Raise InputError where an id comes twice."""
    twice = next((one for one, times in Counter(ids).items() if times > 1), None)
    if twice is not None:
        raise InputError(
            f"ids must be distinct, got {twice[:40]!r} twice in array {name!r} of {path}; id=none "
            "goes on without them"
        )


def _whole(path: Path, name: str, header: NpyHeader) -> NDArray[Any]:
    with npz_values(path, name) as stream:
        content = stream.read(header.size_bytes + 1)
    return header.arranged(np.frombuffer(content, header.dtype))
