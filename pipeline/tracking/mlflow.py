"""The listener that brings a study into MLflow: best effort, never in the way of the sweep.

The coordinator only appends to the journal (`spool.EventLog`). One thread, the only user of MLflow in this process, reads
the journal and applies it (`replay.Replay`); how far it came is in `replayed.json`, so what was left by a dead server or a
killed coordinator is sent at the next start, or by `replay_spool`.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.search.events import EpochDone, Event, StudyEnded, TrialEnded
from pipeline.tracking import spool
from pipeline.tracking.replay import Replay
from pipeline.tracking.store import UI_ADDRESS, is_refusal, is_server, open_store, redact, resolve_uri, runs_link, store_key

POSITION_NAME = "replayed.json"
CHUNK = 256  # events between two notes of how far the replay came
START_DELAY_S = 5.0  # MLflow's import waits for the first epoch, at most this long
PATIENCE_S = 3.0  # at the end: how long to wait for a server that does not answer
LOCAL_PATIENCE_S = 30.0  # the same for a database file: importing MLflow and making its schema is slow on a busy machine
CLOSE_S = 60.0  # how long to wait for a store that answers slowly; a server's share is a third
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

log = logging.getLogger(__name__)


class Sender:
    """Brings a journal's new lines to a store, and notes how far it came."""

    def __init__(
        self, folder: Path, root: Path, uri: str, experiment: str, *, figures: bool = True, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        self.folder = folder
        self.experiment_id: str | None = None
        self._figures, self._on_progress = figures, on_progress
        self._root, self._uri, self._experiment = root, uri, experiment
        self._replay: Replay | None = None
        self._offset = 0
        self._queue: list[tuple[Event | None, int]] = []

    @property
    def skipped(self) -> list[str]:
        """What the store refused for good."""
        return [] if self._replay is None else self._replay.skipped

    def send(self) -> None:
        """Sends everything that the journal holds now. Raises what MLflow raises; call again to go on from there."""
        replay = self._replay or self._open()
        if replay is None:
            return
        while True:
            if not self._queue:
                self._queue = list(islice(spool.read(self.folder / spool.FILE_NAME, self._offset), CHUNK))
                if not self._queue:
                    return
            while self._queue:
                event, offset = self._queue[0]
                if event is not None:
                    self._apply(replay, event)
                self._offset = offset
                del self._queue[0]
                if not isinstance(event, EpochDone):
                    self._acknowledge(replay)
            self._acknowledge(replay)

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
        study_id = spool.journal_id(self.folder)
        if study_id is None:
            return None
        store = open_store(self._uri, self._root, self._experiment)
        replay = Replay(store, study_id, self.folder, figures=self._figures, on_progress=self._on_progress)
        done = self._read_position() if replay.has_parent else 0  # a store that was made anew gets everything
        for event, offset in spool.read(self.folder / spool.FILE_NAME):
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
        new.write_text(json.dumps({"store": store_key(self._uri), "offset": self._offset, "experiment_id": self.experiment_id}))
        new.replace(path)


class MlflowListener:
    """Writes the journal and has it sent to MLflow by a thread of its own.

    `uri` None is the store below `root`. `handle` returns at once, whatever the store does; `close` waits for the store
    while it answers, at most `close_s`, and `patience_s` for one that does not.
    """

    def __init__(
        self,
        *,
        root: Path,
        folder: Path,
        uri: str | None = None,
        experiment: str = "sweeps",
        figures: bool = True,
        patience_s: float | None = None,
        close_s: float | None = None,
    ) -> None:
        self.problem: str | None = None
        self._journal = spool.EventLog(folder)
        self._address = address = resolve_uri(uri, root)
        self._sender = Sender(folder, root, address, experiment, figures=figures, on_progress=self._progressed)
        self._patience_s = patience_s if patience_s is not None else PATIENCE_S if is_server(address) else LOCAL_PATIENCE_S
        self._close_s = close_s if close_s is not None else CLOSE_S / 3 if is_server(address) else CLOSE_S
        self._news = threading.Event()
        self._worth_starting = threading.Event()
        self._closing = threading.Event()
        self._last_progress = time.monotonic()
        self._thread: threading.Thread | None = None

    @property
    def experiment_id(self) -> str | None:
        """The experiment's id, once the store has been opened."""
        return self._sender.experiment_id

    def links(self, study: str) -> list[str]:
        """Lines with the addresses that open the study's runs and their curves; empty while the store has not been opened."""
        if self.experiment_id is None:
            return []
        address = self._address if is_server(self._address) else UI_ADDRESS
        address = redact(address).rstrip("/")
        runs = runs_link(self.experiment_id, study=study, address=address)
        curves = runs_link(self.experiment_id, study=study, address=address, charts=True)
        return [f"its runs, best first: {runs}", f"their curves: {curves}"]

    def handle(self, event: Event) -> None:
        self._journal.handle(event)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mlflow", daemon=True)
            self._thread.start()
        if isinstance(event, EpochDone | TrialEnded | StudyEnded):
            self._worth_starting.set()
        self._news.set()

    def close(self) -> None:
        self._closing.set()
        self._worth_starting.set()
        self._news.set()
        if self._thread is not None:
            self._wait(self._thread)
        self._journal.close()

    def _wait(self, thread: threading.Thread) -> None:
        start = self._last_progress = time.monotonic()
        while thread.is_alive():
            thread.join(0.05)
            now = time.monotonic()
            silent = now - max(start, self._last_progress)
            if now - start > self._close_s or silent > self._patience_s:
                self.problem = self.problem or f"the store is slow: stopped waiting after {now - start:.0f} s"
                return

    def _run(self) -> None:
        self._worth_starting.wait(START_DELAY_S)
        failures = 0
        while True:
            closing = self._closing.is_set()  # looked at first: what came before it is then sent
            self._news.clear()
            try:
                self._sender.send()
                failures, self.problem = 0, None
                if closing:
                    return
                self._news.wait()
            except Exception as error:  # a store may fail in any way; the sweep goes on
                self.problem = _first_line(error)
                if failures == 0:
                    log.warning("MLflow: %s; the sweep goes on and its runs are sent later", self.problem)
                delay = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
                if closing and failures > 1:
                    return
                self._closing.wait(delay)

    def _progressed(self) -> None:
        self._last_progress = time.monotonic()


def replay_spool(folder: Path, root: Path, uri: str | None = None, experiment: str = "sweeps") -> list[str]:
    """Sends what a study's journal still holds to its store, and returns what the store refused for good.

    For a study that no coordinator runs. Raises: whatever MLflow raises when the store cannot be reached.
    """
    sender = Sender(folder, root, resolve_uri(uri, root), experiment)
    sender.send()
    return sender.skipped


def backlog(folder: Path) -> int:
    """Bytes of a study's journal that no store has acknowledged yet."""
    journal = folder / spool.FILE_NAME
    if not journal.exists():
        return 0
    try:
        noted: Any = json.loads((folder / POSITION_NAME).read_text())
        sent = int(noted["offset"])
    except (OSError, ValueError, KeyError, TypeError):
        sent = 0
    return max(0, journal.stat().st_size - sent)


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return redact(text.splitlines()[0])[:300]
