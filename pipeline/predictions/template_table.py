"""The table of a sample submission: its delimiter, its rows, and whether the first is a header."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cnn_core.errors import InputError
from pipeline.inputs.tables.table_text import is_number, text_lines, told_separator

_DELIMITERS = ",;\t|"


def table_of(path: Path) -> tuple[str, list[list[str]]]:
    """Return the delimiter and the rows of a table in text, all of the same length."""
    try:
        text = "\n".join(line for _, line in text_lines(path))
    except OSError as error:
        raise InputError(f"a template must be a table in text, got {error} in {path}") from None
    except InputError as error:
        raise InputError(f"a template must be a table in text: {error}") from None
    told, text = told_separator(text)
    first = text.lstrip().partition("\n")[0]
    delimiter = told or max(
        _DELIMITERS, key=lambda sign: len(next(csv.reader([first], delimiter=sign)))
    )
    try:
        rows = list(_even_rows(csv.reader(io.StringIO(text), delimiter=delimiter), path))
    except csv.Error as error:
        raise InputError(f"a template must be a table in text, got {error} in {path}") from None
    if not rows:
        raise InputError(f"a template must be a table in text, got nothing in {path}")
    return delimiter, rows


def _even_rows(reader: Any, path: Path) -> Iterator[list[str]]:
    """Yield a csv reader's rows that are not blank, all of the same length."""
    width = 0
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        width = width or len(row)
        if len(row) != width:
            raise InputError(
                f"a template's rows must have {width} cells as the first, got {len(row)} on line "
                f"{reader.line_num} of {path}"
            )
        yield row


def is_row(rows: Sequence[Sequence[str]], names: Sequence[str]) -> bool:
    """Return whether the first row is one like all others, and no header: it holds numbers alone,
    or an id of the form that all below it have, such as t_000, beside a class or a number.
    """
    first = [cell.strip() for cell in rows[0]]
    if all(map(is_number, first)):
        return True
    like = {k for k, cell in enumerate(first) if re.search(r"\d", cell) and _one_form(rows, k)}
    rest = [cell for k, cell in enumerate(first) if k not in like]
    known = all(cell in names or not cell or is_number(cell) for cell in rest)
    return bool(like) and len(rows) > 2 and known


def _one_form(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Return whether a column's cells differ in numbers alone."""
    return len({re.sub(r"\d+", "#", row[column].strip()) for row in rows}) == 1
