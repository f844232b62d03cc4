"""Text that may be shown and written as it stands: in a line, on a terminal, in a spreadsheet's
cell. The standard library alone: a bundle's predict.py holds this file.
"""

import re
import unicodedata

from cnn_core.errors import InputError

_FORMULA = re.compile(r"[=+\-@\t\r]")
_CELL_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:inf|nan)", re.ASCII)
_DIRECTIONS = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))


def controls(sign: str) -> bool:
    """Tell a sign that ends a line or controls a terminal, the direction of writing included."""
    return (
        unicodedata.category(sign) == "Cc"
        or sign in "\u2028\u2029"
        or unicodedata.bidirectional(sign) in _DIRECTIONS
    )


def is_one_line(text: str) -> bool:
    """Tell a text without signs that end a line or control a terminal."""
    return text.isprintable() or not any(map(controls, text))


def is_computed(cell: str) -> bool:
    """Tell a text that a spreadsheet would compute; texts of numbers are none."""
    return bool(_FORMULA.match(cell.lstrip(" "))) and not _CELL_NUMBER.fullmatch(cell)


def safe_cell(name: str, what: str = "an id") -> str:
    """Return an id, or a label, that a spreadsheet reads as text: what a contest compares is not
    changed. Raises InputError for one that it would run as a formula, or of more than a line.
    """
    if len(name) > 1 and is_computed(name):
        raise InputError(
            f"{what} must not begin with = + - @ (a spreadsheet would run it), got {name[:40]!r}"
        )
    if not is_one_line(name):
        raise InputError(f"{what} must be one line of text, got {name[:40]!r}")
    return name
