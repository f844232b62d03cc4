"""JSON that anybody may have written: read within limits of nesting, digits and values."""

import json
from typing import Any

# A value takes up to a hundred times its text: this bounds memory. The largest files of ours hold
# the groups of a million equal pictures.
MOST_VALUES = 2_000_000  # brackets and commas, those of texts included
MOST_DEPTH = 60
MOST_DIGITS = 40  # of a whole number: seeds are large, nothing that counts is


class DamagedError(ValueError):
    """A file of ours does not hold what is written there; the message says what it holds."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; NaN and infinities as Python's json writes them. Raises
    DamagedError for anything else, nesting, whole numbers and as many values beyond the limits
    included.
    """
    marks = (b"[", b"{", b",") if isinstance(text, bytes) else ("[", "{", ",")
    values = sum(map(text.count, marks))  # type: ignore[arg-type]
    if values > MOST_VALUES:
        raise DamagedError(f"must hold at most {MOST_VALUES:,} values, got {values:,}")
    try:
        value = json.loads(text, parse_int=_whole)
    except RecursionError:
        raise DamagedError(f"must be nested at most {MOST_DEPTH} deep, got more") from None
    except DamagedError:
        raise
    except ValueError as error:
        raise DamagedError(f"must be JSON, got {str(error)[:200]}") from None
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Check how deep lists and mappings are nested. Raises DamagedError beyond MOST_DEPTH."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    raise DamagedError(f"must be nested at most {MOST_DEPTH} deep, got more")


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > MOST_DIGITS:
        raise DamagedError(
            f"must have whole numbers of at most {MOST_DIGITS} digits, got one of {len(digits)}"
        )
    return int(digits)
