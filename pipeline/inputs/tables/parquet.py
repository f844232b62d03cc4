"""Parquet tables as a source of images: encoded pictures in a column, lists of pixels, or a column
a pixel.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.inputs.input_source import Block, Hints, numbered
from pipeline.inputs.labels.labels import label_text
from pipeline.inputs.labels.labels_beside import LabelsBeside
from pipeline.inputs.pictures.pictures import decode, stacked
from pipeline.inputs.tables.column_values import Profile, profile_of
from pipeline.inputs.tables.pixel_shape import planes_of
from pipeline.inputs.tables.table_layout import SideColumns, TableLook, decide, decide_beside
from pipeline.inputs.tables.table_rows import Rows, in_blocks, whole_bytes

SAMPLE_ROWS = 100
_ROWS = 512  # read together


class ParquetSource:
    """Images of a parquet file: its only column of encoded pictures (bytes, or a structure that
    holds them, as public sets have it) or of lists of pixels, else a column a pixel.

    Raises InputError for damage, a layout that is not certain, and a row without picture or label.
    """

    damaged: Sequence[str] = ()
    pixel_names: Sequence[str] = ()

    def __init__(self, path: Path, hints: Hints) -> None:
        from pyarrow import parquet

        self.path = path
        with named_faults(path), parquet.ParquetFile(path) as file:
            self.count: int | None = file.metadata.num_rows
            fields = list(file.schema_arrow)
        self.hints, names = hints, [field.name for field in fields]
        (name, times), *_ = Counter(names).most_common(1) or [("", 0)]
        if times > 1:
            raise InputError(
                f"a parquet table's columns must have different names, got {name!r} {times} times "
                f"in {path}"
            )
        pictures = [field.name for field in fields if _holds_pictures(field.type)]
        if len(pictures) > 1:
            raise InputError(
                f"a parquet table must hold one column of pictures, got {', '.join(pictures)} in "
                f"{path}"
            )
        self.picture = pictures[0] if pictures else None
        self.separate = self.picture is not None
        self.names = tuple(name for name in names if name != self.picture)
        look = TableLook(
            rows=self._first_rows(), profile=self._profile, where=str(path), names=self.names
        )
        self._decide(look)
        self.labels = None
        if hints.labels is not None:
            self.labels = LabelsBeside(hints.labels, hints, path, by_id=self.id is not None)
            self.understood += f"; labels: {self.labels.understood}"

    def _decide(self, look: TableLook) -> None:
        if self.picture is not None:
            beside: SideColumns = decide_beside(
                look, self.hints, f"pictures: column '{self.picture}'"
            )
            self.label, self.id, self.understood = beside.label, beside.id, beside.understood
            self.id_name = beside.id
        else:
            self.layout = decide(look, self.hints)
            label, self.id_name = self.layout.label, self.layout.id_name
            self.label = None if label is None else self.names[label]
            self.id = None if self.layout.id is None else self.names[self.layout.id]
            self.understood = self.layout.understood
            self.pixel_names = self.layout.pixel_names
        self.understood = f"parquet; {self.understood}"

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield blocks of at most `size` images. Raises InputError at the first fault."""
        if self.picture is None:
            blocks = in_blocks(self._rows(), self.layout.shape, size)
        else:
            blocks = self._pictures(self.picture, size)
        yield from blocks if self.labels is None else self.labels.joined(blocks)

    def _rows(self) -> Iterator[Rows]:
        pixels = [self.names[column] for column in self.layout.pixels]
        done = 0
        for batch in self._batches([*pixels, *self._sides()], _ROWS):
            try:
                with named_faults(self.path):
                    tensor = batch.select(pixels).to_tensor(null_to_nan=True, row_major=True)
                values = tensor.to_numpy()
            except (TypeError, NotImplementedError) as error:
                raise InputError(f"pixels must be numbers, got {error} in {self.path}") from None
            with np.errstate(invalid="ignore"):
                wrong = ~((values >= 0) & (values < np.inf))
            if wrong.any():
                row, column = (int(at[0]) for at in np.nonzero(wrong))
                raise InputError(
                    f"a pixel must be a number from 0, got {values[row, column]:g} in row "
                    f"{done + row + 1}, column '{pixels[column]}' of {self.path}"
                )
            labels, ids = self._texts(batch, self.label, done), self._texts(batch, self.id, done)
            yield Rows(values=whole_bytes(values), ids=ids, labels=labels)
            done += len(values)

    def _pictures(self, name: str, size: int) -> Iterator[Block]:
        done = 0
        for batch in self._batches([name, *self._sides()], size):
            column = batch.column(batch.schema.get_field_index(name))
            pictures = [
                _picture(cell, self.hints, f"row {done + row + 1} of {self.path}")
                for row, cell in enumerate(_cells(column, self.path))
            ]
            ids = self._texts(batch, self.id, done) or numbered(done, len(pictures))
            labels = self._texts(batch, self.label, done)
            done += len(pictures)
            yield Block(
                pictures=stacked(pictures),
                ids=tuple(map(str.strip, ids)),
                labels=None if labels is None else tuple(map(label_text, labels)),
            )

    def _sides(self) -> list[str]:
        return [name for name in (self.label, self.id) if name is not None]

    def _texts(self, batch: Any, name: str | None, done: int) -> list[str] | None:
        """Return a column as text. Raises InputError for an empty cell, and for NaN where it is not
        a label that nobody needs.
        """
        if name is None:
            return None
        cells = _cells(batch.column(batch.schema.get_field_index(name)), self.path)
        wanted = name == self.id or self.hints.need_labels
        for row, cell in enumerate(cells, done + 1):
            if cell in (None, "") or (wanted and cell != cell):  # as NaN alone is
                got = "an empty cell" if cell in (None, "") else "NaN"
                raise InputError(
                    f"labels and ids must not be empty, got {got} in row {row}, column '{name}' of "
                    f"{self.path}"
                )
        return [str(cell) for cell in cells]

    def _batches(self, names: Sequence[str], size: int) -> Iterator[Any]:
        from pyarrow import parquet

        done = 0
        with named_faults(self.path), parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(size, columns=list(names)):
                done += batch.num_rows
                yield batch
            if done != (stated := file.metadata.num_rows):  # a damaged column may be shorter
                raise InputError(
                    f"a parquet file must hold as many rows as it states, {stated}, got {done} in "
                    f"{self.path}"
                )

    def _first_rows(self) -> list[list[str]]:
        first = next(self._batches(self.names, SAMPLE_ROWS), None)
        if not self.names and first is not None:
            return [[]]
        if first is None or not first.num_rows:
            raise InputError(f"a table must hold at least one row, got none in {self.path}")
        columns = [_cells(column, self.path) for column in first.columns]
        return [
            ["" if cell is None else str(cell) for cell in row]
            for row in zip(*columns, strict=True)
        ]

    def _profile(self, column: int, header: bool) -> Profile:
        batches = self._batches([self.names[column]], _ROWS)
        return profile_of(
            [str(cell) for cell in _cells(batch.column(0), self.path)] for batch in batches
        )


