"""Flags and manners of every command: help from where keys are defined, version, exit codes, widths
and colours.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

import pipeline
from pipeline.configuration import SWEEP, Command, Config, command_line, compose, setting, version
from pipeline.configuration.hydra_tree import groups
from pipeline.search.parameter import KINDS, OPTIONS
from pipeline.search.space import Space


@dataclass
class Keys:
    bundle: str | None = setting(None, "folder of the model")
    port: int = setting(8000, "where to listen", low=1, high=65535)


SMALL = Command(
    name="small",
    about="Does little.",
    examples=("python -m pipeline.small bundle=PATH",),
    keys=Keys,
    sections=("study", "slots"),
)


def run(command: Command, *words: str) -> tuple[int, list[Config]]:
    seen: list[Config] = []
    code = command_line(command, words, lambda config: seen.append(config) or 0)
    return code, seen


def test_main_receives_the_configuration_and_its_code_is_returned() -> None:
    code, seen = run(SWEEP, "model.filters=9", "-q")
    assert (code, seen[0].model.filters, seen[0].quiet, seen[0].verbose) == (0, 9, True, False)
    assert command_line(SWEEP, [], lambda config: 1) == 1


def test_own_keys_are_typed_and_arrive_as_arguments() -> None:
    code, seen = run(SMALL, "bundle=/a b", "port=99", "slots.n=3")
    assert code == 0
    assert seen[0].arguments == Keys(bundle="/a b", port=99)
    assert seen[0].slots.n == 3
    assert seen[0].overrides == ("slots.n=3",)  # what can be composed again


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("port=0", "port: must be from 1 to 65535, got 0"),
        ("port=x", "port: must be a whole number, got 'x'"),
        ("bundel=x", 'bundel: is not a key of the configuration; did you mean "bundle"?'),
        (
            "optimizer.lr=1",
            "optimizer.lr: means nothing to small, which listens to root, plugins, study, slots, "
            "bundle, port",
        ),
        ("optimizer=adam", "optimizer: means nothing to small"),
    ],
)
def test_keys_that_a_command_does_not_have_are_refused(
    word: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(SMALL, word) == (2, [])
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("width", [40, 80, 160])
def test_help_names_groups_keys_and_examples_in_any_width(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich would colour, NO_COLOR forbids
    assert run(SWEEP, "--help")[0] == 0
    out = capsys.readouterr().out
    for group, choices in groups().items():
        assert group in out
        assert all(choice in out for choice in choices)
    for key in (
        "study.name",
        "budget.trials",
        "model.filters",
        "optimizer.lr",
        "train.epochs",
        "root",
        "--cfg job",
        "Exit codes",
    ):
        assert key in out
    assert "\x1b[3" not in out


def test_help_says_what_can_be_searched_and_how(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert run(SWEEP, "--help")[0] == 0
    out = capsys.readouterr().out
    marked = {line.split()[0] for line in out.splitlines() if line.split()[1:2] == ["*"]}
    assert {"model.filters", "optimizer.lr", "train.epochs", "data.train_size"} <= marked
    assert not {key for key in marked if key.startswith(("study.", "budget.", "slots.", "final."))}
    for word in (*KINDS, *OPTIONS):
        assert f"{word}:" in out
    example = re.search(r"'space=(.*?)'", out)
    assert example is not None and Space.parse(compose([f"space={example[1]}"]).space)
    run(SMALL, "--help")
    assert "Spaces" not in capsys.readouterr().out


def test_help_of_a_small_command_shows_its_keys_only(capsys: pytest.CaptureFixture[str]) -> None:
    run(SMALL, "-h")
    out = capsys.readouterr().out
    assert "Does little." in out
    assert "folder of the model" in out
    assert "8000" in out
    assert "slots.n" in out
    assert "optimizer" not in out


def test_narrow_help_gives_meanings_a_line_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run(SMALL, "--help")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    at = lines.index("port  8000")
    assert lines[at + 1] == "    where to listen" and max(map(len, lines)) <= 60


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SWEEP, "--version") == (0, [])
    assert capsys.readouterr().out.strip() == version()
    assert "numpy-cnn-sweep" in version()


def test_cfg_job_prints_the_tree_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(SWEEP, "--cfg", "job", "optimizer=momentum", "optimizer.lr=0.5") == (0, [])
    out = capsys.readouterr().out
    assert "  name: momentum\n  lr: 0.5\n" in out
    assert [line for line in out.splitlines() if line.startswith("space:")]


def test_cfg_job_of_a_small_command_prints_its_keys_and_sections_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(SMALL, "--cfg", "job", "port=9000", "slots.n=3") == (0, [])
    tree = yaml.safe_load(capsys.readouterr().out)
    assert list(tree) == ["bundle", "port", "root", "study", "slots"]
    assert (tree["bundle"], tree["port"], tree["slots"]["n"], tree["study"]["name"]) == (
        None,
        9000,
        3,
        "digits",
    )


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(config: Config) -> int:
        raise KeyboardInterrupt

    assert command_line(SWEEP, [], interrupted) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    def broken(config: Config) -> int:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        command_line(SWEEP, [], broken)


def test_what_the_system_refuses_is_one_line_with_cause_and_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def on_a_full_disk(config: Config) -> int:
        raise OSError(28, "No space left on device", "/there/labels.csv")

    assert command_line(SWEEP, [], on_a_full_disk) == 1
    assert capsys.readouterr().err == (
        "error: /there/labels.csv: No space left on device; once that is fixed, give the same "
        "command again\n"
    )


def test_the_top_of_pipeline_holds_commands_alone() -> None:
    files = {file.name: file.read_text() for file in Path(pipeline.__file__).parent.glob("*.*")}
    others = {
        name
        for name, text in files.items()
        if '\nif __name__ == "__main__":\n    sys.exit(command_line(' not in text
    }
    rooms = {"events", "files", "journal", "picture_sheet", "redact", "study", "trial_folder"}
    rooms |= {"sqlite_files", "structured_text", "whole_sweep"}
    assert others == {"__init__.py", "py.typed", *(f"{room}.py" for room in rooms)}
    assert len(files) > 12
