"""The confusion matrix as a chart: counts of true against predicted class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.reporting.svg import box, chart, shortened, words

MOST_CLASSES = 24  # drawn; of more, those with the most mistakes
_SIDE, _TOP, _LONGEST = 34.0, 26.0, 14
_SIGN = 7.0  # width of a letter, about
_FLAT = 4  # letters that fit below a cell


def confusion_matrix(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], names: Sequence[str]
) -> str:
    """Counts of true against predicted class; colour marks only mistakes, so that a good net's few
    still stand out. Of many classes, those with the most mistakes are drawn.
    """
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    wrong = f"{int(counts.sum() - np.trace(counts))} of {counts.sum()} wrong"
    caption = f"Validation images: {wrong}; the colour shows mistakes alone."
    if len(names) > MOST_CLASSES:
        chosen = _most_mistaken(counts)
        counts, drawn = counts[np.ix_(chosen, chosen)], [names[k] for k in chosen]
        caption += f" Drawn: the {MOST_CLASSES} of {len(names)} classes with the most mistakes."
    else:
        drawn = list(names)
    labels = [shortened(name, _LONGEST) for name in drawn]
    longest = max(map(len, labels))
    left = max(64.0, 16 + _SIGN * longest)
    end = _TOP + _SIDE * len(drawn)
    below = 16.0 if longest <= _FLAT else 12 + 0.75 * _SIGN * longest
    parts = [words(18, _TOP - 10, "true class", "name"), *_cells(counts, drawn, left)]
    for index, name in enumerate(labels):
        middle = _SIDE * index + _SIDE / 2
        parts.append(words(left - 8, _TOP + middle + 4, name, "label", "end"))
        parts.append(_below(left + middle, end, name, slanting=longest > _FLAT))
    middle = left + _SIDE * len(drawn) / 2
    parts.append(words(middle, end + below + 20, "predicted", "name", "middle"))
    size = (left + _SIDE * len(drawn) + 14, end + below + 28)
    return chart("".join(parts), size, "Confusion matrix", f"{wrong}.", caption)


def _most_mistaken(counts: NDArray[np.integer]) -> NDArray[np.intp]:
    """Return the classes that are most often taken for another or another for them, in order."""
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * np.diag(counts)
    return np.sort(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES])


def _cells(counts: NDArray[np.integer], names: Sequence[str], left: float) -> list[str]:
    most = max(1, int((counts - np.diag(np.diag(counts))).max(initial=0)))
    parts = []
    for (row, column), count in np.ndenumerate(counts):
        x, y = left + _SIDE * column, _TOP + _SIDE * row
        strength = 0.0 if row == column else 0.75 * count / most
        told = f"true {names[row]}, predicted {names[column]}: {count}"
        parts.append(box((x, y), (_SIDE, _SIDE), "cell wrong", told, strength))
        if count:
            kind = "tick" if row == column else "name"
            parts.append(words(x + _SIDE / 2, y + _SIDE / 2 + 4, str(count), kind, "middle"))
    return parts


def _below(x: float, end: float, name: str, *, slanting: bool) -> str:
    """A class's name below its column."""
    if not slanting:
        return words(x, end + 16, name, "label", "middle")
    text = words(x + 4, end + 12, name, "label", "end")
    return f'<g transform="rotate(-45 {x + 4:g} {end + 12:g})">{text}</g>'
