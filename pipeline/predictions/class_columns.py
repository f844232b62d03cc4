"""Which column of a template holds which class's probability: by the classes' names, in any order,
perhaps with the same words before or behind all of them (``prob_3``, ``class_cat``).
"""

import re
from collections.abc import Sequence

from cnn_core.errors import InputError
from pipeline.inputs.input_source import composed
from pipeline.inputs.labels.labels import label_text


def class_columns(columns: Sequence[str], names: Sequence[str], where: str) -> tuple[int, ...]:
    """Return each column's class number.

    Names count as equal where they differ in the form of Unicode, in capitals, or in what stands
    between words, if no two classes become one by that. Raises InputError where the columns are not
    the classes, each once.
    """
    for simplified in (label_text, _plain):
        found = _match(
            [simplified(composed(c)) for c in columns], [simplified(composed(n)) for n in names]
        )
        if found is not None:
            return found
    shown = f"{len(columns)} columns, {_few(columns)}"
    missing = [name for name in names if name not in columns]
    superfluous = [column for column in columns if column not in names]
    raise InputError(
        f"a template must have one column for the label, or one for each of the {len(names)} "
        f"classes ({_few(names)}), got {shown}; classes without a column of their name: "
        f"{len(missing)} ({_few(missing)}); columns that name no class: {len(superfluous)} "
        f"({_few(superfluous)}) in {where}"
    )


def _match(columns: Sequence[str], names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the class of each column where all are a name between the same prefix and suffix.

    There is one way at most. Were there two, of prefixes that differ by a text t, each name would
    be the beginning of t t t ..., hence told by its length alone, which both ways keep.
    """
    if len(columns) != len(names) or len(set(columns)) != len(set(names)) or "" in names:
        return None
    first = columns[0]
    for name in names:
        for at in (place.start() for place in re.finditer(f"(?={re.escape(name)})", first)):
            before, behind = first[:at], first[at + len(name) :]
            numbers = {before + other + behind: k for k, other in enumerate(names)}
            if len(numbers) == len(names) and numbers.keys() == set(columns):
                return tuple(numbers[column] for column in columns)
    return None


def _plain(name: str) -> str:
    """Return a name in small letters, its words joined by _, its numbers without leading zeros."""
    words = re.sub(r"[\W_]+", "_", label_text(name).casefold()).strip("_")
    return re.sub(r"(?<!\d)0+(?=\d)", "", words)


def _few(words: Sequence[str], most: int = 8) -> str:
    return (", ".join(words[:most]) + (", ..." if len(words) > most else "")) or "none"
