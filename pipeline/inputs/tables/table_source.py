"""Text tables as a source of images: CSV of any delimiter and rows of numbers, plain or packed."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from cnn_core.errors import InputError
from pipeline.inputs.input_source import Block, Hints
from pipeline.inputs.labels.labels_beside import LabelsBeside
from pipeline.inputs.tables.column_values import Profile, profile_of
from pipeline.inputs.tables.table_columns import FaultyTableError, read_columns
from pipeline.inputs.tables.table_layout import Layout, TableLook, decide
from pipeline.inputs.tables.table_rows import Rows, in_blocks, whole_bytes
from pipeline.inputs.tables.table_text import TextForm, checked_rows, pixel_values, sample_of

SAMPLE_ROWS = 101  # with the header's line
_PLAIN_ROWS = 256  # read together where every cell is looked at


class TableSource:
    """Rows of pixels with a label and an id where the table has them.

    Whole numbers from 0 to 255 come as uint8, others as float32. Raises InputError for a layout
    that is not certain, and, while reading, for the first fault with its line and column.
    """

    count: int | None = None
    damaged: Sequence[str] = ()
    pixel_names: Sequence[str] = ()
    separate = False

    def __init__(self, path: Path, hints: Hints) -> None:
        self.path = path
        self.form, rows = sample_of(path, SAMPLE_ROWS)
        self.width = len(rows[0])
        even = [row for row in rows if len(row) == self.width]
        if len(even) < 2:
            self._check_rows(len(rows))
        self.layout = decide(TableLook(rows=even, profile=self._profile, where=str(path)), hints)
        self.id_name = self.layout.id_name
        self.pixel_names = self.layout.pixel_names
        self.understood = self.form.words + self.layout.understood
        self.labels = None
        if hints.labels is not None:
            self.labels = LabelsBeside(hints.labels, hints, path, by_id=self.layout.id is not None)
            self.understood += f"; labels: {self.labels.understood}"

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield blocks of at most `size` images. Raises InputError at the first fault."""
        blocks = in_blocks(self._rows(), self.layout.shape, size)
        yield from blocks if self.labels is None else self.labels.joined(blocks)

    def _rows(self) -> Iterator[Rows]:
        """Yield the rows: pixels as bytes as long as they are, then as floats; what neither reads
        goes to the plain reader, which names the fault.
        """
        done = 0
        for pixel in ("uint8", "float32"):
            try:
                for rows in _fast_rows(self.form, self.layout, pixel, done):
                    yield rows
                    done += len(rows.values)
                return
            except FaultyTableError:
                continue
        yield from _plain_rows(self.form, self.layout, done)

    def _check_rows(self, count: int) -> None:
        for _ in islice(checked_rows(self.form, self.width, False, 0), count):
            pass

    def _profile(self, column: int, header: bool) -> Profile:
        try:
            batches = read_columns(self.form, self.width, header, {column: "string"})
            return profile_of(batch.column(0).to_pylist() for batch in batches)
        except FaultyTableError:
            rows = checked_rows(self.form, self.width, header, 0)
            return profile_of([cells[column]] for _, cells in rows)


def _fast_rows(form: TextForm, layout: Layout, pixel: str, skip: int) -> Iterator[Rows]:
    """Yield the rows after `skip`; raises FaultyTableError where a rule is broken."""
    types = dict.fromkeys(layout.pixels, pixel)
    texts = [column for column in (layout.label, layout.id) if column is not None]
    types |= dict.fromkeys(texts, "string")
    count = len(layout.pixels)
    for batch in read_columns(form, layout.width, layout.header, types, skip):
        values = batch.select(range(count)).to_tensor(row_major=True).to_numpy()
        if pixel != "uint8":
            if not ((values >= 0) & (values < np.inf)).all():
                raise FaultyTableError("a pixel")
            values = whole_bytes(values)
        cells = {
            column: batch.column(count + place).to_pylist() for place, column in enumerate(texts)
        }
        labels = None if layout.label is None else cells[layout.label]
        if labels is not None and not all(map(str.strip, set(labels))):
            raise FaultyTableError("a label")
        ids = None if layout.id is None else cells[layout.id]
        yield Rows(values=values, ids=ids, labels=labels)


def _plain_rows(form: TextForm, layout: Layout, skip: int) -> Iterator[Rows]:
    """Yield the rows after `skip`, cell by cell. Raises InputError with the place of a fault."""
    numbered = checked_rows(form, layout.width, layout.header, skip)
    while read := list(islice(numbered, _PLAIN_ROWS)):
        values = [pixel_values(cells, layout.pixels, line, form.path) for line, cells in read]
        for line, cells in read:
            if layout.label is not None and not cells[layout.label].strip():
                raise InputError(
                    f"a label must not be empty, got '' on line {line}, column "
                    f"{layout.label + 1} of {form.path}"
                )
        yield Rows(
            values=whole_bytes(np.array(values, np.float32)),
            ids=None if layout.id is None else [cells[layout.id] for _, cells in read],
            labels=None if layout.label is None else [cells[layout.label] for _, cells in read],
        )
