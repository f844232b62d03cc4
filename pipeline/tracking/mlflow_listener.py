"""The listener that brings a study into MLflow: best effort, without ever holding up the sweep,
except when this machine's disk is full.

The coordinator only appends to the journal (`journal.EventLog`). A separate process
(`mlflow_process`), the only user of MLflow, reads the journal and applies it
(`mlflow_replay.Replay`); it records its position in `replayed.json`, so what a dead server or a
killed coordinator left unsent is sent at the next start, or by `replay_journal`.
"""

import contextlib
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from pipeline import journal
from pipeline.events import Event
from pipeline.redact import redact
from pipeline.tracking.mlflow_process import Told
from pipeline.tracking.mlflow_view import UI_ADDRESS, runs_link
from pipeline.tracking.store import Target, is_server

PATIENCE_S = 3.0  # at the end: how long to wait for a server that does not answer
# the same for a database file: importing MLflow and creating its schema is slow on a busy machine
LOCAL_PATIENCE_S = 30.0
CLOSE_S = 60.0  # how long to wait for a store that answers slowly; a third of it for a server
RESTARTS = 3  # of the sending process, after it was killed

log = logging.getLogger(__name__)


class MlflowListener:
    """Writes the journal and has a separate process send it to MLflow.

    `handle` returns at once, whatever the store does; `close` waits at most `close_s` for a store
    that answers, and `patience_s` for one that does not. `on_full` is called when the disk of a
    store on this machine is full: unlike with an unreachable server, the sweep's own files and
    other people's would be the next to fail.
    """

    def __init__(
        self,
        target: Target,
        on_full: Callable[[str], None] = lambda reason: None,
        *,
        patience_s: float | None = None,
        close_s: float | None = None,
    ) -> None:
        self._journal = journal.EventLog(target.folder)
        self._address = target.address
        remote = is_server(self._address)
        self._patience_s = patience_s or (PATIENCE_S if remote else LOCAL_PATIENCE_S)
        self._close_s = close_s or (CLOSE_S / 3 if remote else CLOSE_S)
        self._started, self._waited_s = time.monotonic(), 0.0
        self._given_up: str | None = None
        self._process = _Process(target, on_full)

    @property
    def problem(self) -> str | None:
        """Why the store does not have everything, None where it does."""
        return self._process.told.problem or self._given_up

    @property
    def experiment_id(self) -> str | None:
        """The experiment's id, once the store has been opened."""
        return self._process.told.experiment_id

    @property
    def journal(self) -> Path:
        return self._journal.path

    def links(self, study: str) -> list[str]:
        """Lines with the addresses that open the study's runs and their curves; empty until the
        store has been opened.
        """
        if self.experiment_id is None:
            return []
        address = self._address if is_server(self._address) else UI_ADDRESS
        address = redact(address).rstrip("/")
        runs, curves = (
            runs_link(
                self.experiment_id,
                study=study,
                address=address,
                charts=charts,
                shared=self._process.told.shared,
            )
            for charts in (False, True)
        )
        return [f"its runs, best first: {runs}", f"their curves: {curves}"]

    def left_s(self) -> float:
        """Return the processor time of sending what the store does not have yet, as far as it is
        known; 0 while the store fails, which is not waited for.
        """
        told, kept = self._process.told, self._journal.path
        if not told.byte_s or told.problem:
            return 0.0
        with contextlib.suppress(OSError):
            return told.byte_s * max(0, kept.stat().st_size - told.sent)
        return 0.0

    def handle(self, event: Event) -> None:
        self._journal.handle(event)
        self._process.news()

    def close(self, within_s: float = math.inf) -> None:
        """Wait until all is sent, no longer than `within_s`. Raises OSError where the journal could
        not be written.
        """
        start = time.monotonic()
        self._journal.close()
        self._given_up = self._process.close(self._patience_s, min(self._close_s, within_s))
        self._waited_s = time.monotonic() - start
        if self._journal.error is not None:
            raise self._journal.error

    def cost(self) -> str:
        """What tracking cost, in words, once closed: processor time beside the trials, and the time
        that the sweep waited at its end.
        """
        length_s = time.monotonic() - self._started
        return (
            f"tracking took {self._process.told.spent_s:.1f} s of a processor beside the trials, "
            f"and {self._waited_s:.1f} s at the end: "
            f"{self._waited_s / length_s:.1%} of {length_s:.0f} s"
        )


