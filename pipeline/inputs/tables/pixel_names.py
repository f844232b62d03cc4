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
_DIGITS = 18
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
    found = []
    for form, group in _kinds(names, columns).items():
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
    kinds, groups = [forms[column] for column in pixels], _kinds(names, pixels)
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


def as_trained(
    names: Sequence[str], pixels: Sequence[int], known: Sequence[str], where: str
) -> tuple[list[int], str]:
    """Return the pixels in the order that training's columns had, and a word on it; in the file's
    where all of them are called otherwise. Raises InputError where only some of them are known.
    """
    found = [names[column] for column in pixels]
    if found == [*known]:
        return [*pixels], ""
    strange = [name for name in found if name not in {*known}]
    if len(strange) == len(found):
        return [*pixels], "; pixels called otherwise than in training, in the file's order"
    twice = [name for name, times in Counter(found).items() if times > 1]
    if strange or twice or len(found) != len(known):
        what = f"{len(strange)} others ({', '.join(strange[:_FEW])})"
        if not strange:
            what = f"{', '.join(twice[:_FEW])} more than once, in another order"
        raise InputError(
            f"columns of pixels must be called as in the training data, "
            f"{', '.join(known[:2])}, ..., each once, got {what} in {where}"
        )
    at = dict(zip(found, pixels, strict=True))
    return [at[name] for name in known], "; pixels in the order of training's columns"


def _kinds(names: Sequence[str], columns: Sequence[int]) -> dict[str, list[int]]:
    """Return the columns of each kind of name, in the order in which kinds come first."""
    forms, found = forms_of(names), dict[str, list[int]]()
    for column in columns:
        found.setdefault(forms[column], []).append(column)
    return found


def tell_order(names: Sequence[str], pixels: Sequence[int], shape: PixelShape) -> bool:
    """Return whether the numbers in the names count the pixels: names of one kind, or of one for
    each of red, green and blue.
    """
    groups = _kinds(names, pixels)
    if len(groups) > 1 and not _are_colours([*groups]):
        return False
    return all(_count(names, group, shape) for group in groups.values())


def by_pixel(names: Sequence[str], pixels: Sequence[int], shape: PixelShape) -> bool | None:
    """Return whether the names say that the three colours of a pixel stand together; None where
    they do not tell colours apart.
    """
    forms = forms_of(names)
    kinds = [forms[column] for column in pixels]
    distinct, each = [*dict.fromkeys(kinds)], shape.height * shape.width
    if len(distinct) != shape.channels or len(kinds) != len(distinct) * each:
        return None
    if kinds == [kind for kind in distinct for _ in range(each)]:
        return False
    return True if kinds == distinct * each else None


def _by_colour(kinds: list[str]) -> list[str]:
    """Return three kinds of names that differ in r, g and b, or in words that begin so, in that
    order; others as they are.
    """
    return [_initials(kinds)[letter] for letter in "rgb"] if _are_colours(kinds) else kinds


def _are_colours(kinds: list[str]) -> bool:
    return len(kinds) == 3 and _initials(kinds).keys() == {*"rgb"}


def _initials(kinds: list[str]) -> dict[str, str]:
    """Return each kind by the first letter in which they differ."""
    letters = next((each for each in zip(*kinds, strict=False) if len({*each}) > 1), ())
    return dict(zip((letter.lower() for letter in letters), kinds, strict=False))


def _sorted(names: Sequence[str], form: str, group: list[int], shape: PixelShape) -> list[int]:
    if not _count(names, group, shape):
        return group
    numbers = _pairs(form, _numbers(names, group)[1])
    return [column for _, column in sorted(zip(numbers, group, strict=True))]


def _count(names: Sequence[str], group: Sequence[int], shape: PixelShape) -> bool:
    """Return whether the numbers in the names of one kind count pixels, or their rows and
    columns.
    """
    varying, numbers = _numbers(names, group)
    distinct = len({*numbers}) == len(numbers)
    if not varying or len(varying) > 2 or not distinct or _lacking(numbers) != []:
        return False
    if len(varying) == 1:
        return True
    pairs = _pairs(forms_of(names)[group[0]], numbers)
    sides = len({pair[0] for pair in pairs}), len({pair[1] for pair in pairs})
    return sides == (shape.height, shape.width)


def _pairs(form: str, numbers: list[Numbers]) -> list[Numbers]:
    """Return rows before columns where a name of two numbers has them the other way round."""
    if len(numbers[0]) == 2 and _COLUMN_FIRST.fullmatch(form.lower()):
        return [(row, column) for column, row in numbers]
    return numbers


def _numbers(names: Sequence[str], group: Sequence[int]) -> tuple[list[int], list[Numbers]]:
    """Return which of the numbers in the names differ, and those of each name."""
    found = [
        [_number(digits) for digits in re.findall(r"\d+", names[column])] or [0] for column in group
    ]
    varying = [place for place, of in enumerate(zip(*found, strict=True)) if len({*of}) > 1]
    return varying, [tuple(row[place] for place in varying) for row in found]


def _number(digits: str) -> int:
    """Return a number, one that counts no pixels where it has too many digits."""
    return int(digits) if len(digits) <= _DIGITS else 10**_DIGITS


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
