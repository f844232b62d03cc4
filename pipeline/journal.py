"""The study's journal: every event as one JSON line, appended before anything else is done with it.

The file is the queue between the coordinator and MLflow: the coordinator appends and moves on; the
sending process continues reading where it stopped. If the store is down, slow or absent, the reader
merely lags behind.
"""

import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from cnn_core.plain_json import parse_json
from cnn_core.whole_files import append_whole
from pipeline import events
from pipeline.events import Event, State
from pipeline.redact import redacted
from pipeline.structured_text import OWN_FILE

FILE_NAME = "events.jsonl"
_APPENDING = os.O_RDWR | os.O_CREAT | os.O_APPEND | OWN_FILE

EVENT_TYPES: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        events.StudyStarted,
        events.TrialStarted,
        events.EpochDone,
        events.TrialRetried,
        events.TrialEnded,
        events.StudyEnded,
    )
}
_ADDED = {"prior"}  # written only where it says something: older lines have no such field
MOST_LINE_BYTES = 16 << 20
MOST_TIME_S = 1e11  # the year 5138: a date that every system can write


def encode(event: Event) -> str:
    """Return the event as one JSON line without its newline; NaN and infinities as Python's json
    writes them.
    """
    fields = {
        f.name: _plain(value)
        for f in dataclasses.fields(event)
        if (value := getattr(event, f.name)) or f.name not in _ADDED
    }
    return json.dumps({"event": type(event).__name__, **fields}, ensure_ascii=False)


def decode(line: str) -> Event | None:
    """Return the event of a line; None if this version cannot read it (torn, or of another
    version).
    """
    try:
        fields = parse_json(line)
        kind = EVENT_TYPES[fields.pop("event")]
        types = _types(kind)  # type: ignore[arg-type]
        event = kind(**{n: _typed(types[n], value) for n, value in fields.items() if n in types})
        return event if 0 <= event.time_s <= MOST_TIME_S else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _plain(value: Any, name: str = "") -> Any:
    """Return the value in JSON's types, with secrets in its strings redacted."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, str(key)) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, name) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return redacted(str(value) if isinstance(value, Path) else value, name)


def _typed(kind: Any, value: Any) -> Any:
    """Return a value of JSON as the type of its field. Raises ValueError, TypeError."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in (Path, State):
        return kind(value)
    if origin is Mapping:
        return {key: _typed(parts[1], item) for key, item in value.items()}
    if origin is tuple:
        return tuple(_typed(parts[0], item) for item in _of(list, value))
    if origin is UnionType:
        return value if value is None and NoneType in parts else _of(parts, value)
    return _of((int, float) if kind is float else kind, value)


def _of(kind: Any, value: Any) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"must be {kind}, got {type(value).__name__}")
    return value


class EventLog:
    """Appends events to `<folder>/events.jsonl`; is itself a `Listener`.

    A line reaches the kernel before `handle` returns, so it survives the death of the process. What
    could not be written (disk full) is kept in memory and written first the next time.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self.error: OSError | None = None
        self._lock = threading.Lock()
        self._unwritten: list[bytes] = []
        self._descriptor: int | None = None

    def handle(self, event: Event) -> None:
        line = encode(event).encode() + b"\n"
        with self._lock:
            self._unwritten.append(line)
            self._try()

    def close(self) -> None:
        """Close the file; `error` says why the last lines could not be written, if so."""
        with self._lock:
            if self._unwritten:
                self._try()
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _try(self) -> None:
        try:
            self._flush()
            self.error = None
        except OSError as error:
            self.error = error

    def _flush(self) -> None:
        if self._descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, _APPENDING, 0o644)
            _cut_torn_line(self._descriptor)
        try:
            append_whole(self._descriptor, b"".join(self._unwritten), self.path)
        except OSError:
            os.close(self._descriptor)  # a part that could not be taken back is cut when it opens
            self._descriptor = None
            raise
        self._unwritten.clear()


def _cut_torn_line(descriptor: int) -> None:
    """Remove a last line without its newline, left by a process that died while writing."""
    size = os.fstat(descriptor).st_size
    position = size
    while position > 0:
        start = max(0, position - 65536)
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, position - start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position != size:
        os.ftruncate(descriptor, position)


@lru_cache(maxsize=16)
def _types(kind: Callable[..., Event]) -> dict[str, Any]:
    return get_type_hints(kind)


def read(path: Path, offset: int = 0) -> Iterator[tuple[Event | None, int]]:
    """Yield each whole line after byte `offset`, as (event or None, offset after it); stop at the
    last newline.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        whole = True  # False within a line that is too long to be an event
        while line := file.readline(MOST_LINE_BYTES):
            ends = line.endswith(b"\n")
            if not ends and len(line) < MOST_LINE_BYTES:
                return
            offset += len(line)
            if ends:
                yield decode(line.decode(errors="replace")) if whole else None, offset
            whole = ends


def read_all(folder: Path) -> list[Event]:
    """Return all events of a study's journal in order; empty if there is no journal."""
    return [event for event, _ in read(folder / FILE_NAME) if event is not None]


def journal_id(folder: Path) -> str | None:
    """Return a unique name for this journal (its first line's digest); None while it is empty."""
    path = folder / FILE_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        first = file.readline(MOST_LINE_BYTES)
    return hashlib.sha256(first).hexdigest()[:16] if first.endswith(b"\n") else None
