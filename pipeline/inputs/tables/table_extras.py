"""The columns of a table that are no pixels and whose names say nothing: label or id, as their
values say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Protocol

from cnn_core.errors import InputError
from pipeline.inputs.input_source import Hints
from pipeline.inputs.tables.column_values import Profile

MANY_LEVELS = 100  # so many different numbers in a column without a name may be grey levels


@dataclass
class Roles:
    """What the columns of a table are, as far as it is found."""

    label: int | None = None
    id: int | None = None
    indexes: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)  # not used
    free: list[int] = field(default_factory=list)  # pixels, or still to be found

    def named(self) -> set[int | None]:
        return {self.label, self.id, *self.indexes, *self.others}

    def wanted(self, hints: Hints) -> list[str]:
        """Return the roles that are still open: label, id."""
        label = self.label is None and hints.label == "auto" and hints.labels is None
        roles = ["label"] if label else []
        return [*roles, "id"] if self.id is None and hints.id == "auto" else roles


class TableColumns(Protocol):
    """What is asked of a table."""

    where: str

    def called(self, column: int) -> str: ...
    def profile(self, column: int) -> Profile: ...
    def brightest(self, columns: Sequence[int]) -> float: ...
    def refusal(self, key: str, choices: Sequence[str]) -> InputError: ...


def name_extras(extras: Sequence[int], roles: Roles, hints: Hints, table: TableColumns) -> None:
    """Give label and id to columns that are certainly no pixels; the others are not used.

    Raises InputError where one may be both, or several may be the label.
    """
    wanted = roles.wanted(hints)
    varied = [column for column in extras if not table.profile(column).constant]
    labels = [c for c in varied if _fits(c, "label", wanted, hints, table)]
    ids = [c for c in extras if _fits(c, "id", wanted, hints, table)]
    both = [column for column in labels if column in ids]
    sure = [column for column in labels if column not in both]
    if len(sure) > 1:
        raise table.refusal("label", [table.called(column) for column in sure])
    if both and not sure:
        choices = [table.called(column) for column in both]
        raise table.refusal("label", [*choices, f"none, with id={choices[0]}"])
    roles.label = sure[0] if sure else roles.label
    if len(ids) > 1:
        raise table.refusal("id", [*map(table.called, ids), "none"])
    roles.id = ids[0] if ids else roles.id
    roles.others += [column for column in extras if column not in (roles.label, roles.id)]


def _fits(column: int, role: str, wanted: Sequence[str], hints: Hints, table: TableColumns) -> bool:
    if role not in wanted:
        return False
    profile = table.profile(column)
    return profile.can_be_label(hints.class_names) if role == "label" else profile.can_be_id


def place_extras(
    numbers: Sequence[int],
    extra: int,
    texts: Sequence[int],
    roles: Roles,
    hints: Hints,
    table: TableColumns,
) -> tuple[int, ...]:
    """Return which columns at the ends of `numbers`, so many as `extra`, are no pixels, and give
    them and the columns of text their roles.

    A reading is possible where a label's values come again, an id's come once, and what is left
    over at the ends may be pixels. Raises InputError unless exactly one reading is.
    """
    places = [(0,), (-1,)] if extra == 1 else [(0, 1), (0, -1), (-2, -1)]
    chosen = [tuple(numbers[place] for place in pair) for pair in places]
    ends = {column for pair in chosen for column in pair}
    brightest = table.brightest([column for column in numbers if column not in ends])
    wanted = roles.wanted(hints)
    readings = [
        (pair, given)
        for pair in chosen
        if all(table.profile(c).can_be_pixel(brightest) for c in ends - {*pair})
        for given in _assignments((*pair, *texts), wanted)
        if all(_fits(column, role, wanted, hints, table) for role, column in given.items())
    ]
    if len(readings) != 1 or _like_pixels(readings[0][1], table):
        raise _uncertain(readings, ends, wanted, table)
    pair, given = readings[0]
    roles.label, roles.id = given.get("label", roles.label), given.get("id", roles.id)
    return pair


def _like_pixels(given: dict[str, int], table: TableColumns) -> bool:
    """Tell whether the label's values are so many that they may be grey levels."""
    label = table.profile(given["label"]) if "label" in given else None
    return label is not None and not label.text and len(label.values) > MANY_LEVELS


def _assignments(columns: Sequence[int], wanted: Sequence[str]) -> Iterator[dict[str, int]]:
    for order in permutations(wanted, len(columns)):
        yield dict(zip(order, columns, strict=True))


def _uncertain(
    readings: Sequence[tuple[tuple[int, ...], dict[str, int]]],
    ends: set[int],
    wanted: Sequence[str],
    table: TableColumns,
) -> InputError:
    if readings:
        said = [
            ", ".join(f"{role}={table.called(column)}" for role, column in given.items())
            for _, given in readings
        ]
        key = "label" if any("label" in given for _, given in readings) else "id"
        return InputError(
            f"a table's layout must be certain, got several that fit ({' or '.join(said)}) in "
            f"{table.where}; `{key}` says which"
        )
    places = ", ".join(table.called(column) for column in sorted(ends))
    return InputError(
        f"a row must hold nothing but pixels and {' and '.join(wanted) or 'no other column'}, got "
        f"a column more that none of them can be (columns {places} were tried) in {table.where}; "
        "`label` or `id` says which (first, last, none, or its name)"
    )
