"""Pixels in the order of the numbers in their names: pixel0, pixel1, ..., or 1x1, 1x2, ..., row and
column.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice, product
from math import prod

from cnn_core.errors import InputError
from pipeline.inputs.tables.pixel_shape import PixelShape

Numbers = tuple[int, ...]
_COLUMN_FIRST = re.compile(
    r"(?:.*[^a-z])?(?:x|c|col|column)[^a-z#]*#[^a-z#]*(?:y|r|row)[^a-z#]*#.*"
)
_FEW = 5  # missing pixels to be named


def forms_of(names: Sequence[str]) -> list[str]:
    """Return each name with # for its numbers; "pixel" beside "pixel.1" is the first of these."""
    forms = [re.sub(r"\d+", "#", name) for name in names]
    known = {*forms}
    return [f"{form}.#" if f"{form}.#" in known and "#" not in form else form for form in forms]


def alike(names: Sequence[str]) -> list[int]:
    """Return the columns whose names are like many others but for the numbers in them: pixel0,
    pixel1, ..., or 1x1, 1x2, ...; r0, ..., g0, ..., b0, ... too.
    """
    forms = forms_of(names)
    many = max(4, len(names) // 8)
    common = {form for form, count in Counter(forms).items() if count >= many and "#" in form}
    return [column for column, form in enumerate(forms) if form in common]


def missing(names: Sequence[str], columns: Sequence[int]) -> list[str]:
    """Return the first names that the numbers of these columns' names leave out."""
    forms, found = forms_of(names), []
    for form in dict.fromkeys(forms[column] for column in columns):
        group = [column for column in columns if forms[column] == form]
        varying, numbers = _numbers(names, group)
        written = re.findall(r"\d+", names[group[-1]])
        for lacking in islice(_lacking(numbers) or (), _FEW):
            for place, number in zip(varying, lacking, strict=True):
                written[place] = str(number)
            found.append(_filled(form, written))
    return found[:_FEW]


def in_order(
    names: Sequence[str], pixels: Sequence[int], shape: PixelShape, where: str
) -> list[int]:
    """Return the pixels in the order of their names, as they are where these have none.

    Names of several kinds, such as r0, g0, b0, ..., are put in order each. Raises InputError where
    those are mixed up.
    """
    forms = forms_of(names)
    kinds = [forms[column] for column in pixels]
    groups = {kind: [c for c in pixels if forms[c] == kind] for kind in dict.fromkeys(kinds)}
    if len({*map(len, groups.values())}) > 1:
        return [*pixels]
    ordered = {kind: _sorted(names, kind, groups[kind], shape) for kind in _by_colour([*groups])}
    if [*ordered.items()] == [*groups.items()]:
        return [*pixels]
    each = len(pixels) // len(groups)
    if kinds not in ([kind for kind in groups for _ in range(each)], [*groups] * each):
        raise InputError(
            f"pixels named in {len(groups)} ways ({', '.join(islice(groups, _FEW))}) must come one "
            f"way after the other, or in turn, got a mixture in {where}"
        )
    turns = {kind: iter(ordered[place]) for kind, place in zip(groups, ordered, strict=True)}
    return [next(turns[kind]) for kind in kinds]


def _by_colour(kinds: list[str]) -> list[str]:
    """Return three kinds of names that differ in r, g and b, or in words that begin so, in that
    order; others as they are.
    """
    letters = next((each for each in zip(*kinds, strict=False) if len({*each}) > 1), ())
    found = dict(zip((letter.lower() for letter in letters), kinds, strict=False))
    colours = len(kinds) == 3 and found.keys() == {*"rgb"}
    return [found[letter] for letter in "rgb"] if colours else kinds


def _sorted(names: Sequence[str], form: str, group: list[int], shape: PixelShape) -> list[int]:
    varying, numbers = _numbers(names, group)
    distinct = len({*numbers}) == len(numbers)
    if not varying or len(varying) > 2 or not distinct or _lacking(numbers) != []:
        return group
    if len(varying) == 2:
        if _COLUMN_FIRST.fullmatch(form.lower()):
            numbers = [(row, column) for column, row in numbers]
        if (len({n[0] for n in numbers}), len({n[1] for n in numbers})) != (
            shape.height,
            shape.width,
        ):
            return group  # the numbers are no rows and columns
    return [column for _, column in sorted(zip(numbers, group, strict=True))]


def _numbers(names: Sequence[str], group: Sequence[int]) -> tuple[list[int], list[Numbers]]:
    """Return which of the numbers in the names differ, and those of each name."""
    found = [
        [int(digits) for digits in re.findall(r"\d+", names[column])] or [0] for column in group
    ]
    varying = [place for place, of in enumerate(zip(*found, strict=True)) if len({*of}) > 1]
    return varying, [tuple(row[place] for place in varying) for row in found]


def _lacking(numbers: Collection[Numbers]) -> list[Numbers] | None:
    """Return what is missing between the least and the largest; None where most of it is: such
    numbers do not count pixels.
    """
    sides = [range(min(of), max(of) + 1) for of in zip(*numbers, strict=True)]
    if prod(map(len, sides)) >= 2 * len(numbers):
        return None
    known = {*numbers}
    return [each for each in product(*sides) if each not in known]


def _filled(form: str, written: Sequence[str]) -> str:
    parts = form.split("#")
    return "".join(part + number for part, number in zip(parts, [*written, ""], strict=True))
