"""The sweep as it runs: a live table in a terminal, plain lines elsewhere, little when quiet."""

import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline import journal
from pipeline.events import (
    EpochDone,
    Event,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialRetried,
    TrialStarted,
)
from pipeline.reporting.table import clock, objective_text

STYLES = {"COMPLETE": "", "PRUNED": "dim", "FAIL": "red", "INTERRUPTED": "yellow"}
WORDS = {"FAIL": "failed", "INTERRUPTED": "paused"}
WIDE, NARROW = 76, 46  # columns: with bars and names; below NARROW only numbers


@dataclass
class SlotRow:
    """The trial that runs in a slot."""

    number: int
    name: str
    epoch: int
    epochs: int
    started: float  # monotonic
    accuracy: float | None = None


@dataclass(frozen=True)
class Best:
    """The best trial so far."""

    name: str
    value: float


@dataclass
class Board:
    """The state that the live table draws."""

    study: str = ""
    total: int | None = None
    maximize: bool = True
    started: float = field(default_factory=time.monotonic)
    slots: dict[int, SlotRow | None] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    best: Best | None = None
    counted_before: int = 0

    @property
    def counted(self) -> int:
        """Trials that count towards the total."""
        return self.states["COMPLETE"] + self.states["PRUNED"]

    def count(self, event: TrialEnded, name: str) -> bool:
        """Counts an ended trial; True when it is the best so far."""
        if event.state != "INTERRUPTED":
            self.states[event.state] += 1
        if event.state != "COMPLETE" or not event.objective:
            return False
        value = event.objective[0]
        better = self.best is None or (
            value > self.best.value if self.maximize else value < self.best.value
        )
        if better:
            self.best = Best(name, value)
        return better

    def left_s(self) -> float | None:
        """Estimated seconds left at the pace so far, counting running trials in part; None while
        unknown.
        """
        done = self.counted - self.counted_before
        if self.total is None or done < 1:
            return None
        partly = sum(
            row.epoch / max(row.epochs, 1) for row in self.slots.values() if row is not None
        )
        to_go = max(0.0, self.total - self.counted - partly)
        return (time.monotonic() - self.started) / (done + partly) * to_go

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        yield self._head(width)
        table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False, expand=False)
        table.add_column(justify="right", style="dim", no_wrap=True)
        table.add_column(
            no_wrap=True,
            overflow="ellipsis",
            max_width=max(8, width - (42 if width >= WIDE else 24)),
        )
        if width >= WIDE:
            table.add_column(width=16)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        for index, row in sorted(self.slots.items()):
            table.add_row(*_cells(index, row, width))
        yield table
        if self.best is not None:
            line = Text.assemble(
                ("best ", "dim"),
                (objective_text(self.best.value, share=self.maximize), "bold green"),
                f"  {self.best.name}",
            )
            line.truncate(width, overflow="ellipsis")
            yield line

    def _head(self, width: int) -> Text:
        of = "" if self.total is None else f"/{self.total}"
        parts = [(self.study, "bold"), (f"{self.counted}{of} trials", "")]
        parts += [
            (f"{self.states[state]} {word}", style)
            for state, word, style in (("PRUNED", "pruned", "dim"), ("FAIL", "failed", "red"))
            if self.states[state]
        ]
        parts.append((clock(time.monotonic() - self.started), "dim"))
        left = self.left_s()
        if left is not None:
            parts.append((f"about {clock(left)} left", "dim"))
        line = Text(" · " if width >= NARROW else " ").join(
            Text(text, style=style) for text, style in parts
        )
        line.truncate(width, overflow="ellipsis")
        return line


def _cells(index: int, row: SlotRow | None, width: int) -> list[Text | ProgressBar]:
    if row is None:
        return [Text(f"slot {index}" if width >= NARROW else str(index)), Text("…", style="dim")]
    name = row.name if width >= NARROW else f"t{row.number:03d}"
    cells: list[Text | ProgressBar] = [
        Text(f"slot {index}" if width >= NARROW else str(index)),
        Text(name),
    ]
    if width >= WIDE:
        cells.append(
            ProgressBar(
                total=max(row.epochs, 1),
                completed=row.epoch,
                width=16,
                complete_style="cyan",
                finished_style="cyan",
            )
        )
    cells.append(Text(f"{row.epoch}/{row.epochs}"))
    cells.append(Text("" if row.accuracy is None else f"{row.accuracy:.2%}", style="cyan"))
    return cells


