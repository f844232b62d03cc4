"""pipeline.contest: from a folder of files to a submission whose answers are right."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import contest
from pipeline.configuration import command_line
from tests.pipeline.contests import picture_contest, table_contest

TINY = (
    *("base=contest_quick", "budget.trials=1", "budget.minutes=5", "train.epochs=8"),
    *("final.minutes=5", "final.epochs=8", "model.filters=8", "tracking=none"),
    "study.enqueue=[]",
    "space={optimizer.lr:{float:[0.005,0.01]}}",
    *("model.depth=1", "optimizer=adamw", "augment=shift"),
)


@pytest.mark.slow
@pytest.mark.parametrize("made", [table_contest, picture_contest])
def test_from_a_folder_to_a_submission(
    made: Callable[[Path], dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my-contest"
    truth = made(folder)
    arguments = [f"folder={folder}", f"root={tmp_path / 'out'}"]
    assert command_line(contest.COMMAND, [*arguments, *TINY], contest.main) == 0
    said = capsys.readouterr().out
    assert "sample submission: sample_submission.csv" in said and "10 classes" in said
    answers = _rows(tmp_path / "out" / "my-contest" / "submission.csv")
    asked = _rows(folder / "sample_submission.csv")
    assert [row[0] for row in answers] == [row[0] for row in asked]
    right = sum(label == truth[name] for name, label in answers[1:])
    assert answers[0] == asked[0] and right > 0.7 * len(truth)


def test_a_dry_run_only_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, root = tmp_path / "my-contest", tmp_path / "out"
    table_contest(folder)
    arguments = [f"folder={folder}", f"root={root}", "dry=true"]
    assert command_line(contest.COMMAND, arguments, contest.main) == 0
    said = capsys.readouterr().out
    assert "label: column 'letter' (last)" in said
    assert "template: 60 rows, ids: 'Id'" in said and "60 images to label" in said
    assert not (root / "my-contest" / "study.db").exists()


def test_what_does_not_agree_is_said_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = tmp_path / "my-contest", tmp_path / "out"
    table_contest(folder)
    template = folder / "sample_submission.csv"
    template.write_text("\n".join(template.read_text().splitlines()[:-1]) + "\nt999,0\n")
    arguments = [f"folder={folder}", f"root={root}"]
    assert command_line(contest.COMMAND, arguments, contest.main) == 2
    assert "t999" in capsys.readouterr().err
    assert not (root / "my-contest" / "study.db").exists()


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))