@contextmanager
def named_faults(path: Path) -> Iterator[None]:
    """Turn pyarrow's faults into an InputError that names the file."""
    import pyarrow as pa

    try:
        yield
    except (InputError, NotImplementedError):
        raise
    # ValueError: what is no text; OverflowError: dates beyond Python's
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise InputError(f"a parquet file must be whole, got {reason} in {path}") from None


def _cells(column: Any, path: Path) -> list[Any]:
    """Return a column's cells as Python's values, which not every cell has."""
    with named_faults(path):
        return list(column.to_pylist())


def _holds_pictures(kind: Any) -> bool:
    """Tell whether a column of this type holds encoded pictures, or lists of numbers."""
    from pyarrow import types

    if types.is_struct(kind):
        return any(_holds_pictures(field.type) for field in kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        return types.is_integer(inner) or types.is_floating(inner) or _holds_pictures(inner)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _picture(cell: Any, hints: Hints, where: str) -> NDArray[Any]:
    if isinstance(cell, dict):
        cell = next((part for part in cell.values() if isinstance(part, bytes)), None)
    if isinstance(cell, bytes):
        return decode(cell, where)
    if not isinstance(cell, list):
        raise InputError(f"a row must hold a picture, got none in {where}")
    try:
        return planes_of(np.array(cell), hints, where)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"a list of pixels must be even, got {error} in {where}") from None
