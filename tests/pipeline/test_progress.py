"""What the sweep says while it runs: a table in a terminal, plain lines elsewhere."""

import io
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pipeline.configuration import standard_streams
from pipeline.events import Event, TrialRetried
from pipeline.reporting.foreign_trials import FOREIGN
from pipeline.reporting.table import TrialRow, clock, objective_text
from pipeline.tracking.progress import Best, Board, ProgressListener, SlotRow
from tests.pipeline.studies import (
    START_S,
    epoch_done,
    small_events,
    study_ended,
    study_started,
    trial_ended,
    trial_started,
)


def shown(
    events: list[Event],
    *,
    width: int = 100,
    terminal: bool = False,
    quiet: bool = False,
    verbose: bool = False,
    colour: bool = False,
    past: Sequence[TrialRow] = (),
) -> str:
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=terminal, no_color=not colour, highlight=False
    )
    listener = ProgressListener(console=console, quiet=quiet, verbose=verbose, past=past)
    for event in events:
        listener.handle(event)
    listener.close()
    return out.getvalue()


def test_elsewhere_than_in_a_terminal_each_end_is_one_line(tmp_path: Path) -> None:
    lines = shown(small_events(tmp_path / "digits")).splitlines()
    assert len(lines) == 4
    assert lines[0].split() == [
        "[1/4]",
        "94.00%",
        "t000",
        "momentum",
        "he",
        "f32",
        "d0.40",
        "4",
        "epochs",
        "2.0",
        "s",
        "best",
        "so",
        "far",
    ]
    assert "pruned" in lines[1] and "after epoch 2 of 4" in lines[1]
    assert "failed" in lines[2] and lines[2].endswith("diverged: train_loss is nan in epoch 1")
    assert lines[2].startswith("[2/4]"), "a failed trial does not count"
    assert "94.30%" in lines[3] and lines[3].endswith("best so far")
    assert "\x1b" not in "".join(lines)


def test_long_lines_are_whole_in_a_file(tmp_path: Path) -> None:
    events = [
        study_started(tmp_path),
        trial_started(0),
        trial_ended(0, tmp_path, state="FAIL", reason="r" * 300),
    ]
    (line,) = shown(events, width=40).splitlines()
    assert "r" * 300 in line


def test_quiet_says_nothing_and_verbose_each_epoch(tmp_path: Path) -> None:
    events = small_events(tmp_path / "digits")
    assert shown(events, quiet=True) == ""
    lines = shown(events, verbose=True).splitlines()
    assert sum("epoch " in line and "valid_accuracy" in line for line in lines) == 11


def test_a_retry_is_told(tmp_path: Path) -> None:
    retry = TrialRetried(
        number=0, epoch=2, attempt=1, reason="worker died (SIGKILL)", time_s=START_S
    )
    assert "t000 epoch 2 again: worker died (SIGKILL)" in shown(
        [study_started(tmp_path), trial_started(0), retry]
    )


@pytest.mark.parametrize("width", [20, 42, 60, 80, 200])
def test_the_live_table_fits_any_terminal(width: int) -> None:
    board = Board(
        study="digits",
        total=20,
        slots={0: SlotRow(3, "t003 momentum he f32 d0.40", 2, 5, 0.0, 0.9), 1: None},
        best=Best("t001 adam", 0.97),
    )
    board.states["COMPLETE"] = 2
    console = Console(file=io.StringIO(), width=width, record=True, no_color=True)
    console.print(board)
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    assert any("2/5" in line for line in lines)
    assert any("97" in line for line in lines)
    if width >= 60:
        assert any("t003 momentum he f32 d0.40" in line for line in lines)
        assert "2/20 trials" in lines[0]


def test_what_is_not_known_yet_has_no_place_in_the_table() -> None:
    console = Console(file=io.StringIO(), width=80, record=True, no_color=True)
    console.print(Board(study="digits", total=20, slots={0: None}))
    text = console.export_text()
    assert "digits · 0/20 trials · 0:00" in text
    assert "left" not in text and "best" not in text


def test_a_terminal_shows_the_table_and_leaves_only_the_ends(tmp_path: Path) -> None:
    text = shown(small_events(tmp_path / "digits"), terminal=True, width=90)
    assert "\x1b[?25l" in text and "\x1b[?25h" in text, "the cursor is hidden and comes back"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "slot 0" in plain
    assert plain.count("best so far") == 2


def test_without_colour_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    listener = ProgressListener(console=Console(file=out, width=90, force_terminal=True))
    for event in small_events(tmp_path / "digits"):
        listener.handle(event)
    listener.close()
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", out.getvalue())


