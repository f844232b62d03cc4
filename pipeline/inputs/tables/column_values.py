"""What the values of a column say about it: a label, an id, or a pixel."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cnn_core.data.image_form import full_scale_of
from pipeline.inputs.labels.labels import MOST_CLASSES, label_text
from pipeline.inputs.tables.table_text import is_number

ENOUGH = 20  # rows, from which on a constant column and repeated values say something


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A column over all rows; `values` may end beyond a thousand where some come twice."""

    rows: int
    twice: str | None  # the first value that comes again
    values: frozenset[str]
    text: bool  # half of them or more are no numbers
    whole: bool  # all numbers are whole, perhaps written 3.0
    least: float
    most: float
    rising: bool  # each a number above the one before

    @property
    def counts(self) -> bool:
        """Tell whether the values count the rows, from 0 or from 1."""
        whole = self.rising and self.whole and self.least in (0.0, 1.0)
        return whole and self.most - self.least + 1 == self.rows

    @property
    def constant(self) -> bool:
        """Tell whether all of enough rows hold one value."""
        return self.rows >= ENOUGH and len(self.values) == 1

    @property
    def empty_ground(self) -> bool:
        """Tell whether all rows hold the black or white of an image's border."""
        return self.constant and self.most in (0.0, 1.0, 255.0)

    def can_be_label(self, class_names: Sequence[str]) -> bool:
        """Tell whether the column may hold labels: values that come twice on average; of the
        training data's classes where those are known.
        """
        if not (self.text or self.whole) or self.empty_ground or len(self.values) > MOST_CLASSES:
            return False
        if self.rows >= ENOUGH and 2 * len(self.values) > self.rows:
            return False
        return not class_names or {*map(label_text, self.values)} <= {*class_names}

    @property
    def can_be_id(self) -> bool:
        """Tell whether no value comes twice."""
        return self.twice is None and (self.text or self.whole)

    def can_be_pixel(self, brightest: float) -> bool:
        """Tell whether these may be values of images whose other pixels reach `brightest`."""
        white = max(full_scale_of(brightest), 1.0) if self.rows >= ENOUGH else max(brightest, 255.0)
        return not self.text and self.least >= 0 and self.most <= white


def profile_of(parts: Iterable[Sequence[str]]) -> Profile:
    """Return what a column's cells, read part by part, say of it."""
    values: set[str] = set()
    rows, twice, last = 0, None, -math.inf
    for cells in parts:
        rows += len(cells)
        fresh = {cell.strip() for cell in cells}
        last = _risen(cells, last)
        if twice is None and (len(fresh) < len(cells) or not values.isdisjoint(fresh)):
            twice = _first_again(cells, values)
        if twice is None or len(values) <= MOST_CLASSES:
            values |= fresh
    numbers = [float(value) for value in values if is_number(value)]
    return Profile(
        rows=rows,
        twice=twice,
        values=frozenset(values),
        text=2 * len(numbers) <= len(values),
        whole=all(number.is_integer() for number in numbers),
        least=min(numbers, default=0.0),
        most=max(numbers, default=0.0),
        rising=last < math.inf,
    )


def _risen(cells: Sequence[str], last: float) -> float:
    """Return the last cell's number where each is above the one before; infinity where not."""
    for cell in cells:
        if last == math.inf or not is_number(cell) or not last < float(cell):
            return math.inf
        last = float(cell)
    return last


def _first_again(cells: Sequence[str], before: set[str]) -> str:
    """Return the first cell that is among those before it, which some cell must be."""
    seen, rest = {*before}, map(str.strip, cells)
    while (cell := next(rest)) not in seen:
        seen.add(cell)
    return cell