def ended_line(event: TrialEnded, name: str, board: Board, *, is_best: bool) -> tuple[str, str]:
    """One line on how a trial ended, and its style."""
    of = "" if board.total is None else f"/{board.total}"
    count = f"[{board.counted:>{len(str(board.total or 0))}}{of}]"
    effort = f"{event.epochs} epochs  {event.duration_s:.1f} s"
    if event.state == "COMPLETE":
        values = "  ".join(objective_text(v, share=board.maximize) for v in event.objective)
        return (
            f"{count} {values:>8}  {name:<30}  {effort}{'  best so far' if is_best else ''}",
            "green" if is_best else "",
        )
    reason = f"  {event.reason}" if event.reason else ""
    return (
        f"{count} {WORDS.get(event.state, event.state.lower()):>8}  {name:<30}  {effort}{reason}",
        STYLES.get(event.state, ""),
    )


REFRESH_HZ = 2.0  # often enough to look alive, rarely enough to cost nothing


class ProgressListener:
    """Shows events on a console (standard output by default): a live table where it is a terminal,
    else a line for each end.

    quiet: nothing but the end. verbose: a line for each epoch too (and no table).
    """

    def __init__(
        self, *, quiet: bool = False, verbose: bool = False, console: Console | None = None
    ) -> None:
        self._console = console or Console(
            highlight=False, force_jupyter=False, force_terminal=sys.stdout.isatty()
        )  # rich takes a notebook, whose kernel forces colours, for a terminal
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
                    self._board.slots[event.slot] = SlotRow(
                        event.number, event.name, event.resumed_from, event.epochs, time.monotonic()
                    )
                case EpochDone():
                    self._epoch(event)
                case TrialRetried():
                    self._say(
                        f"t{event.number:03d} epoch {event.epoch} again: {event.reason}", "yellow"
                    )
                case TrialEnded():
                    self._end_trial(event)
                case StudyEnded():
                    self._stop()

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _start(self, event: StudyStarted) -> None:
        board = self._board
        board.study, board.total, board.maximize = (
            event.study,
            event.total,
            event.directions[0] == "maximize",
        )
        board.started = time.monotonic()
        board.slots = dict.fromkeys(range(event.slots))
        if event.resumed:
            for past in journal.read_all(event.folder):
                if isinstance(past, TrialEnded) and past.state != "INTERRUPTED":
                    board.count(past, f"t{past.number:03d}")
            board.counted_before = board.counted
        if self._console.is_terminal and not self._quiet and not self._verbose:
            self._live = Live(
                board, console=self._console, refresh_per_second=REFRESH_HZ, transient=True
            )
            self._live.start()

    def _epoch(self, event: EpochDone) -> None:
        row = self._board.slots.get(event.slot)
        if row is None:
            return
        row.epoch = event.epoch
        row.accuracy = event.metrics.get("valid_accuracy")
        if self._verbose:
            numbers = " ".join(
                f"{key} {event.metrics[key]:.4f}"
                for key in ("train_loss", "valid_loss", "valid_accuracy")
                if key in event.metrics
            )
            self._say(
                f"{row.name}  epoch {event.epoch}/{row.epochs}  {numbers}  "
                f"{event.metrics.get('epoch_s', 0.0):.2f} s",
                "dim",
            )

    def _end_trial(self, event: TrialEnded) -> None:
        board = self._board
        slot = next(
            (
                index
                for index, row in board.slots.items()
                if row is not None and row.number == event.number
            ),
            None,
        )
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
                self._console.print(
                    text, style=style, markup=False, overflow="ellipsis", no_wrap=True
                )
            else:  # in a file no line is cut
                self._console.print(text, style=style, markup=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
