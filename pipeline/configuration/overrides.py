"""Overrides in Hydra's grammar: parsed from what a user typed, and written from values so that
composing restores them bit for bit.
"""

import re
import shlex
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from cnn_core.errors import InputError, did_you_mean
from cnn_core.plain_json import MOST_DEPTH, MOST_DIGITS
from cnn_core.plugins import Plugin
from pipeline.configuration.hydra_tree import first_line, groups
from pipeline.configuration.tree import SWEEP
from pipeline.configuration.typed_tree import keys_of, typed_tree

PLUGINS = "plugins"  # the key
Value = str | int | float | bool | None
Nested = Mapping[str, Any] | list[Any] | tuple[Any, ...]
_PLAIN_PATH = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*(@[0-9a-f]+)?")
_LOCK = threading.RLock()  # of Hydra's parser
MOST_PARTS = 5_000  # of an override: for more, the parser takes minutes


def override(key: str, value: Value | Path | Nested) -> str:
    """Return ``key=value`` such that composing it gives the value back; every override is written
    here.
    """
    return f"{key}={literal(value)}"


def path_literal(path: Path) -> str:
    """Return a path in Hydra's grammar."""
    if _PLAIN_PATH.fullmatch(str(path)) and not _looks_like_number(str(path)):
        return str(path)
    # A dollar and a brace in a path would otherwise be read as an interpolation.
    return _quoted(re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", str(path)))


def named_plugins(plugins: Iterable[Plugin]) -> str:
    """Return the override that names loaded plug-ins as ``PATH@DIGEST``, each once."""
    texts = [path_literal(Path(f"{one.path}@{one.digest}")) for one in dict.fromkeys(plugins)]
    return f"{PLUGINS}=[{','.join(texts)}]"


def literal(value: Value | Path | Nested | np.generic | np.ndarray) -> str:
    """Return the value in Hydra's grammar; floats by repr, so that they round-trip exactly. NumPy's
    numbers and arrays are written as Python's. Raises InputError for a value of another type.
    """
    if isinstance(value, np.generic | np.ndarray):
        return literal(value.tolist())
    if isinstance(value, Path):
        return path_literal(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{literal(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(literal, value))}]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _text_literal(value)


def _text_literal(value: str) -> str:
    """Return a text in Hydra's grammar, which takes words of ASCII's letters without quotes."""
    if not isinstance(value, str):
        raise InputError(
            "override: a value must be a number, a text, true, false, null, a path, or a list or "
            f"mapping of such, got {value!r} of type {type(value).__name__}"
        )
    plain = value.replace("_", "").replace("-", "")
    is_word = plain.isascii() and plain.isalnum() and not _looks_like_number(value)
    return value if value.startswith("[") or is_word else _quoted(value)


def _quoted(text: str) -> str:
    """Return the text quoted: backslashes are literal, but doubled right before a quote or at the
    end.
    """
    escaped = re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text)
    return f"'{escaped}'"


def _looks_like_number(text: str) -> bool:
    if text.lower() in ("true", "false", "null"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_override(text: str) -> Override:
    """Return the parsed override. Raises InputError for a form that this project does not use."""
    if text.startswith(("+", "~")):
        key = text.lstrip("+~").partition("=")[0]
        known = [*keys_of(typed_tree((), (), SWEEP).tree), *groups()]
        hint = "; leave it out" if key in known else did_you_mean(key, known)
        raise InputError(
            "override: must not begin with + or ~, keys are neither added nor deleted, got "
            f"{text!r}{hint}"
        )
    if (parts := sum(map(text.count, ",[{("))) > MOST_PARTS:
        raise InputError(
            f"override: must have at most {MOST_PARTS:,} values, got {parts:,} in {text[:80]!r}..."
        )
    try:
        override = _parsed(text)
        _check_limits(override.value())
    except (RecursionError, ValueError) as error:  # deep nesting, or a number without an end
        raise InputError(
            f"override: must be nested at most {MOST_DEPTH} deep, with whole numbers of at most "
            f"{MOST_DIGITS} digits, got {text[:80]!r}"
        ) from error
    except HydraException as error:
        raise InputError(
            f"override: must be KEY=VALUE in Hydra's grammar, got {text!r} "
            f"({first_line(error)}){_cure(text)}"
        ) from error
    if override.is_sweep_override():
        raise InputError(
            f"override: must be one value, got {text!r}; what to search is said by space=, such as "
            f"'space={{model.filters:{{int:[8,32]}}}}'{_cure(text)}"
        )
    if override.package is not None:
        raise InputError(
            f"override: a group goes to its own place, got {text!r}; leave out @{override.package}"
        )
    return override


def _check_limits(value: Any, depth: int = 0) -> None:
    """Raise ValueError for a value beyond the limits of our files, which keep it."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _check_limits(each, depth + 1)
    too_large = isinstance(value, int) and abs(value) >= 10**MOST_DIGITS
    if depth > MOST_DEPTH or too_large:
        raise ValueError


def _cure(text: str) -> str:
    """Return how to write a value that the grammar does not take as one text, "" where quotes are
    no cure.
    """
    key, _, value = text.partition("=")
    if value.startswith("["):
        return "; in a list, quotes make a text of what holds = or such letters: [['KEY=VALUE']]"
    numbers = all(_looks_like_number(part) for part in value.split(","))
    if (
        not value
        or key in groups()
        or numbers
        or re.match(r"\w+\(", value)
        or value.startswith("{")
    ):
        return ""
    quoted = f"{key}={_quoted(value)}"
    try:
        if _parsed(quoted).value() != value:
            return ""
    except HydraException:
        return ""
    line = shlex.quote(quoted) if re.search(r'["$`\\\\!]', quoted) else f'"{quoted}"'
    return f"; as one text it is written in quotes: {line}"


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Override:
    with _LOCK:
        return OverridesParser.create().parse_override(text)