class _Process:
    """The sending process as its parent sees it: started at the first event, notified of more,
    watched, closed.
    """

    def __init__(self, target: Target, on_full: Callable[[str], None]) -> None:
        self.told = Told()
        self._target, self._on_full = target, on_full
        self._last_told = time.monotonic()
        self._watcher: threading.Thread | None = None
        self._closing = self._killed = False
        self._lock = threading.Lock()  # guards the child and writes to it
        self._child: subprocess.Popen[bytes] | None = None

    def news(self) -> None:
        """Notify the process that the journal grew; returns at once, whatever the process does."""
        if self._watcher is None:
            self._start()
            self._watcher = threading.Thread(target=self._watch, name="mlflow", daemon=True)
            self._watcher.start()
        self._say(b"news\n")

    def close(self, patience_s: float, close_s: float) -> str | None:
        """Wait until everything is sent; return the reason where the store took too long and the
        process was killed, else None.
        """
        self._closing = True
        if self._watcher is None:
            return None
        self._say(b"close\n")
        start = self._last_told = time.monotonic()
        while self._watcher.is_alive():
            self._watcher.join(0.02)
            now = time.monotonic()
            patience = patience_s if self.told.loaded else max(patience_s, LOCAL_PATIENCE_S)
            if now - start > close_s or now - max(start, self._last_told) > patience:
                self._killed = True
                self._child_now().kill()
                self._watcher.join()
                return f"the store is slow: stopped waiting after {now - start:.0f} s"
        return None

    def _start(self) -> None:
        command = [sys.executable, "-m", "pipeline.tracking.mlflow_process"]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # the cores belong to the slots
        # Its own process group: Ctrl-C is for the sweep, which closes this process at its end.
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            process_group=0,
            bufsize=0,
        )
        assert child.stdin is not None
        if sys.platform != "win32":  # where no sweep runs
            os.set_blocking(child.stdin.fileno(), False)
        with self._lock:
            self._child = child
        settings = asdict(replace(self._target, uri=self._target.address))
        self._say(
            json.dumps(settings, default=str).encode()
            + b"\nnews\n"
            + (b"close\n" if self._closing else b"")
        )

    def _child_now(self) -> subprocess.Popen[bytes]:
        assert self._child is not None
        return self._child

    def _say(self, line: bytes) -> None:
        child = self._child_now()
        assert child.stdin is not None
        # If the process has ended, the watcher sees it; if the pipe is full, it has enough news.
        with self._lock, contextlib.suppress(OSError, ValueError):
            child.stdin.write(line)

    def _watch(self) -> None:
        """Read the process's messages until it ends; start another if it was killed."""
        for attempt in range(RESTARTS + 1):
            code = self._listen(self._child_now())
            if code == 0 or self._killed:
                return
            self.told.problem = f"the process that sends to it ended with code {code}"
            if attempt < RESTARTS:
                log.warning("MLflow: %s; started again", self.told.problem)
                self._start()

    def _listen(self, child: subprocess.Popen[bytes]) -> int:
        """Read the process's messages until it ends; return its exit code."""
        with child:  # closes the pipes
            assert child.stdout is not None
            for line in child.stdout:
                self._hear(Told(**json.loads(line)))
            return child.wait()

    def _hear(self, told: Told) -> None:
        before, self.told, self._last_told = self.told, told, time.monotonic()
        if told.remark and not before.remark:
            log.warning("MLflow: %s", told.remark)
        if told.problem and not before.problem:
            outlook = (
                "the sweep stops" if told.full else "the sweep goes on and its runs are sent later"
            )
            log.warning("MLflow: %s; %s", told.problem, outlook)
        if told.full and not before.full:
            self._on_full(f"MLflow: {told.problem}")
