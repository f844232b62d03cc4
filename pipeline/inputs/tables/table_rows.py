"""Rows of a table as they are read, of any format, and the blocks that they become."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.inputs.input_source import Block, numbered
from pipeline.inputs.labels.labels import label_text
from pipeline.inputs.tables.pixel_shape import PixelShape


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows read together: pixels (n, P), ids and labels as the file writes them."""

    values: NDArray[Any]
    ids: Sequence[str] | None
    labels: Sequence[str] | None


def whole_bytes(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as uint8 where all are whole and from 0 to 255, else as they are."""
    if values.dtype == np.uint8 or not values.size or values.max() > 255:
        return values
    rounded = values.astype(np.uint8)
    return rounded if np.array_equal(rounded, values) else values


def in_blocks(parts: Iterator[Rows], shape: PixelShape, size: int) -> Iterator[Block]:
    """Yield the rows as blocks of `size` images, the last one smaller."""
    waiting: list[Rows] = []
    done = held = 0
    for part in parts:
        while held + len(part.values) >= size:
            missing = size - held
            yield _block([*waiting, _cut(part, 0, missing)], shape, done)
            part = _cut(part, missing, len(part.values))
            waiting, held, done = [], 0, done + size
        if len(part.values):
            waiting.append(part)
            held += len(part.values)
    if waiting:
        yield _block(waiting, shape, done)


def _cut(rows: Rows, start: int, end: int) -> Rows:
    return Rows(
        values=rows.values[start:end],
        ids=rows.ids and rows.ids[start:end],
        labels=rows.labels and rows.labels[start:end],
    )


def _block(parts: Sequence[Rows], shape: PixelShape, done: int) -> Block:
    values = np.concatenate([part.values for part in parts]) if parts[1:] else parts[0].values
    ids = tuple(cell.strip() for part in parts for cell in part.ids or ())
    labels = [cell for part in parts for cell in part.labels or ()]
    names = {cell: label_text(cell) for cell in {*labels}}
    return Block(
        pictures=shape.images(values),
        ids=numbered(done, len(values)) if parts[0].ids is None else ids,
        labels=None if parts[0].labels is None else tuple(names[cell] for cell in labels),
    )
