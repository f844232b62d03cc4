"""JSON, YAML and CSV files of ours: read within limits, by one reader each, and written so that a
spreadsheet computes nothing of them.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from cnn_core.data.checks import open_regular
from cnn_core.errors import InputError
from cnn_core.plain_json import MOST_DEPTH, MOST_DIGITS, DamagedError, parse_json
from cnn_core.plain_text import is_computed
from cnn_core.whole_files import append_whole

MOST_BYTES = 64 << 20
MOST_YAML_BYTES = 4 << 20  # its parser takes a minute for so much
MOST_JSON_BYTES = 32 << 20
# A value takes up to a hundred times its text: these bound memory. The largest files of ours hold
# ten thousand trials in a hundred columns.
MOST_CELLS = 2_000_000  # of CSV, and a row counts as one more
MOST_NODES = 50_000  # of YAML, whose parser takes seconds for so many
# Flags to open a file of ours, as far as the system has them: no link, the bytes as they are.
OWN_FILE = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))


def own_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a plain file of at most `most` bytes. Raises DamagedError for a pipe, a
    device or more, and OSError.
    """
    try:
        with open_regular(path) as file:
            content = file.read(most + 1)
    except InputError:
        raise DamagedError(f"must be a plain file, got {path}") from None
    if len(content) > most:
        raise DamagedError(f"must be at most {most:,} bytes, got more in {path}")
    return content


def own_text(path: Path, most: int = MOST_BYTES) -> str:
    """Return a file's text. Raises DamagedError for what is not UTF-8, and as `own_bytes` does."""
    try:
        return own_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(f"must be text in UTF-8, got {error.reason} in {path}") from None


def read_json(path: Path, kind: type = dict) -> Any:
    """Return the value of a JSON file, of the type `kind`. Raises DamagedError, and OSError."""
    return _of_kind(_in_file(parse_json, path, MOST_JSON_BYTES), kind, path)


def parse_yaml(text: str | bytes) -> Any:
    """Return the value of a YAML text of plain values without aliases and tags. Raises
    DamagedError.
    """
    try:
        value = yaml.load(text, _OwnLoader)
    except RecursionError:
        raise DamagedError(f"must be nested at most {MOST_DEPTH} deep, got more") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, OverflowError) as error:
        first = str(error).partition("\n")[0]
        raise DamagedError(f"must be YAML of plain values, got {first[:200]}") from None
    return value


def read_yaml(path: Path, kind: type = dict) -> Any:
    """Return the value of a YAML file, of the type `kind`. Raises DamagedError, and OSError."""
    return _of_kind(_in_file(parse_yaml, path, MOST_YAML_BYTES), kind, path)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file of ours by the names of its header, all of its length. Raises
    DamagedError, and OSError.
    """
    # Decoded in parts: a whole text may take four bytes for each of the file.
    text = io.TextIOWrapper(io.BytesIO(own_bytes(path)), encoding="utf-8", newline="")
    header: list[str] | None = None
    rows: list[dict[str, str]] = []
    try:
        for number, line in enumerate(csv_cells(text), 1):
            header = line if header is None else header
            if len(line) != len(header):
                raise DamagedError(
                    f"must have {len(header)} cells a row, got {len(line)} in row {number}"
                )
            if number > 1:
                rows.append(dict(zip(header, line, strict=True)))
    except UnicodeDecodeError as error:
        raise DamagedError(f"must be text in UTF-8, got {error.reason} in {path}") from None
    except (DamagedError, csv.Error) as error:
        rule = "" if isinstance(error, DamagedError) else "must be CSV, got "
        raise DamagedError(f"{rule}{error} in {path}") from None
    return rows


def csv_cells(text: Iterable[str], delimiter: str = ",") -> Iterator[list[str]]:
    """Yield the cells of each row of a CSV text, given in lines. Raises DamagedError for more of
    them than the limit, and csv.Error.
    """
    left = MOST_CELLS
    for line in csv.reader(text, delimiter=delimiter, strict=True):
        left -= 1 + len(line)
        if left < 0:
            raise DamagedError(f"must have at most {MOST_CELLS:,} rows and cells, got more")
        yield line


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as lines of CSV, quoted where they must be, without formulas."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[plain_cell(c) for c in row] for row in rows])
    return text.getvalue()


def plain_cell(cell: object) -> object:
    """Return a cell that a spreadsheet reads as it stands: a text that it would compute gets an
    apostrophe before it. Numbers and texts of numbers stay as they are.
    """
    return f"'{cell}" if isinstance(cell, str) and is_computed(cell) else cell


def append_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Append rows to a CSV file, which gets its header where it is new. Raises InputError for a
    link, which may lead anywhere, and OSError where not all of them can be written.
    """
    if path.is_symlink():
        raise InputError(f"{path.name}: must be a file of its own, got {path}, a link")
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | OWN_FILE
    descriptor = os.open(path, flags, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        text = csv_lines([*([] if size else [header]), *rows])
        # An editor, or a crash, may have left a last line without its end.
        os.lseek(descriptor, max(0, size - 1), os.SEEK_SET)
        ended = os.read(descriptor, 1) in (b"\n", b"")
        append_whole(descriptor, ("" if ended else "\n").encode() + text.encode(), path)
    finally:
        os.close(descriptor)


def _in_file(parse: Any, path: Path, most: int) -> Any:
    content = own_text(path, most)
    try:
        return parse(content)
    except DamagedError as error:
        raise DamagedError(f"{error} in {path}") from None


def _of_kind(value: Any, kind: type, path: Path) -> Any:
    if not isinstance(value, kind):
        word = "a list" if kind is list else "a mapping"
        raise DamagedError(f"must hold {word}, got {type(value).__name__} in {path}")
    return value


class _OwnLoader(yaml.SafeLoader):
    """Refuses what no file of ours holds: aliases, tags, deep nesting, endless numbers."""

    depth = nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        # PyYAML makes of `!!int ""` what it may, and fails with whatever comes up.
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError(f"the tag {event.tag}")
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise yaml.YAMLError(f"more than {MOST_NODES:,} values")
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise yaml.YAMLError(f"nesting of more than {MOST_DEPTH}")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_yaml_int(self, node: Any) -> int:
        if len(node.value.lstrip("+-")) > MOST_DIGITS:
            raise yaml.YAMLError(f"a whole number of {len(node.value)} digits")
        return int(super().construct_yaml_int(node))

    def refuse(self, node: Any) -> None:
        raise yaml.YAMLError(f"a value of the type {node.tag}")


_YAML = "tag:yaml.org,2002:"
_OwnLoader.add_constructor(f"{_YAML}int", _OwnLoader.construct_yaml_int)
for _kind in ("timestamp", "binary", "set", "omap", "pairs"):
    _OwnLoader.add_constructor(f"{_YAML}{_kind}", _OwnLoader.refuse)
# A date that nobody marked as one is text, as Hydra reads it.
_OwnLoader.yaml_implicit_resolvers = {
    sign: [(tag, form) for tag, form in known if tag != f"{_YAML}timestamp"]
    for sign, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
