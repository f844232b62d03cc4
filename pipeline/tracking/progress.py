"""The sweep as it runs: a live table in a terminal, plain lines elsewhere, little when quiet."""

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.configuration.standard_streams import live_console
from pipeline.events import (
    EpochDone,
    Event,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialRetried,
    TrialStarted,
)
from pipeline.redact import shown
from pipeline.reporting.foreign_trials import FOREIGN
from pipeline.reporting.table import TrialRow, clock, objective_text

STYLES = {"PRUNED": "dim", "PAUSED": "dim", "FAIL": "red", "INTERRUPTED": "yellow"}
WORDS_OF_COUNTS = (("PAUSED", "paused"), ("PRUNED", "pruned"), ("FAIL", "failed"))
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
    """The best trial."""

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
    ends: dict[int, str] = field(default_factory=dict)  # how a trial ended, until it goes on
    names: dict[int, str] = field(default_factory=dict)  # of trials that this run has started
    best: Best | None = None
    counted_before: int = 0

    @property
    def counted(self) -> int:
        """Trials that count towards the total."""
        return self.states["COMPLETE"] + self.states["PRUNED"] + self.states["PAUSED"]

    def goes_on(self, number: int) -> None:
        """Counts a trial no more that was paused, or pruned by an earlier end of the study."""
        if number in self.ends:
            self.states[self.ends.pop(number)] -= 1

    def count(self, ended: TrialEnded | TrialRow) -> bool:
        """Counts an ended trial; True when it is the best so far."""
        if ended.state not in ("INTERRUPTED", "RUNNING", "WAITING"):
            self.goes_on(ended.number)
            self.states[ended.state] += 1
            self.ends[ended.number] = ended.state
        if ended.state != "COMPLETE" or not ended.objective:
            return False
        value = ended.objective[0]
        sign = 1 if self.maximize else -1
        better = self.best is None or sign * value > sign * self.best.value
        if better:
            self.best = Best(self.name_of(ended.number), value)
        return better

    def name_of(self, number: int) -> str:
        """A trial's name, its number where this run has not started it."""
        return self.names.get(number, f"t{number:03d}")

    def left_s(self) -> float | None:
        """Estimated seconds left at the pace so far, counting running trials in part; None while
        unknown, as where trials are paused: how far they will go is still to be decided.
        """
        done = self.counted - self.counted_before
        if self.total is None or done < 1 or self.states["PAUSED"]:
            return None
        rows = [row for row in self.slots.values() if row is not None]
        partly = sum(row.epoch / max(row.epochs, 1) for row in rows)
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
            (f"{self.states[state]} {word}", STYLES[state])
            for state, word in WORDS_OF_COUNTS
            if self.states[state]
        ]
        parts.append((clock(time.monotonic() - self.started), "dim"))
        if (left := self.left_s()) is not None:
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


def ended_line(event: TrialEnded, board: Board, *, is_best: bool) -> tuple[str, str]:
    """One line on how a trial ended, and its style."""
    of = "" if board.total is None else f"/{board.total}"
    count = f"[{board.counted:>{len(str(board.total or 0))}}{of}]"
    effort = f"{event.epochs} epochs  {event.duration_s:.1f} s"
    if event.state == "COMPLETE":
        said = "  ".join(objective_text(v, share=board.maximize) for v in event.objective)
        remark, style = ("best so far", "green") if is_best else ("", "")
    else:
        said = WORDS.get(event.state, event.state.lower())
        remark, style = event.reason, STYLES.get(event.state, "")
    line = f"{count} {said:>8}  {board.name_of(event.number):<30}  {effort}"
    return f"{line}  {remark}" if remark else line, style


REFRESH_HZ = 2.0  # often enough to look alive, rarely enough to cost nothing


class ProgressListener:
    """Shows events on a console (standard output by default): a live table where it is a terminal,
    else a line for each end.

    quiet: nothing but the end. verbose: each epoch too, no table. past: trials that a study has.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        console: Console | None = None,
        past: Sequence[TrialRow] = (),
    ) -> None:
        self._console = console or live_console(sys.stdout)
        self._quiet, self._verbose = quiet, verbose
        self._board, self._past = Board(), past
        self._lock = threading.Lock()
        self._live: Live | None = None

    def handle(self, event: Event) -> None:
        with self._lock:
            match event:
                case StudyStarted():
                    self._start(event)
                case TrialStarted():
                    self._board.goes_on(event.number)
                    self._board.names[event.number] = event.name
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
        board.study, board.total = event.study, event.total
        board.maximize = event.directions[0] == "maximize"
        board.started = time.monotonic()
        board.slots = dict.fromkeys(range(event.slots))
        for row in self._past:
            if row.foreign != FOREIGN:
                board.count(row)
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
        for slot, row in board.slots.items():
            if row is not None and row.number == event.number:
                board.slots[slot] = None
        told_paused = board.ends.get(event.number) == "PAUSED" and event.state == "PRUNED"
        is_best = board.count(event)
        if not told_paused:  # a line has told when it paused
            self._say(*ended_line(event, board, is_best=is_best))

    def _say(self, text: str, style: str) -> None:
        if not self._quiet:
            text = shown(text)
            cut: dict[str, Any] = {"overflow": "ellipsis", "no_wrap": True}
            how = cut if self._console.is_terminal else {"soft_wrap": True}  # no line in a file is
            self._console.print(text, style=style, markup=False, **how)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
