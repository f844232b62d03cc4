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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import events
from pipeline.events import Event, State
from pipeline.redact import redact

FILE_NAME = "events.jsonl"

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
_TUPLES = {"directions", "overrides", "objective"}


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
        fields = json.loads(line)
        kind = EVENT_TYPES[fields.pop("event")]
        known = {f.name for f in dataclasses.fields(kind)}
        values = {name: _typed(name, value) for name, value in fields.items() if name in known}
        return kind(**values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    """Return the value in JSON's types, with secrets in its strings redacted."""
    if isinstance(value, str | Path):
        return redact(str(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _typed(name: str, value: Any) -> Any:
    if name == "folder":
        return Path(value)
    if name == "state":
        return State(value)
    return tuple(value) if name in _TUPLES else value


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
            try:
                self._flush()
                self.error = None
            except OSError as error:
                self.error = error

    def close(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _flush(self) -> None:
        if self._descriptor is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            _cut_torn_line(self._descriptor)
        end = os.fstat(self._descriptor).st_size
        data = b"".join(self._unwritten)
        try:
            written = os.write(self._descriptor, data)
            if written != len(data):
                raise OSError(f"{self.path}: only {written} of {len(data)} bytes could be written")
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise
        self._unwritten.clear()


def _cut_torn_line(descriptor: int) -> None:
    """Remove a last line without its newline, left by a process that died while writing."""
    size = os.fstat(descriptor).st_size
    position = size
    while position > 0:
        start = max(0, position - 65536)
        newline = os.pread(descriptor, position - start, start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position != size:
        os.ftruncate(descriptor, position)


def read(path: Path, offset: int = 0) -> Iterator[tuple[Event | None, int]]:
    """Yield each whole line after byte `offset`, as (event or None, offset after it); stop at the
    last newline.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield decode(line.decode(errors="replace")), offset


def read_all(folder: Path) -> list[Event]:
    """Return all events of a study's journal in order; empty if there is no journal."""
    return [event for event, _ in read(folder / FILE_NAME) if event is not None]


def journal_id(folder: Path) -> str | None:
    """Return a unique name for this journal (its first line's digest); None while it is empty."""
    path = folder / FILE_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        first = file.readline()
    return hashlib.sha256(first).hexdigest()[:16] if first.endswith(b"\n") else None
