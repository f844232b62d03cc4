"""Confirmation in whole sweeps: fresh seeds decide which trial is the best, and everything that
names the best names that one.
"""

import csv
import hashlib
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

from pipeline import sweep
from pipeline.configuration import SWEEP, command_line, compose, spec_of
from pipeline.data import prepare
from pipeline.ensemble.candidates import finished_trials
from pipeline.files import StudyPaths, TrialPaths
from pipeline.reporting.facts import gather
from pipeline.reporting.table import load_table
from pipeline.search import run_sweep
from pipeline.search.confirm import Confirmed
from pipeline.search.open_study import read_study
from pipeline.search.study_clock import StudyClock
from pipeline.trial_folder import TrialFolder
from tests.ends import ended
from tests.pipeline.test_sweep_commands import TINY, command


@pytest.mark.slow
def test_confirmation_ranks_by_fresh_seeds_and_is_done_once(tmp_path: Path) -> None:
    arguments = [*TINY, "train.epochs=3", "study.confirm=2"]
    done = command("sweep", tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "selection optimism" in done.stdout
    with (tmp_path / "smoke" / "confirmed.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 and all(row["seeds"] == "3" for row in rows)
    bounds = [float(row["lower_95"]) for row in rows]
    assert bounds == sorted(bounds, reverse=True)
    for row in rows:
        values = [float(value) for value in row["values"].split()]
        assert float(row["mean"]) == pytest.approx(sum(values) / 3)
    with (tmp_path / "smoke" / "leaderboard.csv").open() as file:
        assert [row["trial"] for row in csv.DictReader(file)][:2] == [row["trial"] for row in rows]
    times = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "smoke").glob("trials/*/confirm-*/result.json")
    }
    assert len(times) == 6
    assert command("sweep", tmp_path, *arguments).returncode == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}


@pytest.mark.slow
def test_the_best_after_confirmation_is_the_best_everywhere(tmp_path: Path) -> None:
    """Fresh seeds turn the search's ranking round, so that the best by the lower bound is another
    trial than the search's own.
    """
    root, folder = tmp_path, tmp_path / "smoke"
    again = [*TINY, "tracking=mlflow", "tracking.figures=false", "train.epochs=6"]
    assert command("sweep", root, *again).returncode == 0
    with (folder / "leaderboard.csv").open() as file:
        (first, second, *_) = [int(row["trial"]) for row in csv.DictReader(file)]
    erratic, steady = (0.1, 0.9, 0.99), (0.5, 0.51, 0.52)
    for number, values in ((first, erratic), (second, steady)):
        paths = StudyPaths(root, "smoke").trial(number)
        for index, value in enumerate(values, 1):
            leave_result(root, paths, number, index, value)
    done = command("sweep", root, *again, "study.confirm=2")
    assert done.returncode == 0, done.stderr
    agree_on(root, second, done.stdout)
    looked = command(
        "sweep", root, *again
    )  # without a confirmation of its own: what there is stays
    agree_on(root, second, looked.stdout)
    assert f"trial {second}" in command("replay", root, "study.name=smoke").stdout
    more = command("sweep", root, *again, "budget.trials=5")
    assert "the confirmation knew nothing" in more.stdout
    with (folder / "leaderboard.csv").open() as file:
        best = next(csv.DictReader(file))["trial"]
    agree_on(root, int(best), more.stdout)


def leave_result(root: Path, paths: TrialPaths, number: int, index: int, value: float) -> None:
    """Leave the result that a run with a fresh seed would have left."""
    config = compose(yaml.safe_load(paths.overrides.read_text())["overrides"])
    spec = spec_of(config, prepare(config.data, root), (config.study.seed, number, index))
    record = TrialFolder(TrialPaths(paths.folder / f"confirm-{index}"))
    record.paths.folder.mkdir()
    record.write_result(ended("COMPLETE", value, epochs=6), spec)


