"""`pipeline.prepare`: what it prints and writes, and outputs that cannot be."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import prepare
from pipeline.configuration import command_line

SIZES = ["data.train_size=50", "data.valid_size=20"]


def run(*words: str) -> int:
    return command_line(prepare.COMMAND, words, prepare.main)


def test_it_says_what_came_of_the_data_and_writes_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            f"root={tmp_path}",
            *SIZES,
            f"output={tmp_path}/new/data.json",
            f"samples={tmp_path}/x.npy",
        )
        == 0
    )
    text = capsys.readouterr().out
    assert (tmp_path / "new" / "data.json").read_text() == text
    said = json.loads(text)
    assert said["image_shape"] == [1, 8, 8] and said["classes"] == 10
    assert (said["train"]["images"], said["valid"]["images"]) == (50, 20)
    assert sum(said["valid"]["per_class"]) == 20
    assert np.load(tmp_path / "x.npy").shape == (20, 8, 8)


@pytest.mark.parametrize("key", ["output", "samples"])
def test_an_output_that_cannot_be_written_is_refused(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"root={tmp_path}", f"{key}={tmp_path}") == 2
    assert f"error: {key}: must be the name of a file, got the folder" in capsys.readouterr().err
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("quiet", [False, True])
def test_a_sheet_is_drawn_whether_or_not_anything_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    words = ["--quiet"] if quiet else []
    assert run(f"root={tmp_path}", *SIZES, f"sheet={tmp_path}/sheet.png", *words) == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) >= 8 * 10 / 2
    said = capsys.readouterr().out
    assert said == "" if quiet else json.loads(said)["classes"] == 10
