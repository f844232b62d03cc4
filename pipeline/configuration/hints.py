"""From what went wrong to one line that says what would be right."""

import difflib
from collections.abc import Iterable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is most probably a slip of; a bare last part such as ``lr``
    finds ``optimizer.lr``.
    """
    known = list(known)
    whole = difflib.get_close_matches(word, known, n=1, cutoff=0.75)
    if whole:
        return whole[0]
    last = word.rpartition(".")[2]
    by_last: dict[str, str] = {}
    for key in known:
        by_last.setdefault(key.rpartition(".")[2], key)
    found = difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)
    return (
        by_last[found[0]]
        if found
        else next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.5)), None)
    )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "..."?``, or nothing."""
    found = nearest(word, known)
    return f'; did you mean "{found}"?' if found else ""


def keys_of(node: DictConfig, prefix: str = "") -> list[str]:
    """Return a tree's dotted keys, sections included, the free mapping ``space`` as one key."""
    keys: list[str] = []
    for key in map(str, node):
        name = f"{prefix}{key}"
        keys.append(name)
        child = node._get_node(key)
        if (
            isinstance(child, DictConfig)
            and name != "space"
            and not (child._is_none() or child._is_interpolation())
        ):
            keys.extend(keys_of(child, f"{name}."))
    return keys


def kind_of_key(node: DictConfig, key: str) -> str:
    """Return in words what may stand at `key`: "a whole number", "a number or null"."""
    parent, _, last = key.rpartition(".")
    holder = OmegaConf.select(node, parent) if parent else node
    child: Any = holder._get_node(last)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    reference = child._metadata.ref_type
    word = words.get(reference, "a list, such as [1,2]" if OmegaConf.is_list(child) else "a value")
    return f"{word} or null" if child._metadata.optional and reference in words else word


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message that says something."""
    if isinstance(error, OmegaConfBaseException) and error.msg:
        text = error.msg
    else:
        text = str(error)
    return next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
