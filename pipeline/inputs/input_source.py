"""What every kind of input becomes: blocks of pictures as the file holds them, with ids and, if
any, labels as text.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Block:
    """Pictures read together, each (C, H, W) with the values of the file: an array (n, C, H, W)
    where all have one size, else a list; ids and labels (n,) as text, labels None where the input
    has none.
    """

    pictures: Sequence[NDArray[Any]] | NDArray[Any]
    ids: tuple[str, ...]
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What is known of an input beforehand: by the user's word, or from the training data.

    A hint that is not given is found out from the input, and refused where that is not certain.
    """

    label: str = "auto"  # auto | none | first | last | a column's name
    id: str = "auto"  # auto | none | a column's name
    labels: Path | None = None  # a file of labels, or of ids and labels, beside the pictures
    only: Path | None = None  # a table whose ids say which pictures of a folder count
    images_key: str = "auto"  # the array of images in an archive of arrays
    labels_key: str = "auto"
    shape: tuple[int, ...] = ()  # of a row's image: (C, H, W), (H, W), or empty: square
    shape_told: bool = False  # by the user, so that it gives the order of a row's colours too
    pixel_names: tuple[str, ...] = ()  # of the training data's columns, where they do not count
    class_names: tuple[str, ...] = ()  # of the training data: tell a label's column from an id's
    need_labels: bool = False  # training and evaluation: an input without labels is refused
    on_damaged: str = "refuse"  # refuse | skip


class InputSource(Protocol):
    """An input that can be read any number of times, block by block, in bounded memory."""

    count: int | None  # of pictures, None where it is known only at the end
    id_name: str | None  # the id column's own name, id for files' names; None: rows are counted
    # one line: what the input was taken for, such as "label: column 'letter' (last); 784 pixels"
    understood: str
    pixel_names: Sequence[str]  # of a table's columns in their order, where they do not count
    separate: bool  # each picture is encoded by itself, and may have a depth of its own
    damaged: Sequence[str]  # on_damaged=skip: ids of the pictures that cannot be read

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield blocks of at most `size` pictures, in the input's order.

        A damaged picture that is skipped comes as an empty array, (0, 0, 0). Raises InputError at
        the first fault.
        """
        ...


def numbered(start: int, count: int) -> tuple[str, ...]:
    """Return ids counted from 1, as the public digit contests do."""
    return tuple(str(n) for n in range(start + 1, start + count + 1))


def composed(name: str) -> str:
    """Return a name with é as one character, where some systems write an e and an accent: the two
    look alike, and mean the same.
    """
    return unicodedata.normalize("NFC", name)


def some(names: Sequence[str]) -> str:
    """Return the first names of a list, and a sign that there are more."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
