"""The first line of a table: names or numbers; and what names say of their columns."""

import re
from collections.abc import Sequence
from itertools import pairwise

from cnn_core.errors import InputError
from pipeline.inputs.tables.pixel_shape import SMALLEST_SIDE
from pipeline.inputs.tables.table_text import is_number

_LABELS = (
    *("label", "labels", "class", "classes", "target", "targets", "digit", "y", "category"),
    *("classname", "classid", "classlabel", "labelname", "labelid", "categoryid", "targetid"),
)
_IDS = (
    *("id", "imageid", "filename", "imagename", "imagefile", "file", "name", "image", "img"),
    *("path", "filepath", "imagepath", "key", "uid", "uuid", "guid"),
)
_INDEXES = ("index", "row", "rownum", "rownumber", "rownames", "level0")
_SAVED_INDEX = re.compile(r"Unnamed: \d+|__index_level_\d+__")
_ENDS_IN_ID = re.compile(r".*(?:[^A-Za-z](?:id|Id|ID)|[a-z]I[dD])")


def split_header(
    rows: Sequence[Sequence[str]], where: str
) -> tuple[tuple[str, ...] | None, Sequence[Sequence[str]]]:
    """Return the names of the columns, None without a header, and the rows below.

    Numbers that count up, 0, 1, 2, ..., are names: tables that had none are saved so. Raises
    InputError for a first line that is neither names nor values.
    """
    first, below = rows[0], rows[1:]
    numbers = [column for column, cell in enumerate(first) if is_number(cell)]
    names = tuple(cell.strip() for cell in first)
    if _count_up([first[column] for column in numbers], len(first)):
        return names, below
    if not below:
        return (None, rows) if 2 * len(numbers) > len(first) else (names, below)
    if any(len(row) != len(first) for row in below):
        below = [row for row in below if len(row) == len(first)]  # the reader names their lines
    named = [
        column
        for column in range(len(first))
        if column not in {*numbers} and not is_text(below, column)
    ]
    if named and len(named) >= 4 * len(numbers):
        return names, below
    if 2 * len(named) > len(first) - len(numbers) > 3:
        raise InputError(
            f"the first line must hold names or values, got both ({first[named[0]][:20]!r} in "
            f"column {named[0] + 1}, {first[numbers[0]][:20]!r} in column {numbers[0] + 1}) in "
            f"{where}"
        )
    _check_values(first, below, where)
    return None, rows


def _count_up(cells: Sequence[str], width: int) -> bool:
    """Tell whether numbers count columns: one by one, in any order if they are many, or with gaps
    so few that no image has such values.
    """
    if len(cells) < max(4, width - 4):
        return False
    values = [float(cell) for cell in cells]
    steps = {after - before for before, after in pairwise(values)}
    many = len(cells) >= SMALLEST_SIDE**2
    in_any_order = {after - before for before, after in pairwise(sorted(values))} == {1.0}
    whole = all(cell.strip().isdecimal() for cell in cells)
    few_gaps = whole and min(steps) > 0 and values[-1] - values[0] < 2 * len(values)
    return steps == {1.0} or (many and (in_any_order or few_gaps))


def _check_values(first: Sequence[str], below: Sequence[Sequence[str]], where: str) -> None:
    """Refuse names that were made of an image's values: 5, 0, 0.1, 0.2, ..., where 0 came often."""
    fractions = [cell for cell in first if is_number(cell) and not float(cell).is_integer()]
    if fractions and not any(
        is_number(cell) and not float(cell).is_integer() for row in below for cell in row
    ):
        raise InputError(
            "the first line must hold names or values like the others, got fractions "
            f"({fractions[0][:20]}) above whole numbers in {where}: was a table without names "
            "saved with its first image as names?"
        )


def is_text(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Tell whether half of a column's cells or more are no numbers."""
    return 2 * sum(is_number(row[column]) for row in rows) <= len(rows)


def named_labels(names: Sequence[str]) -> list[int]:
    """Return the columns that are named as labels are."""
    return [column for column, name in enumerate(names) if _plain(name) in _LABELS]


def named_ids(names: Sequence[str]) -> list[int]:
    """Return the columns that are named as ids are, the plainest first."""
    known = [column for column, name in enumerate(names) if _plain(name) in _IDS]
    known.sort(key=lambda column: _IDS.index(_plain(names[column])))
    others = [column for column, name in enumerate(names) if _ENDS_IN_ID.fullmatch(name)]
    labels = {*known, *named_labels(names)}
    return known + [column for column in others if column not in labels]


def named_indexes(names: Sequence[str]) -> list[int]:
    """Return the columns that tables are saved with to count their rows."""
    return [
        column
        for column, name in enumerate(names)
        if not name or _plain(name) in _INDEXES or _SAVED_INDEX.fullmatch(name)
    ]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
