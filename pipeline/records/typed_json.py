"""Records: frozen dataclasses read from JSON with the type of every field checked, and written.

A field is text, a number, a truth value, a tuple, a mapping by names, another record, Any, or one
of these or None. A field with a default may be missing in the file; what is None is not written.
The standard library alone: a bundle's predict.py holds this file.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

Record = TypeVar("Record")
_RULES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class RecordError(ValueError):
    """A record lacks a field or holds one of another type; the message says which and what."""


def read_record(kind: type[Record], value: Any, where: str = "") -> Record:
    """Return a record of the dataclass `kind` from parsed JSON; unknown fields are left out.

    Raises RecordError, such as ``got none of members[1].specs`` or ``got members[0].temperature =
    'x', must be a number``; `where` is the place in the file.
    """
    if not isinstance(value, Mapping):
        raise _wrong(value, where, "an object")
    known = fields(kind)  # type: ignore[arg-type]
    before = f"{where}." if where else ""
    needed = [f.name for f in known if f.default is MISSING and f.default_factory is MISSING]
    if missing := [before + name for name in needed if name not in value]:
        raise RecordError(f"got none of {', '.join(missing)}")
    found = {
        f.name: _read(f.type, value[f.name], before + f.name) for f in known if f.name in value
    }
    return kind(**found)


def plain(value: Any) -> Any:
    """Return a record as JSON has it: objects and lists, in the order of its fields."""
    if is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: plain(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return read_record(kind, value, where)  # type: ignore[arg-type]
    if origin is UnionType:
        return None if value is None else _read(parts[0], value, where)
    if origin is tuple:
        return _read_list(parts, value, where)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _wrong(value, where, "an object")
        return {key: _read(parts[1], item, f"{where}.{key}") for key, item in value.items()}
    fits = kind is Any or isinstance(value, int | float if kind is float else kind)
    if not fits or (kind in (int, float) and _no_number(value)) or _no_text(value):
        raise _wrong(value, where, _RULES.get(kind, "text"))
    return value


def _no_number(value: Any) -> bool:
    """Tell what only counts as a number, and whole numbers that no machine computes with."""
    return isinstance(value, bool) or (isinstance(value, int) and abs(value) > 1 << 63)


def _no_text(value: Any) -> bool:
    """Tell a text that cannot be written: JSON's escapes may hold halves of characters."""
    return isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value)


def _read_list(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """Read ``tuple[X, ...]``, or ``tuple[X, X, X]``, which has its length."""
    count = None if parts[-1] is Ellipsis else len(parts)
    if not isinstance(value, list) or count not in (None, len(value)):
        raise _wrong(value, where, "a list" if count is None else f"a list of {count}")
    return tuple(_read(parts[0], item, f"{where}[{k}]") for k, item in enumerate(value))


def _wrong(value: Any, where: str, rule: str) -> RecordError:
    received = type(value).__name__ if isinstance(value, dict | list) else repr(value)
    return RecordError(f"got {where or 'the file'} = {received[:60]}, must be {rule}")
