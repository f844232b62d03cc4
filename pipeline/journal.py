"""The study's journal: every event as one JSON line, appended before anything else is done with it.

The file is the queue between the coordinator and MLflow: the coordinator appends and goes on; the
sending process reads on from where it left off. A store that is down, slow or absent then only
means that the reader lags behind.
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
_TUPLES = {"directions", "overrides", "objective"}


def encode(event: Event) -> str:
    """Return the event as one JSON line without its newline; NaN and infinities as Python's json
    writes them.
    """
    fields = {f.name: _plain(getattr(event, f.name)) for f in dataclasses.fields(event)}
    return json.dumps({"event": type(event).__name__, **fields}, ensure_ascii=False)


def decode(line: str) -> Event | None:
    """Return the event of a line; None for a line that this version does not understand (torn, or
    of another version).
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
    """Return the value in JSON's types, secrets redacted."""
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
    """Appends events to `<folder>/events.jsonl`; itself a `Listener`.

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
    """Remove an incomplete last line, which a process that dies mid-write leaves behind."""
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
    """Yield each whole line after byte `offset` as (event or None, offset after it), up to the last
    newline.
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
    """Return every event of a study's journal in order; empty where there is none."""
    return [event for event, _ in read(folder / FILE_NAME) if event is not None]


def journal_id(folder: Path) -> str | None:
    """Return an identifier unique to this journal (the digest of its first line); None while it is
    empty.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    with path.open("rb") as file:
        first = file.readline()
    return hashlib.sha256(first).hexdigest()[:16] if first.endswith(b"\n") else None
