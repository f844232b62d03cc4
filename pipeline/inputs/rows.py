"""Tables of integers, one row per image: CSV with or without header, id and label, and text with
blanks; also gzip-compressed.
"""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.inputs.wanted import Block, Wanted, check_labels, fit_images, numbered

_ID_NAMES = ("id", "imageid", "image_id", "index", "name", "filename")
_LABEL_NAMES = ("label", "class", "target", "digit", "y")
# Beyond the free bytes, a compressed table may be at most this many times larger than its file;
# digits reach 20.
_FREE_BYTES = 64 << 20
_MAX_RATIO = 100


@dataclass(frozen=True, kw_only=True)
class Columns:
    """How a row is laid out, as found on the first line."""

    delimiter: str | None  # None: blanks
    header: bool
    id_column: int | None
    label_column: int | None
    width: int


class RowSource:
    """Rows of ``pixels`` integers from 0 to 255, with an id and a label column where the header or
    the width says so.

    Without header a row of one more value has a label in front (`label=last`: behind; `label=none`:
    refused). A header names an id column (id, ImageId, ...) and a label column (label, class, ...).
    """

    count: int | None = None

    def __init__(self, path: Path, wanted: Wanted) -> None:
        self.path, self.wanted = path, wanted
        lines = _lines(path, 32 * (wanted.pixels + 2))
        first = next(lines, None)
        if first is None:
            raise InputError(f"a file of images must not be empty, got no row in {path}")
        self.first_line = first[0]
        self.columns = _columns(first[1], wanted, path)

    def blocks(self, size: int) -> Iterator[Block]:
        rows: list[tuple[int, list[str]]] = []
        done = 0
        for number, line in _lines(self.path, 32 * (self.wanted.pixels + 2)):
            if self.columns.header and number == self.first_line:
                continue
            rows.append((number, self._cells(number, line)))
            if len(rows) == size:
                yield self._block(rows, done)
                done += len(rows)
                rows = []
        if rows:
            yield self._block(rows, done)
        elif not done:
            raise InputError(
                "a file of images must hold at least one row below its header, got none in "
                f"{self.path}"
            )

    def _cells(self, number: int, line: str) -> list[str]:
        cells = _split(line, self.columns.delimiter)
        if len(cells) != self.columns.width:
            raise InputError(
                f"every row must have {self.columns.width} values, got {len(cells)} on line "
                f"{number} of {self.path}"
            )
        return cells

    def _block(self, rows: list[tuple[int, list[str]]], done: int) -> Block:
        c = self.columns
        skipped = {c.id_column, c.label_column}
        keep = [k for k in range(c.width) if k not in skipped]
        pixels = [[cells[k] for k in keep] for _, cells in rows]
        values = _bytes(pixels, rows, keep, self.path)
        ids = (
            numbered(done, len(rows))
            if c.id_column is None
            else tuple(cells[c.id_column].strip() for _, cells in rows)
        )
        labels = None
        if c.label_column is not None:
            labels = np.array(
                [
                    _label(cells[c.label_column], number, self.wanted, self.path)
                    for number, cells in rows
                ],
                np.int64,
            )
            labels = check_labels(labels, self.wanted, str(self.path))
        return Block(images=fit_images(values, self.wanted, str(self.path)), ids=ids, labels=labels)


def _bytes(
    pixels: list[list[str]], rows: list[tuple[int, list[str]]], keep: list[int], path: Path
) -> NDArray[np.uint8]:
    """Return (rows, pixels) uint8. Raises InputError naming line and column of the first value that
    is not a byte.
    """
    try:
        values = np.array(pixels, dtype=np.float64)
    except ValueError:
        values = np.array([[_number(cell) for cell in row] for row in pixels])
    with np.errstate(invalid="ignore"):
        wrong = ~((values >= 0) & (values <= 255) & (values == np.floor(values)))
    if wrong.any():
        row, column = (int(at[0]) for at in np.nonzero(wrong))
        rule = "a pixel must be an integer from 0 to 255"
        raise InputError(
            f"{rule}, got {pixels[row][column][:40]!r} on line {rows[row][0]}, column "
            f"{keep[column] + 1} of {path}"
        )
    return values.astype(np.uint8)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _label(cell: str, number: int, wanted: Wanted, path: Path) -> int:
    value = _number(cell)
    if not (value.is_integer() and 0 <= value < wanted.classes):
        raise InputError(
            f"a label must be an integer from 0 to {wanted.classes - 1}, got {cell[:40]!r} on line "
            f"{number} of {path}"
        )
    return int(value)


def _columns(first: str, wanted: Wanted, path: Path) -> Columns:
    """Read the layout off the first line. Raises InputError where its width fits no layout."""
    delimiter = next((sign for sign in (",", ";", "\t") if sign in first), None)
    cells = _split(first, delimiter)
    names = [cell.strip().strip("\"'").lower() for cell in cells]
    words = sum(math.isnan(_number(name)) and name != "nan" for name in names)
    header = names[0] in (*_ID_NAMES, *_LABEL_NAMES) or words > len(names) / 2
    names = names if header else []
    id_column = next((k for k, name in enumerate(names) if name in _ID_NAMES), None)
    label_column = next((k for k, name in enumerate(names) if name in _LABEL_NAMES), None)
    extra = len(cells) - wanted.pixels - (id_column is not None) - (label_column is not None)
    if extra == 1 and label_column is None and wanted.label != "none":
        label_column = len(cells) - 1 if wanted.label == "last" else 0 if id_column != 0 else 1
        extra = 0
    if label_column is not None and wanted.label == "none":
        raise InputError(f"no label column is expected (label=none), got one in {path}")
    if extra != 0:
        hint = "; a label column? label=first or last" if extra == 1 else ""
        raise InputError(
            f"a row must have {wanted.pixels} pixels (and a label or an id), got {len(cells)} "
            f"values in {path}{hint}"
        )
    if wanted.label in ("first", "last") and label_column is None:
        raise InputError(
            f"a label column is expected (label={wanted.label}), got {len(cells)} values a row in "
            f"{path}"
        )
    return Columns(
        delimiter=delimiter,
        header=header,
        id_column=id_column,
        label_column=label_column,
        width=len(cells),
    )


def _split(line: str, delimiter: str | None) -> list[str]:
    return line.split(delimiter) if delimiter else line.split()


def _lines(path: Path, longest: int) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of the lines that are not blank, refusing what is not text, too
    long, or a compression bomb.
    """
    for number, raw in enumerate(_raw_lines(path, longest), 1):
        if len(raw) > longest:
            raise InputError(
                f"a line must have at most {longest} characters, got more on line {number} of "
                f"{path}"
            )
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise InputError(
                f"a table must be text, got other bytes on line {number} of {path}"
            ) from None
        if "\x00" in line:
            raise InputError(f"a table must be text, got a zero byte on line {number} of {path}")
        if line:
            yield number, line


def _raw_lines(path: Path, longest: int) -> Iterator[bytes]:
    """Yield a file's lines, decompressed, at most one byte more than `longest` of each."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    size, read = path.stat().st_size, 0
    with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
        reader = io.BufferedReader(stream)
        try:
            while raw := reader.readline(longest + 1):
                yield raw
                read += len(raw)
                if compressed and read > max(_FREE_BYTES, _MAX_RATIO * size):
                    raise InputError(
                        f"compressed text may grow at most {_MAX_RATIO} times, got more after "
                        f"{read:,} bytes of {path}"
                    )
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"compressed data must be whole, got {error} in {path}") from None
