"""Which row of the input each id of a template means."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cnn_core.errors import InputError
from pipeline.inputs.input_source import composed, some

_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}$")


def _without_folders(name: str) -> str:
    return composed(name).replace("\\", "/").rpartition("/")[2]


def _without_ending(name: str) -> str:
    return _ENDING.sub("", composed(name))


def _stem(name: str) -> str:
    return _without_ending(_without_folders(name))


def _number(name: str) -> str:
    stem = _stem(name)
    return str(int(stem)) if stem.isdecimal() and len(stem) < _DIGITS else stem


_DIGITS = 19  # of a number that fits an index; a longer id is a name
# From the strictest to the laxest: an id means a picture by the first that makes both sides equal.
_SIGHTS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", str),
    (" in one form of Unicode", composed),
    (" without folders", _without_folders),
    (" without endings", _without_ending),
    (" without folders and endings", _stem),
    (" as numbers", _number),
)


def match_ids(
    wanted: Sequence[str], given: Sequence[str], invented: bool, where: str
) -> tuple[NDArray[np.intp], str]:
    """Return the input's row of each of a template's ids, (N,), and how they were matched, in
    words.

    wanted: the template's ids, distinct; given: the input's; invented: those are row numbers only.
    Raises InputError where the two do not name the same pictures, each once.
    """
    best = -1, "", set(wanted), set(given)
    for how, key in _SIGHTS:
        left, right = [key(name) for name in wanted], [key(name) for name in given]
        rows = {name: row for row, name in enumerate(right)}
        distinct = len(set(left)) == len(left) and len(rows) == len(right)
        if distinct and rows.keys() == set(left):
            return np.array([rows[name] for name in left], np.intp), f"ids{how} equal the input's"
        common = len(rows.keys() & set(left))
        if common > best[0] and (distinct or not how):
            best = common, how, set(left) - rows.keys(), rows.keys() - set(left)
    if invented and len(wanted) == len(given):
        return _by_number(wanted, where)
    _, how, missing, superfluous = best
    raise InputError(_disagreement(wanted, given, how, (missing, superfluous)) + f" in {where}")


def _by_number(wanted: Sequence[str], where: str) -> tuple[NDArray[np.intp], str]:
    """Return rows by the order of the template, or by its numbers where those count the rows.
    Raises InputError where neither is certain.
    """
    if all(name.isdecimal() and len(name) < _DIGITS for name in wanted):
        numbers = np.array([int(name) for name in wanted], np.intp)
        first = int(numbers.min())
        if int(numbers.max()) - first == len(numbers) - 1 and len(set(wanted)) == len(wanted):
            return numbers - first, f"the input has no ids: id {first} is taken for its first row"
    if not _in_order(wanted):
        raise InputError(
            "ids of a template must be in the order of the input's rows where the input has none, "
            f"got numbers that do not rise ({some(wanted)}) in {where}; give the input ids, or put "
            "the template in the order of the input"
        )
    order = np.arange(len(wanted), dtype=np.intp)
    return order, "the input has no ids: its rows are taken in the order of the template"


def _in_order(wanted: Sequence[str]) -> bool:
    """Return whether nothing speaks against rows in this order: ids that differ in numbers alone
    rise, as test_3, test_17; others, such as digests, say nothing.
    """
    forms = {re.sub(r"\d+", "#", name) for name in wanted}
    numbers = [tuple(map(int, re.findall(r"\d{1,18}", name))) for name in wanted]
    alike = len(forms) == 1 and len({*map(len, numbers)}) == 1
    return not alike or all(a < b for a, b in pairwise(numbers))


def _disagreement(
    wanted: Sequence[str], given: Sequence[str], how: str, apart: tuple[set[str], set[str]]
) -> str:
    missing, superfluous = (sorted(names) for names in apart)
    key = dict(_SIGHTS)[how]
    seen: set[str] = set()
    twice = [name for name in map(key, given) if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    parts = [
        f"{len(names)} {what} ({some(names)})"
        for names, what in (
            (missing, "of the template missing in the input"),
            (superfluous, "of the input not in the template"),
            (twice, "more than once in the input"),
        )
        if names
    ]
    return (
        f"the input and the template must name the same pictures, got {len(given)} pictures and "
        f"{len(wanted)} ids{how}: {'; '.join(parts)}"
    )
