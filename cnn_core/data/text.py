"""Images as rows of numbers: text with 784 integers per row, and CSV with or without a header and a
label column.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_core.axes import Images, Labels
from cnn_core.data.checks import as_images, check_labels
from cnn_core.errors import InputError

ROWS_AT_ONCE = 1024
MAX_LINE_BYTES = 1 << 20
MAX_VALUE = 2**31 - 1
WHOLE_NUMBER = re.compile(r"\s*[+-]?\d{1,10}(\.0*)?\s*\Z")


@dataclass(frozen=True)
class Table:
    """Rows of whole numbers, (N, columns) int32, the header's names if the first line was one, and
    each row's line number.
    """

    header: tuple[str, ...] | None
    values: npt.NDArray[np.int32]
    first_line: int
    path: Path

    def place(self, row: int) -> str:
        return f"{self.path}: line {self.first_line + row}"


def read_table(path: Path, delimiter: str | None = None) -> Table:
    """Read a table of whole numbers; delimiter None: a comma if the first line has one, else white
    space.

    Raises InputError with file and line: an empty file, rows of different length, a cell that is
    not a whole number, bytes that are not text.
    """
    try:
        with path.open("r", encoding="utf-8-sig", newline=None) as file:
            lines = _lines(file, path)
            first = next(lines, "")
            if not first.strip():
                raise InputError(
                    f"{path}: line 1: must be a row of numbers or a header, got "
                    f"{'an empty line' if first else 'none'}"
                )
            separator = delimiter if delimiter is not None else ("," if "," in first else None)
            header = _header(first, separator)
            rest = lines if header else itertools.chain([first], lines)
            return Table(
                header, _rows(rest, separator, path, 2 if header else 1), 2 if header else 1, path
            )
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: offset {error.start}: must be UTF-8 text, got byte "
            f"{error.object[error.start]:#04x}"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: must be a readable file, got: {error.strerror or error}"
        ) from error


def _lines(file: Iterator[str], path: Path) -> Iterator[str]:
    """Yield lines, of bounded length."""
    read = getattr(file, "readline")  # noqa: B009  a text file's own; Iterator alone has no bounded read
    for number in itertools.count(1):
        line = read(MAX_LINE_BYTES)
        if not line:
            return
        if len(line) == MAX_LINE_BYTES:
            raise InputError(
                f"{path}: line {number}: a line may have at most {MAX_LINE_BYTES:,} characters"
            )
        yield line


def _cells(line: str, separator: str | None) -> list[str]:
    return line.rstrip("\r\n").split(separator)


def _header(line: str, separator: str | None) -> tuple[str, ...] | None:
    """Return the names if no cell of the first line is a number."""
    cells = tuple(cell.strip().strip('"') for cell in _cells(line, separator))
    return None if any(WHOLE_NUMBER.match(cell) for cell in cells) else cells


def _rows(
    lines: Iterator[str], separator: str | None, path: Path, first_line: int
) -> npt.NDArray[np.int32]:
    blocks: list[npt.NDArray[np.int32]] = []
    width, number, ended = None, first_line, False
    while block := list(itertools.islice(lines, ROWS_AT_ONCE)):
        rows = [line for line in block if line.strip()]
        for offset, line in enumerate(block):
            blank = not line.strip()
            if ended and not blank:
                raise InputError(
                    f"{path}: line {number + offset}: rows must follow each other without empty "
                    "lines"
                )
            ended = ended or blank
        if rows:
            width = width or len(_cells(rows[0], separator))
            blocks.append(_numbers(rows, separator, path, number, width))
        number += len(block)
    if not blocks:
        raise InputError(
            f"{path}: line {first_line}: must hold at least one row of numbers, got none"
        )
    return np.concatenate(blocks)


def _numbers(
    rows: list[str], separator: str | None, path: Path, line: int, width: int
) -> npt.NDArray[np.int32]:
    """Parse rows at NumPy's speed; where that fails, cell by cell, to name the faulty cell."""
    try:
        parsed = np.loadtxt(rows, dtype=np.float64, delimiter=separator, ndmin=2, comments=None)
    except ValueError:
        parsed = np.empty((0, 0))
    if (
        parsed.shape == (len(rows), width)
        and np.all(np.abs(parsed) <= MAX_VALUE)
        and np.array_equal(parsed, np.rint(parsed))
    ):
        return parsed.astype(np.int32)
    for offset, row in enumerate(rows):
        cells = _cells(row, separator)
        if len(cells) != width:
            raise InputError(
                f"{path}: line {line + offset}: rows must have {width} numbers as the first one, "
                f"got {len(cells)}"
            )
        for column, cell in enumerate(cells):
            if not WHOLE_NUMBER.match(cell) or abs(float(cell)) > MAX_VALUE:
                raise InputError(
                    f"{path}: line {line + offset}, column {column + 1}: must be a whole number, "
                    f"got {cell.strip()[:40]!r}"
                )
    raise InputError(
        f"{path}: lines {line} to {line + len(rows) - 1}: must be rows of whole numbers"
    )


def images_of(
    table: Table, label_column: int | None, classes: int, shape: Sequence[int] = ()
) -> tuple[Images, Labels | None]:
    """Return the rows as (N, C, H, W) uint8 images of `shape` (C, H, W), by default one square
    channel, and the labels of a column.

    Raises InputError with the line: a pixel outside 0 .. 255, a label out of range, a width that
    does not fit the shape or is not a square.
    """
    values, labels = table.values, None
    if label_column is not None:
        if not 0 <= label_column < values.shape[1]:
            raise InputError(
                f"{table.path}: the label column must be from 0 to {values.shape[1] - 1}, got "
                f"{label_column}"
            )
        labels = values[:, label_column].astype(np.int64)
        check_labels(labels, classes, table.place)
        values = np.delete(values, label_column, axis=1)
    width = values.shape[1]
    if shape and (len(shape) != 3 or math.prod(shape) != width):
        raise InputError(
            f"data.shape: must be [channels, height, width] with a product of {width}, the pixels "
            f"of a row, got {list(shape)}"
        )
    wrong = np.argwhere((values < 0) | (values > 255))
    if len(wrong):
        row, column = wrong[0]
        raise InputError(
            f"{table.place(int(row))}, pixel {column + 1}: must be from 0 to 255, got "
            f"{values[row, column]}"
        )
    return as_images(values.reshape(-1, *shape) if shape else values, str(table.path)), labels
