"""A table of text: its lines, its cells, and a plain reader that is slow and names every fault."""

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnn_core.errors import InputError
from pipeline.inputs.unpacking import open_unpacked

LONGEST_LINE = 4 << 20
_DELIMITERS = ",;\t|"
_MOST_CELLS = 16  # a line of comment has fewer: the smallest image has so many pixels
_MOST_PIXEL = float(np.finfo(np.float32).max)
_WITH_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_TOLD = re.compile(r'"?sep=([,;\t|])"?[,;\t| ]*(?=[\r\n]|$)', re.I)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(frozen=True, kw_only=True)
class TextForm:
    """How a file's text becomes cells: what stands between them, None for blanks, the number of
    the first line that is not empty or comment, from 1, how many lines of comment are above, and
    whether the very first says what stands between cells.
    """

    path: Path
    delimiter: str | None
    first_line: int
    comments: int
    told: bool = False

    @property
    def words(self) -> str:
        """Return what was skipped, in words."""
        lines = "line" if self.comments == 1 else "lines"
        words = "separator as the first line says; " if self.told else ""
        return words + (f"{self.comments} {lines} of comment skipped; " if self.comments else "")


def is_number(cell: str) -> bool:
    """Tell whether a cell is a finite decimal number."""
    return _NUMBER.fullmatch(cell) is not None


def has_comma(cell: str) -> bool:
    """Tell whether a cell is a number with a decimal comma."""
    return _WITH_COMMA.fullmatch(cell) is not None


def told_separator(text: str) -> tuple[str, str]:
    """Return the separator that a first line for Excel tells, such as sep=; and the text with that
    line empty, so that lines keep their numbers; no separator where there is no such line.
    """
    found = _TOLD.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def sample_of(path: Path, rows: int) -> tuple[TextForm, list[list[str]]]:
    """Return the form of a text table and the cells of its first rows, at most `rows`.

    The delimiter is the one of comma, semicolon, tab and bar that parts the first line most often;
    blanks where none does.
    """
    form = _form_of(path)
    found: list[list[str]] = []
    for number, line in text_lines(path):
        if number < form.first_line or not line.strip():
            continue
        if form.delimiter is None and not found:
            line = line.removeprefix("#")  # before the names
        found.append(cells_of(line, form.delimiter))
        if len(found) == rows:
            break
    return form, found


def _form_of(path: Path) -> TextForm:
    """Return the form; a line that begins with # and is as wide as the next is no comment."""
    above, comments, told = (0, ""), 0, ""
    for number, line in text_lines(path):
        if number == 1:
            told, line = told_separator(line)
        if not line.strip():
            continue
        delimiter = told or _delimiter(line)
        width = len(cells_of(above[1].removeprefix("#"), delimiter))
        wide = width == len(cells_of(line.removeprefix("#"), delimiter)) >= _MOST_CELLS
        if wide or not line.startswith("#"):
            first = above[0] if wide else number
            return TextForm(
                path=path,
                delimiter=delimiter,
                first_line=first,
                comments=comments - wide,
                told=bool(told),
            )
        above, comments = (number, line), comments + 1
    got = "comments alone" if comments else "no row"
    raise InputError(f"a table must not be empty, got {got} in {path}")


def _delimiter(line: str) -> str | None:
    others: tuple[str | None, ...] = (*_DELIMITERS[1:], None)
    for sign in others:
        cells = line.split(sign)
        if len(cells) > 3 and 2 * sum(map(has_comma, cells)) > len(cells):
            return sign  # else each comma would part a number
    most = max(_DELIMITERS, key=lambda sign: len(cells_of(line, sign)))
    return most if len(cells_of(line, most)) > 1 else None


def cells_of(line: str, delimiter: str | None) -> list[str]:
    """Return the cells of a line, without the quotes around them."""
    if delimiter is None:
        return line.split()
    if '"' in line:
        return next(csv.reader([line], delimiter=delimiter), [])
    return line.split(delimiter)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) of every line, refusing what is not text, or too long."""
    csv.field_size_limit(LONGEST_LINE)
    number = 0
    with open_unpacked(path) as stream:
        while raw := stream.readline(LONGEST_LINE + 1):
            if len(raw) > LONGEST_LINE:
                raise InputError(
                    f"a line must have at most {LONGEST_LINE:,} bytes, got more on line "
                    f"{number + 1} of {path}"
                )
            for part in re.split(rb"\r(?!\n)", raw.rstrip(b"\r\n")):
                number += 1
                yield number, _decoded(part, number, path)


def _decoded(raw: bytes, number: int, path: Path) -> str:
    try:
        line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"a table must be UTF-8 text, got byte {raw[error.start]:#04x} on line {number} of "
            f"{path}"
        ) from None
    if "\x00" in line:
        raise InputError(f"a table must be text, got a zero byte on line {number} of {path}")
    return line


def checked_rows(
    form: TextForm, width: int, header: bool, skip: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of the rows after the first `skip`. Raises InputError for a row of
    another width and for an empty line between rows.
    """
    seen, empty = -int(header), 0
    for number, line in text_lines(form.path):
        if number < form.first_line:
            continue
        if not line.strip():
            empty = empty or number
            continue
        if empty:
            raise InputError(
                f"rows must follow each other without empty lines, got one on line {empty} of "
                f"{form.path}"
            )
        seen += 1
        if seen > skip:
            cells = cells_of(line, form.delimiter)
            if len(cells) != width:
                raise InputError(
                    f"every row must have {width} values as the first line has, got {len(cells)} "
                    f"on line {number} of {form.path}"
                )
            yield number, cells


def pixel_values(
    cells: Sequence[str], columns: Sequence[int], number: int, path: Path
) -> list[float]:
    """Return the pixels of a row. Raises InputError that names line and column of one that is not a
    number from 0.
    """
    values = []
    for column in columns:
        cell = cells[column]
        value = float(cell) if is_number(cell) else math.nan
        if not 0 <= value <= _MOST_PIXEL:
            if has_comma(cell):
                raise InputError(
                    f"numbers must have a decimal point, got a comma ({cell.strip()!r}) on line "
                    f"{number}, column {column + 1} of {path}"
                )
            raise InputError(
                f"a pixel must be a number from 0, got {cell.strip()[:40]!r} on line {number}, "
                f"column {column + 1} of {path}"
            )
        values.append(value)
    return values
