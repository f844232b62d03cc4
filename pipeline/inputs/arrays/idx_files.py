"""IDX files, MNIST's own form, plain or compressed, with the labels beside them under the public
names.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cnn_core.data.idx import idx_header, open_idx
from cnn_core.errors import InputError
from pipeline.inputs.arrays.array_layout import layout_of
from pipeline.inputs.arrays.arrays import labels_for, numbered_blocks
from pipeline.inputs.arrays.stored_array import StreamedArray
from pipeline.inputs.input_source import Block, Hints
from pipeline.inputs.labels.label_files import read_labels


class IdxSource:
    """Images (N, H, W), (N, C, H, W) or (N, H, W, C) of any IDX type; the labels are those of
    `hints.labels`, or of the file whose name says labels and idx1 instead of images and idx3.

    A folder that holds one file of the same name, as some archives unpack, stands for the file.
    """

    def __init__(self, path: Path, hints: Hints) -> None:
        self.path = path = _file_in(path)
        header = idx_header(path)
        if len(header.shape) < 2:
            raise InputError(
                f"an IDX file of images must have 3 or 4 dimensions, got {header.shape} in {path}: "
                "labels alone?"
            )

        @contextmanager
        def opened() -> Iterator[IO[bytes]]:
            with open_idx(path) as stream:
                stream.read(header.length)
                yield stream

        self._array = StreamedArray(header.shape, header.dtype, str(path), opened)
        beside = None if hints.labels or hints.label == "none" else labels_beside(path)
        found = None if beside is None else read_labels(beside)
        self._labels, more = labels_for(
            None if found is None else found.labels, header.shape[0], hints, path
        )
        self._layout = layout_of(
            header.shape, hints.shape, str(path), lambda: next(self._array.blocks(64)), True
        )
        more = more or (f"labels: {beside}" if beside else "")
        self.count: int | None = header.shape[0]
        self.id_name: str | None = None
        self.understood = "; ".join(
            part for part in (f"IDX, {self._layout.words}", more, f"{self.count} pictures") if part
        )
        self.damaged: Sequence[str] = ()
        self.pixel_names: Sequence[str] = ()
        self.separate = False

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield blocks of at most `size` pictures; their ids count from 1."""
        yield from numbered_blocks(self._array.blocks(size), self._layout, self._labels)


def _file_in(path: Path) -> Path:
    inner = path / path.name
    return inner if path.is_dir() and inner.is_file() else path


def labels_beside(images: Path) -> Path | None:
    """Return the file of labels that belongs to a file of images by its name, None where there is
    none: images -> labels, idx3 (idx4) -> idx1, with the other of plain and .gz too, and inside
    folders that have the files' names.
    """
    name = images.name
    if "images" not in name:
        return None
    wanted = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    plain = wanted.removesuffix(".gz")
    folders = [images.parent]
    if images.parent.name in (name, name.removesuffix(".gz")):
        folders.append(images.parent.parent)
    for folder in folders:
        for candidate in (wanted, plain, f"{plain}.gz"):
            for file in (folder / candidate, folder / candidate / candidate):
                if file.is_file():
                    return file
    return None
