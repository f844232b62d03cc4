"""Handing events to listeners, and the listener that writes log.txt."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cnn_core.whole_files import append_whole, naming
from pipeline.configuration import Config
from pipeline.configuration.overrides import named_plugins
from pipeline.events import (
    EpochDone,
    Event,
    Listener,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialRetried,
    TrialStarted,
)
from pipeline.redact import redact
from pipeline.slots.stop_request import FAILED, Stop
from pipeline.structured_text import OWN_FILE
from pipeline.tracking.mlflow_listener import MlflowListener
from pipeline.tracking.store import Target, brought_home

logger = logging.getLogger(__name__)
BUSY = 2.0  # times its processor time, what sending takes where others compute too


class Listeners:
    """Passes each event to every listener; one that fails is reported once per kind of failure and
    does not affect the others.
    """

    def __init__(
        self, listeners: Sequence[Listener], tracking: MlflowListener | None = None
    ) -> None:
        self.tracking = tracking
        self._listeners = list(listeners)
        self._reported: set[str] = set()

    def emit(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener.handle(event)
            except Exception as error:
                self._report(listener, error)

    def left_s(self) -> float:
        """Return how long closing probably takes."""
        return 0.0 if self.tracking is None else BUSY * self.tracking.left_s()

    def close(self, within_s: float | None = None) -> None:
        """Close all listeners, within so many seconds if given; print to stderr why MLflow is
        incomplete, if it is.
        """
        for listener in self._listeners:
            try:
                if listener is self.tracking and within_s is not None:
                    self.tracking.close(within_s)
                else:
                    listener.close()
            except Exception as error:
                self._report(listener, error)
        if self.tracking is not None and self.tracking.problem:
            kept = self.tracking.journal
            print(
                f"MLflow: {self.tracking.problem}; the runs are kept in {kept} and sent at the "
                "next start",
                file=sys.stderr,
            )

    def _report(self, listener: Listener, error: Exception) -> None:
        text = redact(f"{type(listener).__name__}: {type(error).__name__}: {error}")
        if text not in self._reported:
            self._reported.add(text)
            logger.warning("%s", text)


def make_listeners(
    config: Config, folder: Path, others: Sequence[Listener], stop: Stop
) -> Listeners:
    """Return `others` and, if the configuration tracks with MLflow, the listener that keeps a
    journal in `folder` and sends it there.

    A full disk under a local MLflow store ends the run through `stop`.
    """
    settings = config.tracking
    if settings.name != "mlflow":
        return Listeners(others)
    for line in brought_home(settings.uri, config.root):
        print(line)
    plugins = named_plugins(config.plugins) if config.plugins else None
    target = Target(
        folder, config.root, settings.uri, settings.experiment, settings.figures, plugins
    )
    tracking = MlflowListener(target, lambda reason: stop.request(reason, FAILED))
    return Listeners([*others, tracking], tracking)


class LogListener:
    """Appends a line with the local time to log.txt for each event except epochs. What cannot be
    written (disk full) is kept and written first the next time.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._unwritten, self._lock = path, b"", threading.Lock()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | OWN_FILE
        with naming(path):
            self._descriptor = os.open(path, flags, 0o666)

    def handle(self, event: Event) -> None:
        text = describe(event)
        if text:
            time = datetime.fromtimestamp(event.time_s).astimezone().isoformat(timespec="seconds")
            with self._lock, contextlib.suppress(OSError):  # told at the end, if it is still so
                self._unwritten += f"{time} {redact(text)}\n".encode()
                self._flush()

    def close(self) -> None:
        """Close the file; raises OSError where the last lines could not be written."""
        try:
            with self._lock:
                self._flush()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1  # a late line must not end in whatever file is opened next

    def _flush(self) -> None:
        if self._unwritten:
            append_whole(self._descriptor, self._unwritten, self._path)
            self._unwritten = b""


def describe(event: Event) -> str:
    """Return an event as one plain line, "" for an event that the log omits."""
    match event:
        case StudyStarted():
            total = "by time" if event.total is None else f"{event.total} trials"
            return (
                f"study {event.study} {'resumed' if event.resumed else 'started'}: {total}, "
                f"{event.slots} slots; {dict(event.tags)}"
            )
        case TrialStarted():
            again = f" from epoch {event.resumed_from}" if event.resumed_from else ""
            return (
                f"trial {event.number} started{again} on slot {event.slot}: "
                f"{' '.join(event.overrides)}"
            )
        case EpochDone():
            return ""
        case TrialRetried():
            return (
                f"trial {event.number} epoch {event.epoch}: {event.reason}; attempt {event.attempt}"
            )
        case TrialEnded():
            values = " ".join(f"{value:.6g}" for value in event.objective)
            reason = f" ({event.reason})" if event.reason else ""
            return (
                f"trial {event.number} {event.state}{reason} {values} after {event.epochs} "
                f"epochs, {event.duration_s:.1f} s"
            )
        case StudyEnded():
            reason = f" ({event.reason})" if event.reason else ""
            return (
                f"study {event.state}{reason}: {dict(event.trials)}; {event.outside_training:.1%} "
                "of the slots' time outside training"
            )
