"""Brings a study's journal to its MLflow store, from where it last came; how far that is stands in
`replayed.json`.
"""

import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline import journal
from pipeline.events import EpochDone, Event
from pipeline.redact import redact
from pipeline.tracking.mlflow_runs import Replay
from pipeline.tracking.store import (
    LOCK_NAME,
    is_refusal,
    load_library,
    locked,
    open_store,
    resolve_uri,
    store_key,
)

POSITION_NAME = "replayed.json"
CHUNK = 256  # events between two notes of how far the replay came


class Sender:
    """Brings a journal's new lines to a store, and notes how far it came."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        uri: str,
        experiment: str,
        *,
        figures: bool = True,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self.experiment_id: str | None = None
        self.loaded = False  # MLflow is imported: what takes long from here on is the store
        self._figures, self._on_progress = figures, on_progress
        self._root, self._uri, self._experiment = root, uri, experiment
        self._replay: Replay | None = None
        self._offset = 0
        self._rehearsed = False
        self._queue: list[tuple[Event | None, int]] = []

    @property
    def skipped(self) -> list[str]:
        """What the store refused for good."""
        return [] if self._replay is None else self._replay.skipped

    def send(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Sends everything that the journal holds now, or stops between two events when
        `interrupted` says so.

        Raises what MLflow raises; call again to go on from there.
        """
        replay = self._replay or self._open()
        if replay is None:
            return
        while True:
            if not self._queue:
                self._queue = list(
                    islice(journal.read(self.folder / journal.FILE_NAME, self._offset), CHUNK)
                )
                if not self._queue:
                    return
            while self._queue and not interrupted():
                event, offset = self._queue[0]
                if event is not None:
                    self._apply(replay, event)
                self._offset = offset
                del self._queue[0]
                if not isinstance(event, EpochDone):
                    self._acknowledge(replay)
            self._acknowledge(replay)
            if interrupted():
                return

    def rehearse(self, interrupted: Callable[[], bool]) -> None:
        """Draws once, for nobody, what the end of the study will draw: libraries, fonts and
        templates are then loaded.
        """
        if self._figures and self._replay is not None and not self._rehearsed:
            self._rehearsed = self._replay.rehearse(interrupted)

    def _acknowledge(self, replay: Replay) -> None:
        """Sends what was gathered, then notes how far the replay came."""
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

    def _open(self) -> Replay | None:
        study_id = journal.journal_id(self.folder)
        if study_id is None:
            return None
        load_library()
        self.loaded = True
        self._on_progress()
        store = open_store(self._uri, self._root, self._experiment)
        replay = Replay(
            store, study_id, self.folder, figures=self._figures, on_progress=self._on_progress
        )
        done = (
            self._read_position() if replay.has_parent else 0
        )  # a store that was made anew gets everything
        for event, offset in journal.read(self.folder / journal.FILE_NAME):
            if offset > done:
                break
            if event is not None:
                replay.remember(event)
            self._offset = offset
        self.experiment_id = store.experiment_id
        self._replay = replay
        return replay

    def _read_position(self) -> int:
        try:
            noted = json.loads((self.folder / POSITION_NAME).read_text())
            return int(noted["offset"]) if noted["store"] == store_key(self._uri) else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _write_position(self) -> None:
        path = self.folder / POSITION_NAME
        new = path.with_name(f".{POSITION_NAME}.{os.getpid()}")
        new.write_text(
            json.dumps(
                {
                    "store": store_key(self._uri),
                    "offset": self._offset,
                    "experiment_id": self.experiment_id,
                }
            )
        )
        new.replace(path)


def replay_spool(
    folder: Path, root: Path, uri: str | None = None, experiment: str = "sweeps"
) -> list[str]:
    """Sends what a study's journal still holds to its store, and returns what the store refused for
    good.

    For a study that no coordinator runs. Raises: whatever MLflow raises when the store cannot be
    reached.
    """
    sender = Sender(folder, root, resolve_uri(uri, root), experiment)
    with locked(folder / LOCK_NAME):
        sender.send()
    return sender.skipped


def backlog(folder: Path) -> int:
    """Bytes of a study's journal that no store has acknowledged yet."""
    path = folder / journal.FILE_NAME
    if not path.exists():
        return 0
    try:
        noted: Any = json.loads((folder / POSITION_NAME).read_text())
        sent = int(noted["offset"])
    except (OSError, ValueError, KeyError, TypeError):
        sent = 0
    return max(0, path.stat().st_size - sent)
