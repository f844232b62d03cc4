"""Columns of a text table at full speed, by pyarrow."""

import io
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipeline.inputs.tables.table_text import LONGEST_LINE, TextForm
from pipeline.inputs.unpacking import GZIP, ZIP, open_unpacked

BLOCK_BYTES = 1 << 20
_UNIT = "\x1f"  # between cells that were parted by blanks


class FaultyTableError(Exception):
    """The table breaks a rule; the plain reader says which and where."""


def read_columns(
    form: TextForm, width: int, header: bool, types: Mapping[int, str], skip: int = 0
) -> Iterator[Any]:
    """Yield record batches of the columns in `types`, in that order, after `skip` rows: "uint8",
    "float32" or "string". Raises FaultyTableError for what does not convert and for rows of other
    widths.
    """
    import pyarrow as pa
    from pyarrow import csv

    names = [str(column) for column in range(width)]
    blanks = form.delimiter is None
    read = csv.ReadOptions(
        column_names=names,
        skip_rows=form.first_line - 1 + int(header),
        skip_rows_after_names=skip,
        # A hundred rows or more: every column of a batch has its price.
        block_size=max(BLOCK_BYTES, 512 * width),
    )
    parse = csv.ParseOptions(
        delimiter=_UNIT if blanks else form.delimiter,
        quote_char=False if blanks else '"',
        ignore_empty_lines=False,
    )
    convert = csv.ConvertOptions(
        column_types={str(column): kind for column, kind in types.items()},
        include_columns=[str(column) for column in types],
        null_values=[],
        strings_can_be_null=False,
    )
    try:
        with _opened(form, pa) as file, closing(csv.open_csv(file, read, parse, convert)) as reader:
            yield from reader
    except pa.ArrowInvalid as error:
        raise FaultyTableError(str(error)) from None


def _opened(form: TextForm, pa: Any) -> Any:
    """Return what pyarrow reads: the file itself, or a stream that was unpacked."""
    path: Path = form.path
    with path.open("rb") as file:
        packed = file.read(4).startswith((GZIP, ZIP))
    if not packed and form.delimiter is not None:
        return pa.OSFile(str(path))
    stream = open_unpacked(path)
    if form.delimiter is None:
        stream = cast(BinaryIO, io.BufferedReader(_ByUnits(stream), BLOCK_BYTES))
    return pa.PythonFile(stream, mode="r")


class _ByUnits(io.RawIOBase):
    """Lines of cells parted by any number of blanks, with one sign between them instead."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.rest = stream, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self.rest:
            lines, size = [], 0
            while size < BLOCK_BYTES and (line := self.stream.readline(LONGEST_LINE + 1)):
                if len(line) > LONGEST_LINE:
                    raise FaultyTableError("too long a line")
                lines.append(_UNIT.encode().join(line.split()) + b"\n")
                size += len(line)
            self.rest = b"".join(lines)
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self.stream.close()
        super().close()
