"""What show prints of spaces with several conditions and of studies and nets that are not done."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pipeline.configuration import compose
from pipeline.events import State
from pipeline.files import StudyPaths, TrialPaths
from pipeline.inputs.reading import Batch
from pipeline.reporting.table import StudyTable, TrialRow
from pipeline.search.space import Space
from pipeline.showing import sheets
from pipeline.showing.tables import (
    print_trial,
    print_trials,
    space_tree,
    text_plot,
    trained_nets,
)
from pipeline.trial_folder import TrialFolder


def printed(print_it: Callable[[Console], object]) -> str:
    out = StringIO()
    print_it(Console(file=out, width=120))
    return out.getvalue()


def test_a_parameter_of_two_conditions_hangs_below_the_one_decided_last() -> None:
    space = Space.parse(
        {
            "optimizer": {"group": ["momentum", "adam"]},
            "model.init": {"choice": ["he", "xavier"]},
            "model.dropout": {
                "float": [0.0, 0.5],
                "when": {"optimizer": ["adam"], "model.init": ["he"]},
            },
        }
    )
    lines = printed(lambda console: console.print(space_tree(space, "a space"))).splitlines()
    at = next(n for n, line in enumerate(lines) if "model.dropout" in line)
    assert lines[at].endswith("(where optimizer=adam)")
    assert lines[at - 1].split()[-1] == "he" and "model.init" in lines[at - 2]
    assert sum("where" in line for line in lines) == 1


def test_an_empty_study_names_no_trial_to_look_at(tmp_path: Path) -> None:
    table = StudyTable("s", tmp_path / "s", ("maximize",), [])
    empty = printed(lambda console: print_trials(console, table))
    assert "study s: 0 trials" in empty and "one of them" not in empty
    table.trials = [TrialRow(4, state="FAIL")]
    one = printed(lambda console: print_trials(console, table))
    assert "one of them: python -m pipeline.show" in one and "trial=4" in one


def test_the_spread_of_a_trial_s_nets_stands_beside_its_value(tmp_path: Path) -> None:
    several = TrialRow(0, "t000", "COMPLETE", objective=(0.9,), extra={"objective_std": 0.0125})
    table = StudyTable("s", tmp_path / "s", ("maximize",), [several])
    assert "0.9000 ± 0.0125" in printed(lambda console: print_trials(console, table))
    table.trials = [replace(several, extra={})]
    assert "±" not in printed(lambda console: print_trials(console, table))


def test_a_trial_whose_folder_is_there_can_be_trained_again(tmp_path: Path) -> None:
    config = compose([f"root={tmp_path}", "study.name=s"])
    row = TrialRow(2, "t002", "COMPLETE", objective=(0.9,), overrides=("model.filters=5",))
    table = StudyTable("s", tmp_path / "s", ("maximize",), [row])
    gone = printed(lambda console: print_trial(console, table, config, 2))
    assert "again:" not in gone and "filters:" not in gone
    config.paths.trial(2).folder.mkdir(parents=True)
    TrialFolder(config.paths.trial(2)).begin(2, (0, 2), ["model.filters=5"])
    there = printed(lambda console: print_trial(console, table, config, 2))
    assert "again: python -m pipeline.replay" in there and "trial=2" in there
    assert "filters: 5" in there


def test_a_plot_has_a_gap_where_a_value_is_not_finite() -> None:
    lines = text_plot({"*": [0.0, math.nan, 1.0]}, height=3)
    assert [line.partition("|")[2] for line in lines[:3]] == ["        *", "", "*"]
    assert text_plot({"*": [math.nan]}) == []


def test_a_net_whose_training_was_interrupted_has_the_epochs_that_it_came_to(
    tmp_path: Path,
) -> None:
    paths = StudyPaths(tmp_path, "s")
    place = paths.folder / "train" / "abcd"
    place.mkdir(parents=True)
    folder = TrialFolder(TrialPaths(place))
    folder.begin(3, (7, 3), ["model.filters=5"])
    folder.write_history([{"valid_accuracy": 0.5, "epoch_s": 1.5}, {"epoch_s": 2.0}])
    (row,) = trained_nets(paths).values()
    assert (row.state, row.reason, row.objective) == (State.INTERRUPTED, "", ())
    assert (row.number, row.seed, row.epochs, row.duration_s) == (3, 7, 2, 3.5)


def test_a_sheet_reads_no_more_of_an_input_than_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Long:
        lines = ("a long input",)

        def batches(self) -> Iterator[Batch]:
            for shade in (0, 250):
                images = np.full((150, 1, 8, 8), shade, np.uint8)
                yield Batch(images=images, ids=())
            raise AssertionError("read beyond what is shown")

    monkeypatch.setattr(sheets, "open_as_trained", lambda *_: Long())
    config = compose([f"root={tmp_path}", "data.train_size=60", "data.valid_size=20"])
    path, count, lines = sheets.input_sheet(config, "x", "auto", str(tmp_path / "sheet.png"))
    assert (path, count, lines) == (tmp_path / "sheet.png", 200, ("a long input",))
    assert path.is_file()