def agree_on(root: Path, best: int, said: str) -> None:
    """The leaderboard, best.yaml, the weights kept, the summary, MLflow and the report name the
    same trial.
    """
    folder = root / "smoke"
    with (folder / "leaderboard.csv").open() as file:
        assert int(next(csv.DictReader(file))["trial"]) == best
    assert yaml.safe_load((folder / "best.yaml").read_text())["trial"] == best
    (weights,) = folder.glob("trials/*/weights.npz")
    manifest = json.loads((weights.parent / "manifest.json").read_text())
    assert manifest["trial"] == best == int(weights.parent.name)
    assert manifest["sha256"]["weights.npz"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert f"best trial {best}:" in said
    table = load_table(folder, "smoke")
    assert table.ended is not None and table.ended.best_number == best
    assert table.best is not None and table.best.number == best
    assert manifest["objective"] == list(table.best.objective), "trained again, it is the same net"
    assert (
        gather(read_study(StudyPaths(root, "smoke")), StudyPaths(root, "smoke")).winner.number
        == best
    )
    assert finished_trials(StudyPaths(root, "smoke"))[0].number == best


def of_limited_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: int) -> list[str]:
    """Return a sweep's words whose nine minutes are over once `enough` trials have ended."""
    monkeypatch.setattr(run_sweep, "calibrated", lambda config, *rest, fixed: (config, None))

    def left_s(clock: StudyClock) -> float:
        over = len(list(tmp_path.glob("short/trials/*/result.json"))) >= enough
        return 0.0 if over and clock._limit_s == 9 * 60 else 60.0

    monkeypatch.setattr(StudyClock, "left_s", property(left_s))
    return [
        "experiment=smoke", "study.name=short", f"root={tmp_path}", "tracking=none", "slots.n=1",
        "budget.trials=null", "budget.minutes=9", "train.epochs=1", "pruner=none",
        "data.train_size=60", "data.valid_size=50",
    ]  # fmt: skip


def test_the_command_for_a_confirmation_that_had_no_time_confirms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*of_limited_time(tmp_path, monkeypatch, 2), "study.confirm=1"]
    assert command_line(SWEEP, words, sweep.main) == 0
    (line,) = re.findall("no time was left for it; run it with: (.*)", capsys.readouterr().out)
    assert command_line(SWEEP, shlex.split(line)[3:], sweep.main) == 0
    assert "with 3 fresh seeds each" in capsys.readouterr().out
    ranking = (tmp_path / "short" / "confirmed.csv").read_text()
    # what had no time for more tries nothing that the confirmation did not know
    assert command_line(SWEEP, words, sweep.main) == 0
    assert "no time was left for it" not in capsys.readouterr().out
    assert (tmp_path / "short" / "confirmed.csv").read_text() == ranking


def test_the_best_net_is_trained_again_for_its_weights_when_there_is_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = of_limited_time(tmp_path, monkeypatch, 2)
    assert command_line(SWEEP, words, sweep.main) == 0
    (weights,) = tmp_path.glob("short/trials/*/weights.npz")
    weights.unlink()
    capsys.readouterr()
    assert command_line(SWEEP, words, sweep.main) == 0
    (line,) = re.findall("the best trial's net again; run it with: (.*)", capsys.readouterr().out)
    assert not weights.exists()
    assert command_line(SWEEP, shlex.split(line)[3:], sweep.main) == 0
    assert weights.exists()


def test_where_no_trial_is_complete_none_is_confirmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A study whose best was taken over may have pruned all that it tried itself."""
    words = [
        "experiment=smoke", f"root={tmp_path}", "tracking=none", "slots.n=1", "train.epochs=3",
        "data.train_size=60", "data.valid_size=50", "study.enqueue=[]", "budget.trials=1",
        "model.filters=4", "pruner=median", "pruner.startup_trials=1", "pruner.warmup_epochs=0",
    ]  # fmt: skip
    rates = 'study.enqueue=[["optimizer.lr=0.01"],["optimizer.lr=0.000001"]]'
    old = ["study.name=old", "space={optimizer.lr:{choice:[0.01,0.000001]}}", "budget.trials=2"]
    assert command_line(SWEEP, [*words, *old, rates], sweep.main) == 0
    new = ["study.name=new", "study.fork=old", "space={optimizer.lr:{choice:[0.000001]}}"]
    capsys.readouterr()
    assert command_line(SWEEP, [*words, *new, "study.confirm=1"], sweep.main) == 0
    said = capsys.readouterr().out
    assert "study.confirm: no trial is complete, so none was confirmed" in said
    assert not (tmp_path / "new" / "confirmed.csv").exists()
    assert "paused trials to promote" not in said


def test_where_less_is_better_the_upper_end_ranks() -> None:
    steady = Confirmed(0, 0.30, (0.30, 0.31, 0.32), -1.0)
    wild = Confirmed(1, 0.10, (0.10, 0.30, 0.50), -1.0)
    alone = Confirmed(2, 0.05, (0.05,), -1.0)
    assert steady.lower == pytest.approx(0.31 + 2.920 * 0.01 / 3**0.5)
    assert steady.lower < wild.lower < alone.lower == float("inf")
