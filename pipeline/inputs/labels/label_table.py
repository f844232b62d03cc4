"""The text of a table of labels: which column is the id, which the label, is there a header."""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from cnn_core.errors import InputError, did_you_mean
from pipeline.inputs.labels.labels import check_missing, label_text
from pipeline.inputs.tables.table_header import named_indexes
from pipeline.inputs.tables.table_text import is_number, told_separator

_ID = re.compile(
    r"(image|img|file|picture|photo|sample)?[ _-]?(id|ids|no|number|index|path|name|file|filename)"
    r"|image|img|file|filename|filepath|picture|fname|photo|path|uuid"
)
_LABEL = re.compile(
    r"(class|label|target|category|true)?[ _-]?(label|labels|class|classes|target|category|y)"
    r"|class[ _-]?(id|name|no|number|index)|label[ _-]?(id|name)|digit|letter|species|breed"
)


class Found(NamedTuple):
    """What a table of labels holds."""

    ids: tuple[str, ...] | None
    labels: tuple[str, ...]
    understood: str
    index_way: str = ""  # what names the column of ids, where it is but an index that nobody named


def label_table(text: str, where: str, label: str = "auto", id_column: str = "auto") -> Found:
    """Return ids (None where there are none), labels and a line that says how they were found.

    `label` and `id_column` are "auto", "first", "last" or a column's name; `id_column` may be
    "none". Raises InputError, with the choices, where the table can be read in two ways.
    """
    rows = table_rows(text, where)
    names = _header(rows, (label, id_column))
    if names is not None:
        rows = rows[1:]
    if not rows:
        raise InputError(f"a table of labels must have a row below its header, got none in {where}")
    columns = [tuple(cell.strip() for cell in column) for column in zip(*rows, strict=True)]
    titles = names or tuple(f"column {k + 1}" for k in range(len(columns)))
    if len(columns) == 1:
        words = f"labels: {titles[0]!r} of {where}, one a line"
        return Found(None, _labels(columns[0], where), words)
    id_at, label_at = _roles(titles, columns, (label, id_column), where)
    words = "no ids" if id_at is None else f"ids: {_called(titles[id_at])}"
    if len(label_at) > 1:
        labels = _one_hot([titles[k] for k in label_at], [columns[k] for k in label_at], where)
        words += f"; labels: the column of each row's 1, of {len(label_at)}"
    else:
        labels = _labels(columns[label_at[0]], where)
        words += f"; labels: {titles[label_at[0]]!r}"
    others = [title for k, title in enumerate(titles) if k not in (id_at, *label_at)]
    words += f"; not used: {', '.join(map(_called, others))}" if others else ""
    words += f" of {where}"
    if id_at is None:
        return Found(None, labels, words)
    _distinct(columns[id_at], titles[id_at], where)
    unnamed = id_column == "auto" and (names is None or bool(named_indexes([titles[id_at]])))
    return Found(columns[id_at], labels, words, _place(titles, id_at) if unnamed else "")


def table_rows(text: str, where: str) -> list[list[str]]:
    """Return the cells, every row as wide as the first. Raises InputError for another table."""
    told, text = told_separator(text)
    text = text.removeprefix("# ")  # before the names, as numpy.savetxt writes them
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    delimiter = told or max(",;\t|", key=first.count)
    if first.count(delimiter):
        try:
            rows = [
                row
                for row in csv.reader(io.StringIO(text), delimiter=delimiter)
                if any(cell.strip() for cell in row)
            ]
        except csv.Error as error:
            raise InputError(f"a table of labels must be whole, got {error} in {where}") from None
    else:
        rows = _words([line.strip() for line in lines if line.strip()])
    if not rows:
        raise InputError(
            f"a table of labels must have a cell that is not blank, got none in {where}"
        )
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise InputError(
                f"every row of a table must have {len(rows[0])} cells as the first, got {len(row)} "
                f"in row {number} of {where}"
            )
    return rows


def _words(lines: list[str]) -> list[list[str]]:
    """Return lines without delimiters: id and label between blanks, or one label each."""
    cut = [line.split() for line in lines]
    pairs = all(len(parts) == 2 for parts in cut)
    if pairs and len({parts[0] for parts in cut}) == len(cut) > 1:
        return cut
    return [[line.strip("\"'")] for line in lines]


def _header(rows: list[list[str]], told: tuple[str, str]) -> tuple[str, ...] | None:
    """Return the first row where it names the columns.

    It does where it holds a name that was told or is known, or a cell unlike all below it: text
    over numbers or over False and True, a word over file names. A wrong guess does not pass: its
    row has no picture.
    """
    first = [cell.strip() for cell in rows[0]]
    columns = [tuple(cell.strip() for cell in column) for column in zip(*rows[1:], strict=True)]
    columns = columns or [()] * len(first)
    words = {*told} - {"auto", "none"}
    known = any(
        (cell in words or _ID.fullmatch(cell.lower()) or _LABEL.fullmatch(cell.lower()))
        and cell not in column
        for cell, column in zip(first, columns, strict=True)
    )
    odd = any(
        column and not like(cell) and all(map(like, column))
        for cell, column in zip(first, columns, strict=True)
        for like in (is_number, _is_file, _is_mark)
    )
    return tuple(first) if known or odd else None


def _is_file(cell: str) -> bool:
    return re.search(r"\.[A-Za-z]{2,4}[0-9]?$", cell) is not None


