"""python -m pipeline.contest from the folder to what it starts: training, then a submission where
there is a test.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline import contest
from pipeline.configuration import Config, command_line, compose
from pipeline.contest import COMMAND, main
from pipeline.contest_folder.preset import write_preset
from pipeline.contest_folder.roles import ContestFiles
from pipeline.predictions.asked import PredictKeys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A contest of two classes: dark and bright pictures of 4x4."""
    folder, head = tmp_path / "mine", ",".join(f"p{k}" for k in range(16))
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [[k % 2, *rng.integers(100 * (k % 2), 100 * (k % 2) + 99, 16)] for k in range(40)]
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "train.csv").write_text("\n".join(["label," + head, *lines[:30]]) + "\n")
    tested = [f"{k}," + line.partition(",")[2] for k, line in enumerate(lines[30:])]
    (folder / "test.csv").write_text("\n".join(["id," + head, *tested]) + "\n")
    return folder


@pytest.mark.parametrize(
    ("words", "trained", "code", "calls"),
    [
        ((), 0, 7, ["trained", "submitted"]),
        ((), 3, 3, ["trained"]),
        (("test=none",), 0, 0, ["trained"]),
        (("output={folder}",), 0, 2, []),
    ],
)
def test_it_trains_and_submits_where_there_is_a_test(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    trained: int,
    code: int,
    calls: list[str],
) -> None:
    done: list[str] = []
    root = f"root={tmp_path}/out"
    swept = compose(["data=csv", f"data.file={folder}/train.csv", "study.name=mine", root])

    def run_whole(config: Config) -> int:
        done.append("trained")
        assert config is swept
        return trained

    def submit(config: Config, asked: PredictKeys) -> int:
        done.append("submitted")
        assert asked.input == str(folder / "test.csv")
        assert asked.output == str(tmp_path / "out" / "mine" / "submission.csv")
        return 7

    # Other tests write presets and read them again, which takes most of a contest's time.
    monkeypatch.setattr(contest, "_with_preset", lambda *_: swept)
    monkeypatch.setattr(contest, "run_whole", run_whole)
    monkeypatch.setattr(contest, "submit", submit)
    given = [f"folder={folder}", root, *(word.format(folder=folder) for word in words)]
    assert (command_line(COMMAND, given, main), done) == (code, calls)
    said = capsys.readouterr().err
    refused = f"output: must be the name of a file, got the folder {folder}" in said
    assert refused == (code == 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "contest needs folder=PATH, got none"),
        (
            ("folder={folder}", "labels=gone.csv"),
            "labels: must exist, got gone.csv, looked at {folder}/gone.csv",
        ),
    ],
)
def test_a_folder_and_files_that_are_not_there_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    given = [word.format(folder=folder) for word in words]
    assert command_line(COMMAND, given, main) == 2
    assert says.format(folder=folder) in capsys.readouterr().err


def test_a_preset_names_the_file_of_labels(tmp_path: Path) -> None:
    roles = ContestFiles(training=tmp_path / "train", labels=tmp_path / "train.csv")
    path = tmp_path / "presets" / "experiment" / "mine.yaml"
    write_preset(path, "mine", "contest", roles, tmp_path, {"label": "kind"})
    assert yaml.safe_load(path.read_text())["data"] == {
        "images": str(tmp_path / "train"),
        "labels": str(tmp_path / "train.csv"),
        "label": "kind",
    }
