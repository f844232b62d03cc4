"""final.after_sweep=true: one command from nothing to a bundle; the same command again opens no
test split.
"""

import contextlib
import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnn_core.errors import InputError
from pipeline import evaluate, export, final, predict, sweep, whole_sweep
from pipeline.bundle import load_bundle
from pipeline.configuration import SWEEP, Config, command_line, compose
from pipeline.ensemble import assemble
from pipeline.ensemble.foreseen import check_members
from pipeline.files import StudyPaths
from pipeline.predictions.asked import PredictKeys
from pipeline.records.time_plans import TimePlanned, note_time, read_times
from pipeline.search import run_sweep
from pipeline.search.session import make_problem
from pipeline.whole_sweep import carried_s
from tests.pipeline.final_study import SWEEP_ARGUMENTS

ARGUMENTS = (
    *SWEEP_ARGUMENTS,
    "final.after_sweep=true",
    "final.members=2",
    "final.folds=2",
    "final.epochs=1",
    "ensemble=weighted",
)


def test_one_command_from_nothing_to_a_bundle_and_once_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(SWEEP, [*ARGUMENTS, f"root={tmp_path}"], sweep.main) == 0
    folder = tmp_path / "small"
    bundle = load_bundle(folder / "bundle")
    assert len(bundle.nets) == 2 and bundle.manifest.combine.method == "weighted"
    for name in ("test.json", "proxy.json", "reserve.json", "openings.csv"):
        assert (folder / "evaluation" / name).exists()
    written = (folder / "bundle" / "manifest.json").stat().st_mtime_ns
    assert "next:" not in capsys.readouterr().out, "what follows is done, not proposed"
    assert command_line(SWEEP, [*ARGUMENTS, f"root={tmp_path}"], sweep.main) == 0
    said = capsys.readouterr().out
    assert "evaluated before" in said and "exported before" in said
    openings = (folder / "evaluation" / "openings.csv").read_text().splitlines()
    assert len(list(csv.DictReader(openings))) == 1
    assert (folder / "bundle" / "manifest.json").stat().st_mtime_ns == written


def test_data_without_a_test_split_are_exported_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *ARGUMENTS,
        "data.test_fraction=0",
        "data.reserve=0",
        "data.valid_images=clean",
        f"root={tmp_path}",
    ]
    assert command_line(SWEEP, arguments, sweep.main) == 0
    assert "not evaluated: data=digits: a test split must be given" in capsys.readouterr().out
    assert load_bundle(tmp_path / "small" / "bundle").classes == 10


def test_what_follows_keeps_the_sweep_s_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server, an experiment and quiet are the sweep's, whichever command acts on them."""
    seen: list[Config] = []
    assembled = SimpleNamespace(manifest=SimpleNamespace(digest="0" * 64))
    monkeypatch.setattr(final, "plan", lambda config: None)
    monkeypatch.setattr(final, "build", lambda *arguments, **more: 0)
    monkeypatch.setattr(assemble, "assemble", lambda paths, storage: assembled)
    monkeypatch.setattr(evaluate, "main", lambda config: seen.append(config) or 0)
    monkeypatch.setattr(export, "main", lambda config: seen.append(config) or 0)
    config = compose(
        [
            f"root={tmp_path}",
            "tracking.uri=http://127.0.0.1:5999",
            "tracking.experiment=contest",
        ]
    )
    quiet = replace(config, quiet=True)
    assert whole_sweep.after_sweep(quiet, [], lambda line: None) == 0
    assert [config.command for config in seen] == ["evaluate", "export"]
    for config in seen:
        assert config.tracking.uri == "http://127.0.0.1:5999" and config.quiet
        assert config.tracking.experiment == "contest" and config.root == tmp_path
        assert type(config.arguments) in (evaluate.COMMAND.keys, export.COMMAND.keys)


def test_what_a_search_leaves_of_its_time_is_the_final_nets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = StudyPaths(tmp_path, "small")
    paths.folder.mkdir()
    monkeypatch.setattr(whole_sweep, "time", SimpleNamespace(time=lambda: 1005.0))

    def note(stage: str, used_s: float, *, used_up: bool = False) -> None:
        entry = TimePlanned(
            stage=stage, minutes=10.0, used_s=used_s, text="", used_up=used_up, time_s=1000.0
        )
        note_time(paths, entry)

    assert carried_s(paths, 900.0) == 0.0, "nothing was noted"
    note("search", 200.0)
    assert carried_s(paths, 900.0) == 0.0, "it did not end for want of time"
    note("search", 570.0, used_up=True)
    note("final", 1.0)
    assert carried_s(paths, 900.0) == 600 - 570 - 5
    assert carried_s(paths, 1001.0) == 0.0, "an earlier command's search"


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["final.members=0"], "final.members of at least 1, or final.fixed, got neither"),
        (
            ["final.refit=1", "final.overrides=['train.select=best']"],
            "final.refit: needs train.select",
        ),
        (["final.folds=2000"], "final.folds: .* folds from 2 to 1238, got fold=0, folds=2000"),
        (["final.fixed=[['model.filter=9']]"], "model.filter"),
        (["final.overrides=['model=vgg_valid']"], "kernel must fit"),
    ],
)
def test_final_models_that_cannot_be_are_refused_before_the_sweep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], rule: str
) -> None:
    assert command_line(SWEEP, [*ARGUMENTS, *words, f"root={tmp_path}"], sweep.main) == 2
    assert re.search(rule, capsys.readouterr().err)
    assert not (tmp_path / "small" / "study.db").exists()


