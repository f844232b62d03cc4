"""The sweep as it runs: a live table in a terminal, plain lines elsewhere, little when quiet."""

import threading
import time

from rich.console import Console
from rich.live import Live

from pipeline.search.events import EpochDone, Event, StudyEnded, StudyStarted, TrialEnded, TrialRetried, TrialStarted
from pipeline.tracking import spool
from pipeline.tracking.progress_table import Board, SlotRow, ended_line

REFRESH_HZ = 2.0  # often enough to look alive, rarely enough to cost nothing


class ProgressListener:
    """Shows events on a console (standard output by default): a live table where it is a terminal, else a line for each end.

    quiet: nothing but the end. verbose: a line for each epoch too (and no table). Colours follow NO_COLOR and the terminal.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=False)
        self._quiet, self._verbose = quiet, verbose
        self._board = Board()
        self._lock = threading.Lock()
        self._live: Live | None = None

    def handle(self, event: Event) -> None:
        with self._lock:
            match event:
                case StudyStarted():
                    self._start(event)
                case TrialStarted():
                    self._board.slots[event.slot] = SlotRow(event.number, event.name, event.resumed_from, event.epochs, time.monotonic())
                case EpochDone():
                    self._epoch(event)
                case TrialRetried():
                    self._say(f"t{event.number:03d} epoch {event.epoch} again: {event.reason}", "yellow")
                case TrialEnded():
                    self._end_trial(event)
                case StudyEnded():
                    self._stop()

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _start(self, event: StudyStarted) -> None:
        board = self._board
        board.study, board.total, board.maximize = event.study, event.total, event.directions[0] == "maximize"
        board.started = time.monotonic()
        board.slots = dict.fromkeys(range(event.slots))
        if event.resumed:
            for past in spool.read_all(event.folder):
                if isinstance(past, TrialEnded) and past.state != "INTERRUPTED":
                    board.count(past, f"t{past.number:03d}")
            board.counted_before = board.counted
        if self._console.is_terminal and not self._quiet and not self._verbose:
            self._live = Live(board, console=self._console, refresh_per_second=REFRESH_HZ, transient=True)
            self._live.start()

    def _epoch(self, event: EpochDone) -> None:
        row = self._board.slots.get(event.slot)
        if row is None:
            return
        row.epoch = event.epoch
        row.accuracy = event.metrics.get("valid_accuracy")
        if self._verbose:
            numbers = " ".join(
                f"{key} {event.metrics[key]:.4f}" for key in ("train_loss", "valid_loss", "valid_accuracy") if key in event.metrics
            )
            self._say(f"{row.name}  epoch {event.epoch}/{row.epochs}  {numbers}  {event.metrics.get('epoch_s', 0.0):.2f} s", "dim")

    def _end_trial(self, event: TrialEnded) -> None:
        board = self._board
        slot = next((index for index, row in board.slots.items() if row is not None and row.number == event.number), None)
        row = board.slots.get(slot) if slot is not None else None
        name = row.name if row is not None else f"t{event.number:03d}"
        if slot is not None:
            board.slots[slot] = None
        is_best = board.count(event, name)
        text, style = ended_line(event, name, board, is_best=is_best)
        if not self._quiet:
            self._say(text, style)

    def _say(self, text: str, style: str) -> None:
        if not self._quiet:
            if self._console.is_terminal:
                self._console.print(text, style=style, markup=False, overflow="ellipsis", no_wrap=True)
            else:  # in a file no line is cut
                self._console.print(text, style=style, markup=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
