"""A refusal about a value that a preset has set says so."""

from pathlib import Path

import pytest

from pipeline import train
from pipeline.configuration import command_line
from pipeline.configuration.preset_of_key import preset_of

MESSAGE = "data.reserve: must be from 0 to 299, got 5000"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["experiment=hard_digits"], ", set by experiment=hard_digits"),
        (["experiment=hard_digits", "data.reserve=5000"], ""),
        (["experiment=smoke"], ""),
        ([], ""),
    ],
)
def test_what_the_user_did_not_type_is_named(overrides: list[str], says: str) -> None:
    assert preset_of(MESSAGE, overrides) == says


def test_a_preset_that_builds_on_another_is_named_itself(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("defaults:\n  - hard_digits\n  - _self_\n")
    overrides = [f"hydra.searchpath=['file://{tmp_path}']", "experiment=mine"]
    assert preset_of(MESSAGE, overrides) == ", set by experiment=mine"
    assert preset_of("study.fork: must exist", overrides) == ""


def test_the_command_s_refusal_holds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["experiment=hard_digits", "data=digits", "model=contest", f"root={tmp_path}"]
    assert command_line(train.COMMAND, arguments, train.main) == 2
    error = capsys.readouterr().err
    assert "data.reserve: must be" in error and "set by experiment=hard_digits" in error