def _roles(
    titles: Sequence[str],
    columns: Sequence[tuple[str, ...]],
    told: tuple[str, str],
    where: str,
) -> tuple[int | None, list[int]]:
    """Return the id's column and the label's, or those of 0 and 1, one a class; no id's where the
    user wants none.
    """
    named = [
        _only(titles, _told(told[0], titles, "label", where), _LABEL),
        _only(titles, _told(told[1], titles, "id", where), _ID),
    ]
    label_at, id_at = (k if named.count(k) == 1 else None for k in named)
    free = _free(titles, (label_at, id_at))
    if told[1] == "none":
        id_at, labels = None, _labels_alone(titles, columns, named[0])
    elif label_at is None and id_at is None:
        id_at, labels = _both(titles, columns, free)
    elif label_at is None:
        labels = free if _marks(columns, free) else []
    else:
        id_at = free[0] if id_at is None and len(free) == 1 else id_at
        labels = [label_at]
    if not labels or (id_at is None and told[1] != "none"):
        raise InputError(
            "a table of labels must have a column of ids, all different, and one of labels; give "
            f"`label` and `id`, each one of {', '.join(map(repr, titles[:12]))}, or `id`=none where"
            f" the images have no names, for {where}"
        )
    return id_at, labels


def _labels_alone(
    titles: Sequence[str], columns: Sequence[tuple[str, ...]], named: int | None
) -> list[int]:
    """Return the label's columns of a table whose ids are not used."""
    if named is not None:
        return [named]
    free = _free(titles, ())
    rest = [k for k in free if not _ID.fullmatch(titles[k].lower())]
    if _marks(columns, rest):
        return rest
    label_at, _ = _by_values(columns, free)
    return [] if label_at is None else [label_at]


def _both(
    titles: Sequence[str], columns: Sequence[tuple[str, ...]], free: Sequence[int]
) -> tuple[int | None, list[int]]:
    """Return id and label where no name says either: of two columns by their values, else all of
    them the label's, beside a saved index.
    """
    label_at, id_at = _by_values(columns, free)
    indexes = [k for k in range(len(titles)) if k not in free]
    if label_at is None and len(indexes) == 1 and _marks(columns, free):
        return indexes[0], list(free)
    return id_at, [] if label_at is None else [label_at]


def _told(word: str, titles: Sequence[str], key: str, where: str) -> int | None:
    """Return the column that the user named."""
    if word in ("auto", "none"):
        return None
    if word in titles:
        return titles.index(word)
    if word in ("first", "last"):
        return 0 if word == "first" else len(titles) - 1
    raise InputError(
        f"{key}={word} must be a column of the table, {', '.join(map(repr, titles[:12]))}, in "
        f"{where}{did_you_mean(word, titles)}"
    )


def _called(title: str) -> str:
    return repr(title) if title else "a column without a name"


def _place(titles: Sequence[str], column: int) -> str:
    """Return what the user can say for a column of a table that need not have a name."""
    word = {0: "first", len(titles) - 1: "last"}.get(column) or titles[column]
    return f"`id`={word}" if word else "a name for that column in the file, such as id,"


def _only(titles: Sequence[str], told: int | None, names: re.Pattern[str]) -> int | None:
    """Return the column that was told, or the only one of a usual name."""
    if told is not None:
        return told
    found = [k for k, title in enumerate(titles) if names.fullmatch(title.lower())]
    return found[0] if len(found) == 1 else None


def _free(titles: Sequence[str], taken: Sequence[int | None]) -> list[int]:
    """Return the other columns, without the row numbers that tables are saved with."""
    free = [k for k in range(len(titles)) if k not in taken]
    real = [k for k in free if titles[k] and not titles[k].startswith("Unnamed:")]
    return real or free


def _by_values(
    columns: Sequence[tuple[str, ...]], free: Sequence[int]
) -> tuple[int | None, int | None]:
    """Return label and id of two columns of which one alone has different values in all rows."""
    distinct = [k for k in free if len(set(columns[k])) == len(columns[k])]
    if len(free) != 2 or len(distinct) != 1:
        return None, None
    return next(k for k in free if k not in distinct), distinct[0]


def _marks(columns: Sequence[tuple[str, ...]], free: Sequence[int]) -> bool:
    """Return whether these are the label: one column, or several of 0 and 1, or False and True."""
    return len(free) == 1 or (
        len(free) > 1 and all(all(map(_is_mark, {*columns[k]})) for k in free)
    )


def _is_mark(cell: str) -> bool:
    return label_text(cell).lower() in ("0", "1", "false", "true")


def _one_hot(
    classes: Sequence[str], columns: Sequence[tuple[str, ...]], where: str
) -> tuple[str, ...]:
    labels = []
    marks = {cell for column in columns for cell in {*column} if _is_set(cell)}
    for number, row in enumerate(zip(*columns, strict=True), 1):
        hot = [name for name, cell in zip(classes, row, strict=True) if cell in marks]
        if len(hot) != 1:
            raise InputError(
                f"a row of classes must have exactly one 1, got {len(hot)} in row {number} of "
                f"{where}"
            )
        labels.append(hot[0])
    return tuple(labels)


def _is_set(cell: str) -> bool:
    return label_text(cell).lower() in ("1", "true")


def _labels(cells: Sequence[str], where: str) -> tuple[str, ...]:
    labels = tuple(label_text(cell) for cell in cells)
    if "" in labels:
        raise InputError(
            f"a label must not be empty, got none in row {labels.index('') + 1} of {where}"
        )
    check_missing(labels, "row", where)
    return labels


def _distinct(ids: Sequence[str], title: str, where: str) -> None:
    seen: set[str] = set()
    for text in ids:
        if text in seen:
            raise InputError(
                f"ids must be different, got {text!r} in two rows, column {title!r} of {where}; "
                "where the images have no names, `id`=none takes the labels in order"
            )
        seen.add(text)
