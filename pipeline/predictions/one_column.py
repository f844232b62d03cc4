"""What a template's single column besides the ids is for: the class's name, or the probability of
one class.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.inputs.labels.labels import label_text
from pipeline.inputs.tables.table_text import is_number

_WHOLE = re.compile(r"[+-]?\d{1,40}")
_CHANCES = {"p", "pr", "score", "confidence", "likelihood", "chance"}
_YES = (("0", "1"), ("false", "true"))


def one_column(
    word: str, values: Sequence[str], names: Sequence[str], form: str, path: Path
) -> tuple[int, ...] | None:
    """Return None for the class's name, or the class whose probability the column holds.

    word: its header; values: what the sample is filled with; form: what the user says of it,
    submission, probabilities or auto. Raises InputError where it is uncertain.
    """
    found = {label_text(value) for value in values} - {""}
    unknown = sorted(found - {*names} - {*map(label_text, names)})
    where = f"in column {word!r} of {path}"
    if form == "auto" and not unknown and _may_be_chances(word, values, names):
        raise InputError(
            "a template must tell whether a column holds classes or a probability, got "
            f"{_few(sorted({*values}))} {where}; set format=submission to write the names of the "
            "classes there, format=probabilities for the probability of one"
        )
    if form == "submission" or (form == "auto" and not unknown):
        return None
    if form == "probabilities" or (len(names) == 2 and all(map(_is_share, unknown))):
        if (number := _class_of(word, names)) is not None:
            return (number,)
        if form == "probabilities":
            raise InputError(
                "a template's column for the probability of one class must have that class's name "
                f"in its header ({_few(names)}), got {word!r} in {path}"
            )
    if form == "auto":
        _check_spelling(unknown, names, where)
    # Sample submissions are often filled with one number that is no class, such as -1.
    if len(unknown) == len(found) == 1 and all(map(_is_whole, [*names, *found])):
        return None
    raise InputError(
        f"a template's column of labels must hold classes of the training data ({_few(names, 8)}) "
        f"or nothing, got {_few(unknown) or repr(word)} {where}; to write the names of the classes "
        "there, set format=submission"
    )


def _may_be_chances(word: str, values: Sequence[str], names: Sequence[str]) -> bool:
    """Tell a column that its header calls a probability, or that of two classes is filled with
    0.0, which are no names of theirs.
    """
    words = _words(word)
    called = bool(_CHANCES & words) or any(each.startswith("prob") for each in words)
    real = {value.strip() for value in values if "." in value and is_number(value)} - {*names}
    return (called and word.strip() not in names) or (len(names) == 2 and bool(real))


def _class_of(word: str, names: Sequence[str]) -> int | None:
    """Return the class that a header names (`dog`, `p_dog`), or the second of 0 and 1 or of False
    and True.
    """
    if word.strip() in names:
        return list(names).index(word.strip())
    named = [k for k, name in enumerate(names) if name.casefold() in _words(word)]
    if len(named) == 1:
        return named[0]
    return 1 if tuple(name.casefold() for name in names) in _YES else None


def _words(header: str) -> set[str]:
    return set(re.split(r"[\W_]+", header.casefold()))


def _check_spelling(unknown: Sequence[str], names: Sequence[str], where: str) -> None:
    """Raise InputError where labels equal classes' names only as numbers, such as 1 and 01."""
    by_number = {int(name): name for name in names if _is_whole(name)}
    pairs = [
        f"{text} for {by_number[int(text)]}"
        for text in unknown
        if _is_whole(text) and int(text) in by_number
    ]
    if pairs:
        raise InputError(
            f"a template must spell the classes as the training data do, got {_few(pairs)} {where};"
            " if the contest takes training's names, set format=submission, which writes them"
        )


def _few(words: Sequence[str], most: int = 5) -> str:
    return ", ".join(words[:most]) + (", ..." if len(words) > most else "")


def _is_whole(text: str) -> bool:
    return _WHOLE.fullmatch(text) is not None


def _is_share(text: str) -> bool:
    return is_number(text) and 0 <= float(text) <= 1
