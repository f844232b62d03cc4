"""Mutations: of JSON by its tree, so that a changed input is still JSON; of tables by their cells;
and of any bytes, for machines without atheris.
"""

import json
import math
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.target import SEPARATOR, Plain

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 2**31, -(2**31), 2**53 + 1, 2**63, 2**64, 10**39),
    *(0.5, -0.0, 1e-320, 1e308, math.inf, -math.inf, math.nan),
    *("", "0", "a", "..", "../x", "/dev/zero", "\0", "\u2028", "\ud800", "é" * 40, "x" * 300),
    *([], {}, [[]], [0], [None], {"": {}}, {"op": "flatten"}, [1, 1], [0, 0, 0, 0], [1e30] * 6),
)
_WORDS = (
    *(b"\0", b"\xff", b"\n", b"\r\n", b",", b";", b"\t", b'"', b"'", b"[", b"{", b"]", b"}", b":"),
    *(b"0", b"-1", b"1e999", b"nan", b"inf", b"99999999999999999999", b"${", b"://", b"@", b"%00"),
    *(b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf", SEPARATOR),
)


def of_json(data: bytes, rng: Random, plain: Plain) -> bytes:
    """Return JSON with one to three of its values changed; where it is none, or once in four times,
    bytes that `plain` has changed. Of several parts one is changed, of several lines likewise.
    """
    for cut in (SEPARATOR, b"\n"):
        parts = data.split(cut)
        if cut in data and rng.random() < 0.9:
            at = rng.randrange(len(parts))
            parts[at] = of_json(parts[at], rng, plain)
            return cut.join(parts)
    if rng.random() < 0.25:
        return plain(data)
    try:
        tree = [json.loads(data)]
        for _ in range(rng.randint(1, 3)):
            _change(tree, rng, plain)
        return json.dumps(tree[0], separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return plain(data)


def _change(tree: list[Any], rng: Random, plain: Plain) -> None:
    """Change one value below the root, in place."""
    places = _places(tree, [])
    where, key = rng.choice(places)
    way, value = rng.randrange(6), where[key]
    if way == 0 and len(places) > 1 and where is not tree:
        del where[key]
    elif way == 1:
        other, other_key = rng.choice(places)
        where[key] = json.loads(json.dumps(other[other_key]))
    elif way == 2 and isinstance(value, str):
        where[key] = plain(value.encode(errors="replace")).decode(errors="replace")
    elif way == 3 and isinstance(value, list) and value:
        value.extend(value[:1] * rng.choice((1, 1, 2, 20)))
    elif way == 4 and isinstance(value, int | float):
        where[key] = rng.choice((-value, value + 1, value * 2, value * 1000, float(value)))
    else:
        where[key] = rng.choice(_VALUES)


def _places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return every place of a tree, as the container and its key."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            found.append((value, key))
            _places(value[key], found)
    return found


def of_bytes(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Return bytes with one to four changes: bits, words, parts left out, doubled or of others."""
    for _ in range(rng.randint(1, 4)):
        at, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        way = rng.randrange(6)
        if way == 0 and data:
            at = rng.randrange(len(data))
            middle = bytes([data[at] ^ 1 << rng.randrange(8)])
            data = data[:at] + middle + data[at + 1 :]
        elif way == 1:
            data = data[:at] + rng.choice(_WORDS) + data[at:]
        elif way == 2:
            data = data[:at] + rng.randbytes(min(8, end - at)) + data[min(at + 8, end) :]
        elif way == 3:
            data = data[:at] + data[end:]
        elif way == 4:
            data = data[:end] + data[at:end] + data[end:]
        elif others:
            other = rng.choice(others)
            data = data[:at] + other[rng.randrange(len(other) + 1) :]
    return data


_CELLS = (
    *("", " ", "0", "1", "255", "-1", "0.5", "1e999", "1e308", "nan", "-inf", "9" * 400, "0x1"),
    *("１", "²", "1_000", "3.", "x", '"', "'", "1 2 3 4", "[1, 2]", "#c", "é", "\u2028", "\x1c"),
    *("id", "label", "class", "pixel0", "value", "state", "split", "a/1.png", "COMPLETE", "=1+1"),
    *("true", "model.filters", "overrides", "model.filters=3", "a=[1"),
)
_SIGNS = (",", ";", "\t", "|", " ")


def of_table(data: bytes, rng: Random, plain: Plain) -> bytes:
    """Return a table with one to four changes of its cells, rows, delimiters and ends of lines; or,
    once in four times each, one of cells drawn at random, and bytes that `plain` has changed.
    """
    way = rng.randrange(4)
    if way == 0:
        return plain(data)
    text = data.decode(errors="replace")
    sign = max(_SIGNS, key=text.count)
    rows = [line.split(sign) for line in text.split("\n")]
    if way == 1:
        drawn = rng.sample(_CELLS, rng.randint(1, 5))
        width = rng.choice((1, 2, 3, 5, 6))
        rows = [rows[0], *([rng.choice(drawn) for _ in range(width)] for _ in range(3))]
    for _ in range(rng.randint(1, 4)):
        _change_row(rows, rng)
    sign = rng.choice((sign, sign, sign, *_SIGNS))
    end = rng.choice(("\n", "\n", "\n", "\r\n", "\r"))
    return end.join(sign.join(row) for row in rows).encode(errors="replace")


def _change_row(rows: list[list[str]], rng: Random) -> None:
    """Change a cell or a row, in place."""
    at = rng.randrange(len(rows))
    row, way = rows[at], rng.randrange(6)
    if way == 0 and len(rows) > 1:
        del rows[at]
    elif way == 1:
        rows.insert(at, list(row))
    elif way == 2:
        row.append(rng.choice(_CELLS))
    elif way == 3 and row:
        del row[rng.randrange(len(row))]
    elif row:
        row[rng.randrange(len(row))] = rng.choice(_CELLS)
