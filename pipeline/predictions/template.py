"""A contest's sample submission: what it says of the file to hand in, and a file in that form."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from cnn_core.plain_text import safe_cell
from pipeline.inputs.input_source import numbered
from pipeline.inputs.labels.labels import label_text
from pipeline.inputs.tables.table_text import is_number
from pipeline.predictions.class_columns import class_columns
from pipeline.predictions.id_match import match_ids
from pipeline.predictions.one_column import one_column
from pipeline.predictions.submission import Probabilities, chances, csv_line
from pipeline.predictions.template_table import is_row, table_of

_ID_NAMES = (
    *("id", "imageid", "image_id", "image id", "image", "filename", "file_name", "file name"),
    *("file", "path", "name", "img", "index"),
)


@dataclass(frozen=True)
class Template:
    """A sample submission, understood."""

    path: Path
    header: tuple[str, ...] | None  # None: the file begins with its first row
    delimiter: str
    id_column: int | None  # None: there is but the column of labels, rows count by their order
    ids: tuple[str, ...]
    classes: tuple[int, ...] | None  # class of each other column; None: one for the class's name
    kept: tuple[tuple[int, tuple[str, ...]], ...] = ()  # columns that stay as they are, their cells

    def lines(self, names: Sequence[str]) -> str:
        """Return what was understood, in one line."""
        ids = "no ids" if self.id_column is None else f"ids: {self._column(self.id_column)}"
        what = "the class's name in one column"
        if self.classes is not None:
            shown = ", ".join(names[k] for k in self.classes[:5])
            what = f"probabilities of {shown}{', ...' if len(self.classes) > 5 else ''}"
        kept = ", ".join(self._column(column) for column, _ in self.kept)
        what += f", as they are: {kept}" if kept else ""
        return f"template: {len(self.ids)} rows, {ids}, {what}"

    def _column(self, number: int) -> str:
        return f"column {number + 1}" if self.header is None else f"{self.header[number]!r}"


def read_template(
    path: str | Path, names: Sequence[str], id_name: str | None = None, *, form: str = "auto"
) -> Template:
    """Return a sample submission for classes of these names.

    `id_name` is what the input calls its ids; `form` submission or probabilities: what the columns
    hold, where the user says so. Raises InputError for a file that cannot be read, or that does not
    tell its form with certainty.
    """
    path = Path(path).expanduser()
    delimiter, rows = table_of(path)
    header = None if is_row(rows, names) else tuple(rows[0])
    body = rows if header is None else rows[1:]
    if not body:
        raise InputError(f"a template must have rows below its header, got none in {path}")
    column = _id_column(header or (), body, names, id_name)
    others = [k for k in range(len(rows[0])) if k != column]
    kept = [k for k in others if header and _stays([row[k] for row in body], header[k], names)]
    kept = kept if len(kept) < len(others) else []
    others = [k for k in others if k not in kept]
    if column is None and _are_ids(header, body, names, id_name):
        shown = repr(header[0]) if header else "without a header"
        raise InputError(
            f"a template must have a column for the labels beside the ids, got one column alone, "
            f"{shown}, which holds ids, in {path}"
        )
    if len(others) == 1:
        word = header[others[0]] if header else ""
        values = [row[others[0]] for row in body]
        classes = one_column(word, values, names, form, path)
    elif header is None or form == "submission":
        raise InputError(
            f"a template must have one column besides the ids, or a header that names the classes, "
            f"got {len(others)} columns in {path}"
        )
    else:
        classes = class_columns([header[k] for k in others], names, str(path))
    ids = numbered(0, len(body)) if column is None else _ids(header, body, column, path)
    cells = tuple((k, tuple(row[k] for row in body)) for k in kept)
    return Template(path, header, delimiter, column, ids, classes, cells)


def check_output(output: str, form: str) -> None:
    """Raise InputError for an output that cannot follow a template."""
    if form == "labels" or output.lower().endswith(".npy"):
        raise InputError(
            "template: gives a table of ids, so output must not end in .npy and format not be "
            f"labels, got output={output} format={form}"
        )


def _id_column(
    header: Sequence[str], body: Sequence[Sequence[str]], names: Sequence[str], id_name: str | None
) -> int | None:
    """Return the column of ids: of the input's name for them, of a usual name, else the first; or
    the second of two where the first holds nothing but classes, or one value; or of more the only
    one that tells all rows apart.
    """
    if len(body[0]) == 1:
        return None
    folded = [word.strip().casefold() for word in header]
    known = ((id_name or "").strip().casefold(), *_ID_NAMES)
    found = next((folded.index(word) for word in known if word and word in folded), None)
    if found is not None or len(body) < 2:
        return found or 0
    if len(body[0]) > 2:
        apart = [k for k in range(len(body[0])) if len({row[k] for row in body}) == len(body)]
        return apart[0] if len(apart) == 1 else 0
    first, second = ({label_text(row[k]) for row in body} for k in (0, 1))
    labels = len(first) < len(body) and (len(first) == 1 or first <= {*names, ""})
    return int(labels and len(second) == len(body))


def _stays(cells: Sequence[str], word: str, names: Sequence[str]) -> bool:
    """Tell a column that is neither labels nor probabilities, such as `Usage` with its Public and
    Private.
    """
    found = {label_text(cell) for cell in cells}
    return not (word.strip() in names or "" in found or found & set(names)) and not any(
        map(is_number, found)
    )


def _are_ids(
    header: Sequence[str] | None,
    body: Sequence[Sequence[str]],
    names: Sequence[str],
    id_name: str | None,
) -> bool:
    """Tell whether a table's only column holds ids: different in each row, and named so or few of
    them classes.
    """
    found = {label_text(row[0]) for row in body}
    if len(found) < len(body) or len(body) == 1:
        return False
    known = ((id_name or "").strip().casefold(), *_ID_NAMES)
    named = header is not None and header[0].strip().casefold() in known
    return named or 2 * len(found - set(names)) > len(found)


def _ids(
    header: Sequence[str] | None, body: Sequence[Sequence[str]], column: int, path: Path
) -> tuple[str, ...]:
    ids = tuple(row[column].strip() for row in body)
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        shown = ", ".join(name or "(empty)" for name in twice[:5])
        more = ", ..." if len(twice) > 5 else ""
        place = repr(header[column]) if header else column + 1
        raise InputError(
            f"a template must name every picture once, got {len(twice)} ids more than once "
            f"({shown}{more}) in column {place} of {path}"
        )
    return ids


class TemplateRows:
    """Predictions in the form of a template, in its order."""

    def __init__(
        self, file: TextIO, names: Sequence[str], template: Template, id_name: str | None
    ) -> None:
        self.file, self.template = file, template
        self.names = names if template.classes else [safe_cell(one, "a label") for one in names]
        self.invented = id_name is None  # until the ids turn out to be more than row numbers
        self.ids: list[str] = []
        self.kept: list[Probabilities] = []

    def add(self, ids: Sequence[str], probabilities: Probabilities) -> None:
        numbers = numbered(len(self.ids), len(ids))
        self.invented = self.invented and tuple(ids) == numbers
        self.ids += ids
        classes = self.template.classes
        self.kept.append(
            probabilities.argmax(axis=1) if classes is None else probabilities[:, list(classes)]
        )

    def finish(self) -> str:
        """Write the rows; return how the ids were matched. Raises InputError where the input and
        the template do not agree.
        """
        template = self.template
        if template.id_column is None:
            order, how = self._by_order()
        else:
            order, how = match_ids(template.ids, self.ids, self.invented, str(template.path))
        if template.header is not None:
            self.file.write(csv_line(template.header, template.delimiter))
        found = np.concatenate(self.kept)
        copied = dict(template.kept)
        if template.id_column is not None:
            copied[template.id_column] = tuple(map(safe_cell, template.ids))
        for number, row in enumerate(order):
            cells = [self.names[found[row]]] if template.classes is None else chances(found[row])
            for column in sorted(copied):
                cells.insert(column, copied[column][number])
            self.file.write(csv_line(cells, template.delimiter))
        return f"template: {how}"

    def _by_order(self) -> tuple[NDArray[np.intp], str]:
        if len(self.ids) != len(self.template.ids):
            raise InputError(
                f"the input must have as many pictures as the template has rows, got "
                f"{len(self.ids)} and {len(self.template.ids)} in {self.template.path}"
            )
        return np.arange(len(self.ids), dtype=np.intp), "no ids: rows in the order of the input"
