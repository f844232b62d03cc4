"""The one exception for invalid user input; commands turn it into one line and exit code 2."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """An input breaks a rule. The message states the rule, what was received, and where.

    Example: ``convolution "conv1": kernel must fit in the padded input, got kernel 5x5, input
    3x3``.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "..."?`` with the known word nearest to `word`, or nothing; a bare
    last part such as ``lr`` finds ``optimizer.lr``.
    """
    known = list(known)
    last = word.rpartition(".")[2]
    by_last: dict[str, str] = {}
    for key in known:
        by_last.setdefault(key.rpartition(".")[2], key)
    found = (
        difflib.get_close_matches(word, known, n=1, cutoff=0.75)
        or [by_last[key] for key in difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)]
        or difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    )
    return f'; did you mean "{found[0]}"?' if found else ""