def test_a_resumed_study_counts_what_was_there(tmp_path: Path) -> None:
    past = [
        TrialRow(0, "t000", "COMPLETE", objective=(0.94,)),
        TrialRow(1, "t001", "PRUNED"),
        TrialRow(2, "t002", "FAIL"),
        TrialRow(3, "t003", "COMPLETE", objective=(0.943,)),
        TrialRow(4, "t004", "INTERRUPTED"),
        TrialRow(5, "t005", "COMPLETE", objective=(0.99,), foreign=FOREIGN),
    ]
    start: list[Event] = [study_started(tmp_path, trials=6, resumed=True), trial_started(4)]
    better = shown([*start, trial_ended(4, tmp_path, objective=(0.95,))], past=past)
    assert "[4/6]" in better and "best so far" in better, "what others added does not count"
    worse = shown([*start, trial_ended(4, tmp_path, objective=(0.9,))], past=past)
    assert "best so far" not in worse


def test_trials_that_share_a_slot_keep_their_names(tmp_path: Path) -> None:
    """As in rounds in lockstep, whose trials end after others have taken their slots."""
    starts = [trial_started(number, slot=0) for number in (0, 1)]
    ends = [trial_ended(number, tmp_path) for number in (0, 1)]
    lines = shown([study_started(tmp_path), *starts, *ends]).splitlines()
    assert all(start.name in line for start, line in zip(starts, lines, strict=True))
    assert starts[0].name != "t000"


def test_paused_trials_count_once_and_say_when_they_paused(tmp_path: Path) -> None:
    pause = {"state": "PAUSED", "epochs": 1, "reason": "after epoch 1 of 4"}
    first: list[Event] = [study_started(tmp_path)]
    for number in (0, 1):
        first += [trial_started(number), trial_ended(number, tmp_path, **pause)]
    again = [trial_started(0, resumed_from=1), trial_ended(0, tmp_path)]
    told = trial_ended(1, tmp_path, state="PRUNED", epochs=1, reason="after epoch 1 of 4")
    lines = shown([*first, *again, told]).splitlines()
    assert [line[:16].split() for line in lines] == [
        ["[1/6]", "paused"],
        ["[2/6]", "paused"],
        ["[2/6]", "97.00%"],
    ], "what was told when it paused is not told again at the study's end"
    assert "after epoch 1 of 4" in lines[0]
    past = [TrialRow(0, "t000", "COMPLETE", objective=(0.97,)), TrialRow(1, "t001", "PRUNED")]
    start: list[Event] = [study_started(tmp_path, trials=6, resumed=True)]
    larger = shown([*start, trial_started(1, resumed_from=1), trial_ended(1, tmp_path)], past=past)
    assert "[2/6]" in larger, "a trial told pruned that goes on counts once"
    waiting = [past[0], TrialRow(1, "t001", "PAUSED")]
    assert shown([*start, told], past=waiting) == "", "it paused in an earlier run"


def test_the_best_of_a_minimised_objective_is_the_least(tmp_path: Path) -> None:
    events: list[Event] = [study_started(tmp_path, directions=("minimize",))]
    for number, value in enumerate((3.0, 5.0, 2.0)):
        events += [
            trial_started(number),
            epoch_done(number, 1),
            trial_ended(number, tmp_path, objective=(value,)),
        ]
    lines = shown([*events, study_ended({"COMPLETE": 3}, 2)]).splitlines()
    assert [line.endswith("best so far") for line in lines] == [True, False, True]


def test_the_time_left_follows_the_pace() -> None:
    board = Board(total=10, started=0.0)
    board.states["COMPLETE"] = 5
    left, passed = board.left_s(), time.monotonic()
    assert left == pytest.approx(passed, rel=0.01)
    assert Board(total=None).left_s() is None
    assert Board(total=4).left_s() is None
    board.states["PAUSED"] = 1
    assert board.left_s() is None, "how far a paused trial goes is still to be decided"


def test_values_and_times_are_said_briefly() -> None:
    assert (objective_text(0.98765), objective_text(12345.678)) == ("98.77%", "1.235e+04")
    assert (clock(59.6), clock(61), clock(3661)) == ("1:00", "1:01", "1:01:01")


def test_names_with_brackets_are_not_markup(tmp_path: Path) -> None:
    odd = replace(trial_started(0), name="t000 [red]x[/red]")
    assert "t000 [red]x[/red]" in shown([study_started(tmp_path), odd, trial_ended(0, tmp_path)])


def test_a_live_table_draws_and_what_others_print_is_made_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rich puts a proxy before the stream while it draws; neither may be escaped nor pass."""
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        stream = standard_streams._lasting(file, file.fileno())
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
        console = standard_streams.live_console(stream)
        with Live(Text("table", style="bold"), console=console, refresh_per_second=50):
            print("a library \x07 and http://ann:Zq7kXw@host")
        stream.flush()
    drawn = (tmp_path / "out").read_bytes().decode()
    assert "\x1b[" in drawn and "\\x1b" not in drawn
    assert "\x07" not in drawn and "Zq7kXw" not in drawn and "a library" in drawn
