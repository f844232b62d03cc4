"""The listener that brings a study into MLflow: best effort, never in the way of the sweep but when this machine's disk is full.

The coordinator only appends to the journal (`spool.EventLog`). One thread, the only user of MLflow in this process, reads
the journal and applies it (`replay.Replay`); how far it came is in `replayed.json`, so what was left by a dead server or a
killed coordinator is sent at the next start, or by `replay_spool`.
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.search.events import EpochDone, Event, StudyEnded, TrialEnded
from pipeline.tracking import spool
from pipeline.tracking.sender import Sender
from pipeline.tracking.store import (
    UI_ADDRESS,
    full_disk,
    is_server,
    redact,
    resolve_uri,
    runs_link,
)

START_DELAY_S = 5.0  # MLflow's import waits for the first epoch, at most this long
PATIENCE_S = 3.0  # at the end: how long to wait for a server that does not answer
LOCAL_PATIENCE_S = 30.0  # the same for a database file: importing MLflow and making its schema is slow on a busy machine
CLOSE_S = 60.0  # how long to wait for a store that answers slowly; a server's share is a third
GATHER_S = 5.0  # how long news may wait for more
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)

log = logging.getLogger(__name__)


class MlflowListener:
    """Writes the journal and has it sent to MLflow by a thread of its own.

    `uri` None is the store below `root`. `handle` returns at once, whatever the store does; `close` waits for the store
    while it answers, at most `close_s`, and `patience_s` for one that does not. `on_full` is told of a store on this machine whose
    disk is full: unlike a server that is away, the sweep's own files and those of others are next.
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
        on_full: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.problem: str | None = None
        self._root, self._on_full = root, on_full
        self._journal = spool.EventLog(folder)
        self._address = address = resolve_uri(uri, root)
        self._sender = Sender(folder, root, address, experiment, figures=figures, on_progress=self._progressed)
        self._patience_s = patience_s if patience_s is not None else PATIENCE_S if is_server(address) else LOCAL_PATIENCE_S
        self._close_s = close_s if close_s is not None else CLOSE_S / 3 if is_server(address) else CLOSE_S
        self._started = time.monotonic()
        self._spent_s = self._beside_s = self._waited_s = 0.0  # of the sending thread: all, until `close`; of `close` itself
        self._news = threading.Event()
        self._worth_starting = threading.Event()
        self._closing = threading.Event()
        self._last_progress = time.monotonic()
        self._thread: threading.Thread | None = None

    @property
    def experiment_id(self) -> str | None:
        """The experiment's id, once the store has been opened."""
        return self._sender.experiment_id

    @property
    def journal(self) -> Path:
        return self._journal.path

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
        self._beside_s, start = self._spent_s, time.monotonic()
        if self._thread is not None:
            self._wait(self._thread)
        self._waited_s = time.monotonic() - start
        self._journal.close()

    def cost(self, slots: int) -> str:
        """What tracking took, once closed, in words: what ran beside the trials took time from them, for the rest the sweep waited."""
        length_s = time.monotonic() - self._started
        share = (self._beside_s / slots + self._waited_s) / length_s
        beside = f"{self._beside_s:.1f} s of a processor beside the trials"
        return f"tracking took {beside} and {self._waited_s:.1f} s at the end: {share:.1%} of {length_s:.0f} s"

    def _wait(self, thread: threading.Thread) -> None:
        start = self._last_progress = time.monotonic()
        while thread.is_alive():
            thread.join(0.05)
            now = time.monotonic()
            silent = now - max(start, self._last_progress)
            patience_s = self._patience_s if self._sender.loaded else max(self._patience_s, LOCAL_PATIENCE_S)
            if now - start > self._close_s or silent > patience_s:
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
                self._sender.warm_up()
                self._progressed()
                if closing:
                    return
                self._news.wait()
                self._closing.wait(GATHER_S)  # what comes together is sent together: a call costs more than what it carries
            except Exception as error:  # a store may fail in any way; the sweep goes on
                self.problem = _first_line(error)
                if place := full_disk(error, self._address, self._root):
                    self.problem = f"the disk of its store is full ({os.strerror(errno.ENOSPC)}: {place})"
                    self._on_full(f"MLflow: {self.problem}")
                if failures == 0:
                    outlook = "the sweep stops" if place else "the sweep goes on and its runs are sent later"
                    log.warning("MLflow: %s; %s", self.problem, outlook)
                delay = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
                failures += 1
                if closing and failures > 1:
                    return
                self._closing.wait(delay)

    def _progressed(self) -> None:
        """Called by the sending thread."""
        self._last_progress = time.monotonic()
        self._spent_s = time.thread_time()


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return redact(text.splitlines()[0])[:300]
