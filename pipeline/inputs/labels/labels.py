"""Labels are names: any text, number or code, kept as the user wrote it."""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from cnn_core.axes import Labels
from cnn_core.errors import InputError, did_you_mean
from pipeline.inputs.input_source import composed
from pipeline.inputs.tables.table_text import is_number

MOST_CLASSES = 1000
_FEW = 20  # classes that may have a picture each
_WHOLE = re.compile(r"[+-]?\d{1,40}")  # that Python takes for a number
_WHOLE_AS_FLOAT = re.compile(r"([+-]?\d+)\.0*")
_AS_SAVETXT = re.compile(r"[+-]?\d\.\d*e[+-]?\d{2}", re.I)  # 1e5 has no point: it may be a code
_MOST_WHOLE = 2**53  # beyond, a float need not be the number that was meant
_MISSING = {"nan", "+nan", "-nan", "na", "n/a", "<na>", "null"}


def label_text(cell: str) -> str:
    """Return a label without blanks around it; 3.0, as some tables write 3, is 3, and so is
    3.000e+00, as numpy.savetxt writes it.
    """
    text = cell.strip()
    if found := _WHOLE_AS_FLOAT.fullmatch(text):
        return "0" if found[1] == "-0" else found[1]
    if _AS_SAVETXT.fullmatch(text):
        value = float(text)
        return str(int(value)) if value.is_integer() and abs(value) < _MOST_WHOLE else text
    return text


def check_missing(labels: Sequence[str], at: str, where: str) -> None:
    """Raise InputError, with the place, for a label that says that there is none: NaN and its like,
    where all others are numbers. Among words NA is a name, such as a country's code.
    """
    distinct = {*labels}
    missing = {label for label in distinct if label.lower() in _MISSING}
    if not missing or not all(map(is_number, distinct - missing)):
        return
    row = next(k for k, label in enumerate(labels, 1) if label in missing)
    raise InputError(
        f"a label must not be missing, got {labels[row - 1]!r} among numbers in {at} {row} of "
        f"{where}; leave that row out with its picture, or give the class a name"
    )


def class_names(labels: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the distinct labels in order: by value where all are whole numbers, else by name with
    numbers in it by value (2 before 10).

    Raises InputError for a missing label, two classes that look alike, fewer than two, more than
    1,000, or many of one picture each.
    """
    labels = tuple(labels)
    check_missing(labels, "picture", where)
    distinct = set(labels)
    _check_forms(labels, distinct, where)
    if len(distinct) < 2:
        raise InputError(
            f"training data must have at least 2 classes, got {', '.join(distinct) or 'none'} alone"
            f" in {where}"
        )
    if len(distinct) > MOST_CLASSES:
        few = ", ".join(sorted(distinct)[:5])
        raise InputError(
            f"training data may have at most {MOST_CLASSES} classes, got {len(distinct)} ({few}, "
            f"...) in {where}; is this the label's column?"
        )
    if len(distinct) > _FEW and 2 * len(distinct) > len(labels):
        raise InputError(
            f"classes must have two pictures each in the mean, got {len(distinct)} classes of "
            f"{len(labels)} pictures in {where}; is the label a number to be estimated, or an id?"
        )
    if all(_WHOLE.fullmatch(label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct, key=natural))


def _check_forms(labels: Sequence[str], distinct: set[str], where: str) -> None:
    """Raise InputError for two classes that are one name in two forms of Unicode."""
    first: dict[str, str] = {}
    for name in distinct:
        other = first.setdefault(composed(name), name)
        if other != name:
            at = " and ".join(map(str, sorted(labels.index(one) + 1 for one in (other, name))))
            raise InputError(
                f"a class must be written in one form of Unicode, got {name[:40]!r} in two (with "
                f"accents as characters of their own, and without) at pictures {at} of {where}"
            )


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sorting key by which 2 comes before 10, numbers of any length; by the name itself
    where only zeros before a number differ, since a set and a folder have no order of their own.
    """
    parts = [
        (0, len(digits := part.lstrip("0")), digits) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"([0-9]+)", name)
    ]
    return parts, name


def class_numbers(labels: Sequence[str], names: Sequence[str], where: str) -> Labels:
    """Return each label's number in `names`, (N,) int64; a class that is called 1.0, as a folder
    may be, is also 1, and any form of Unicode is the same. Raises InputError for an unknown label.
    """
    numbers = {composed(label_text(name)): k for k, name in enumerate(names)}
    numbers |= {label_text(name): k for k, name in enumerate(names)}
    numbers |= {name: k for k, name in enumerate(names)}
    numbers |= {label: numbers.get(composed(label), -1) for label in {*labels} - numbers.keys()}
    found = np.array([numbers[label] for label in labels], np.int64)
    if (found >= 0).all():
        return found
    at = int(np.argmin(found))
    unknown = labels[at]
    known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    raise InputError(
        f"a label must be a class of the training data, {known}, got {unknown[:40]!r} at "
        f"picture {at + 1} of {where}{did_you_mean(unknown, names)}"
    )
