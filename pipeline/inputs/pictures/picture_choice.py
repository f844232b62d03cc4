"""Which pictures of a folder count: those that a table names, such as the test.csv of a contest
whose pictures all lie in one folder.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from cnn_core.errors import InputError, did_you_mean
from pipeline.inputs.input_source import some
from pipeline.inputs.labels.label_files import text_of
from pipeline.inputs.labels.label_table import table_rows
from pipeline.inputs.pictures.picture_labels import Match, match


def chosen(
    pictures: Sequence[str], table: Path, id_column: str, folder: str
) -> tuple[tuple[str, ...], str]:
    """Return the pictures that the rows of a table name, and what was understood.

    The column of ids is that of this name, or ("auto") the one whose every cell names another
    picture, in any way that a table of labels may. Raises InputError where that is not certain, or
    a row names no picture.
    """
    columns = _id_columns(table, id_column)
    found = [(title, _by_column(pictures, cells, folder)) for title, cells in columns]
    fitting = [(title, one) for title, one in found if not one.faults]
    if not fitting:
        got = [f"{', '.join(one.faults)} by column {title!r}" for title, one in found]
        raise InputError(
            "every row of a table of pictures must name one of them, by a column of ids, all "
            f"different, got {some(got) or 'no such column'} of {table} in {folder}"
        )
    if len({frozenset(one.rows) for _, one in fitting}) > 1:
        raise InputError(
            "one column of a table of pictures must name them, got several that name other "
            f"pictures, {some([repr(title) for title, _ in fitting])} of {table}; `id` says which"
        )
    title, one = fitting[0]
    names = tuple(name for name in pictures if name in one.rows)
    left = len(pictures) - len(names)
    words = f"those that {table.name} names by column {title!r}{one.how}"
    return names, f"{words}; {left} others left out" if left else words


def _by_column(pictures: Sequence[str], cells: Sequence[str], folder: str) -> Match:
    """Return which pictures a column names, whose first cell may be its name."""
    below = match(pictures, cells[1:] or cells, folder, whole=False)
    row, picture = below.way
    if row(cells[0]) in set(map(picture, pictures)):
        return match(pictures, cells, folder, whole=False)
    return below


def _id_columns(table: Path, id_column: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the name and the cells of each column whose cells differ, or of that one column; the
    first cell may be its name.
    """
    rows = table_rows(text_of(table), str(table))
    columns = [tuple(cell.strip() for cell in column) for column in zip(*rows, strict=True)]
    titles = [column[0] for column in columns]
    if id_column not in ("auto", "none", *titles):
        raise InputError(
            f"id={id_column} must be a column of the table, {some(list(map(repr, titles)))}, in "
            f"{table}{did_you_mean(id_column, titles)}"
        )
    for column in columns:
        if id_column in ("auto", "none", column[0]) and len(set(column)) == len(column):
            yield column[0], column
