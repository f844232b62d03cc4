"""Sends a study's journal to its MLflow store, resuming from the position noted in
`replayed.json`.
"""

import json
from collections import deque
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from cnn_core.whole_files import whole_file
from pipeline import journal
from pipeline.events import EpochDone, Event
from pipeline.files import STORE
from pipeline.redact import redact
from pipeline.structured_text import read_json
from pipeline.tracking.artifact_addresses import is_own_store
from pipeline.tracking.mlflow_replay import Replay
from pipeline.tracking.store import (
    LOCK_NAME,
    Known,
    Store,
    Target,
    is_refusal,
    load_library,
    locked,
    open_store,
    store_key,
)

POSITION_NAME = "replayed.json"
CHUNK = 256  # events read at a time; the position is noted at least that often


class Sender:
    """Sends a journal's new events to a store and notes its position."""

    def __init__(self, target: Target, on_progress: Callable[[], None] = lambda: None) -> None:
        self.experiment_id: str | None = None
        self.loaded = False  # MLflow is imported: from here on, delays are the store's
        self._target, self._on_progress = target, on_progress
        self._journal = target.folder / journal.FILE_NAME
        self._replay: Replay | None = None
        self._store: Store | None = None
        self._offset = 0
        self._queue: deque[tuple[Event | None, int]] = deque()

    @property
    def offset(self) -> int:
        """The bytes of the journal that were sent."""
        return self._offset

    @property
    def shared(self) -> bool:
        """Whether the store accepted the study's view."""
        return self._replay is not None and self._replay.shared

    @property
    def remark(self) -> str:
        """What the user should know of what was deleted in the store, "" if nothing was."""
        return "" if self._replay is None else self._replay.remark

    @property
    def skipped(self) -> list[str]:
        """What the store refused for good."""
        return [] if self._replay is None else self._replay.skipped

    def send(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Sends everything that the journal holds now, or stops between two events when
        `interrupted` returns True.

        Raises what MLflow raises; another call resumes from there.
        """
        replay = self.open()
        if replay is None:
            return
        while self._queue or self._read_more():
            while self._queue and not interrupted():
                event, offset = self._queue[0]
                if event is not None:
                    self._apply(replay, event)
                self._offset = offset
                self._queue.popleft()
                if not isinstance(event, EpochDone):
                    self._acknowledge(replay)
            self._acknowledge(replay)
            if interrupted():
                return

    def _read_more(self) -> bool:
        """Queue the journal's next events; return whether there are any."""
        self._queue.extend(islice(journal.read(self._journal, self._offset), CHUNK))
        return bool(self._queue)

    def _acknowledge(self, replay: Replay) -> None:
        """Sends what was gathered, then notes the position."""
        replay.flush()
        self._write_position()
        self._on_progress()

    def _apply(self, replay: Replay, event: Event) -> None:
        try:
            replay.apply(event)
        except Exception as error:
            if not is_refusal(error):
                raise
            replay.skipped.append(redact(f"{type(event).__name__}: {error}"))

    def open(self) -> Replay | None:
        """Load MLflow and open the store, once; None while the journal is empty."""
        if self._replay is not None:
            return self._replay
        study_id = journal.journal_id(self._target.folder)
        if study_id is None:
            return None
        load_library()
        self.loaded = True
        self._on_progress()
        target = self._target
        done, known = self._read_position()
        store = open_store(target.address, target.root, target.experiment, known)
        replay = Replay(store, study_id, target, self._on_progress)
        same = self._knows(store, known)
        if not replay.has_parent and not same:
            done = 0  # a newly created store gets everything
        for event, offset in journal.read(self._journal):
            if offset > done:
                break
            if event is not None:
                replay.remember(event)
            self._offset = offset
        if done and same:
            replay.all_sent()
        self.experiment_id, self._store = store.experiment_id, store
        self._replay = replay
        self._on_progress()
        return replay

    def _knows(self, store: Store, known: Known | None) -> bool:
        """Return whether this study was sent to this very store, and to the same experiment."""
        if known is None or not store.born:
            return False
        return (known.born, known.experiment) == (store.born, self._target.experiment)

    def _read_position(self) -> tuple[int, Known | None]:
        """Return the noted position, 0 in another store, and what was noted of that store."""
        try:
            noted = read_json(self._target.folder / POSITION_NAME)
            if noted["store"] not in (self._key, store_key(self._target.address)):
                return 0, None
            offset, known = int(noted["offset"]), None
            if "born" in noted:
                name, born = str(noted["experiment"]), int(noted["born"])
                known = Known(born, str(noted["experiment_id"]), name)
            return offset, known
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return 0, None

    @property
    def _key(self) -> str:
        """The name of the store in the noted position: a root's own is the same wherever it is."""
        own = is_own_store(self._target.address, self._target.root)
        return store_key(STORE if own else self._target.address)

    def _write_position(self) -> None:
        path = self._target.folder / POSITION_NAME
        content = {
            "store": self._key,
            "offset": self._offset,
            "experiment_id": self.experiment_id,
            "experiment": self._target.experiment,
            "born": 0 if self._store is None else self._store.born,
        }
        with whole_file(path, lasting=False) as file:
            file.write(json.dumps(content).encode())


def replay_journal(
    folder: Path, root: Path, uri: str | None = None, experiment: str = "sweeps"
) -> list[str]:
    """Sends what a study's journal still holds to its store, and returns what the store refused for
    good.

    For a study without a running coordinator. Raises whatever MLflow raises when the store cannot
    be reached.
    """
    sender = Sender(Target(folder, root, uri, experiment))
    with locked(folder / LOCK_NAME):
        sender.send()
    return sender.skipped


def backlog(folder: Path) -> int:
    """Bytes of a study's journal that no store has acknowledged yet."""
    path = folder / journal.FILE_NAME
    if not path.exists():
        return 0
    try:
        sent = int(read_json(folder / POSITION_NAME)["offset"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        sent = 0
    return max(0, path.stat().st_size - sent)