def test_what_is_searched_may_make_final_models_possible(tmp_path: Path) -> None:
    words = [*ARGUMENTS, "final.refit=1", "final.overrides=[]", f"root={tmp_path}"]

    def check(choices: str) -> None:
        space = f"space={{train.select:{{choice:[{choices}]}},model.filters:{{int:[4,8]}}}}"
        check_members(make_problem(compose([*words, space]))[0])

    check("best,last")
    with pytest.raises(InputError, match=r"final\.refit: needs train\.select"):
        check("best")


class Commands:
    """The commands that follow a sweep, each with its exit code; they note that they were called,
    and do nothing.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **codes: int) -> None:
        self.called: list[str] = []
        assembled = SimpleNamespace(manifest=SimpleNamespace(digest="0" * 64))
        monkeypatch.setattr(final, "plan", lambda config: None)
        monkeypatch.setattr(final, "build", self._answer("final", codes))
        monkeypatch.setattr(assemble, "assemble", lambda paths, storage: assembled)
        monkeypatch.setattr(evaluate, "main", self._answer("evaluate", codes))
        monkeypatch.setattr(export, "main", self._answer("export", codes))
        monkeypatch.setattr(predict, "predict", self._answer("predict", codes))
        monkeypatch.setattr(run_sweep, "run", self._answer("sweep", codes))

    def _answer(self, name: str, codes: dict[str, int]) -> Callable[..., int]:
        def answer(*arguments: object, **more: object) -> int:
            self.called.append(name)
            return codes.get(name, 0)

        return answer


@pytest.mark.parametrize(
    ("codes", "code", "called"),
    [
        ({"final": 130}, 130, ["final"]),
        ({"evaluate": 1}, 1, ["final", "evaluate"]),
        ({"export": 1}, 1, ["final", "evaluate", "export"]),
        ({}, 0, ["final", "evaluate", "export"]),
    ],
)
def test_what_fails_after_a_sweep_ends_it_with_its_code(
    codes: dict[str, int], code: int, called: list[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    commands = Commands(monkeypatch, **codes)
    assert whole_sweep.after_sweep(compose([f"root={tmp_path}"]), [], print) == code
    assert commands.called == called


@pytest.mark.parametrize(
    ("exported", "codes", "code", "called"),
    [
        (False, {}, 0, ["export", "predict"]),
        (False, {"export": 1}, 1, ["export"]),
        (True, {"export": 1}, 0, ["predict"]),
        (True, {"predict": 1}, 1, ["predict"]),
    ],
)
def test_a_submission_exports_what_is_not_exported(
    exported: bool, codes: dict[str, int], code: int, called: list[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    commands = Commands(monkeypatch, **codes)
    config = compose([f"root={tmp_path}"])
    if exported:
        config.paths.bundle.mkdir(parents=True)
        (config.paths.bundle / "manifest.json").write_text("{}")
    assert whole_sweep.submit(config, PredictKeys()) == code
    assert commands.called == called


@pytest.mark.parametrize(
    ("words", "codes", "code", "noted"),
    [
        (["final.minutes=3"], {}, 0, [("final", 3.0, "evaluated and exported")]),
        (["final.minutes=3"], {"export": 1}, 1, []),
        (["final.minutes=3"], {"sweep": 130}, 130, []),
        ([], {}, 0, []),
    ],
)
def test_the_time_of_what_follows_is_noted_once_it_is_there(
    words: list[str], codes: dict[str, int], code: int, noted: list[tuple[str, float, str]],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    commands = Commands(monkeypatch, **codes)
    monkeypatch.setattr(
        whole_sweep, "open_slots", lambda config, folder: contextlib.nullcontext([])
    )
    config = compose([f"root={tmp_path}", "final.after_sweep=true", *words])
    assert whole_sweep.run_whole(config) == code
    assert commands.called[0] == "sweep"
    times = read_times(config.paths)
    assert [(entry.stage, entry.minutes, entry.text) for entry in times] == noted
