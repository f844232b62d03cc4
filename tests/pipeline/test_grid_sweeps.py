"""Sweeps on a grid: every point once, whatever asked for it and however it ended; then no more."""

from pathlib import Path

import pytest

from pipeline import sweep
from pipeline.configuration import SWEEP, command_line
from pipeline.reporting.table import TrialRow, load_table

FOUR = "space={model.filters:{choice:[4,6]},model.kernel:{choice:[3,5]}}"
ALL = [(4, 3), (4, 5), (6, 3), (6, 5)]
DIVERGES = ["optimizer=sgd", "model.filters=4", "data.train_size=300"]
RATES = "space={optimizer.lr:{choice:[0.01,1e30,0.05]}}"
NO_MORE = "the study has all its trials, and its grid has no more"


def swept(root: Path, *more: str, name: str = "g") -> list[TrialRow]:
    """Sweep a grid; return its trials."""
    words = [
        "experiment=smoke", f"root={root}", f"study.name={name}", "tracking=none", "slots.n=1",
        "data.train_size=60", "data.valid_size=50", "train.epochs=1", "pruner=none",
        "budget.trials=null", "sampler=grid", "study.enqueue=[]",
    ]  # fmt: skip
    keys = {word.partition("=")[0] for word in more}
    given = [word for word in words if word.partition("=")[0] not in keys]
    assert command_line(SWEEP, [*given, *more], sweep.main) == 0
    return load_table(root / name, name).trials


def tried(trials: list[TrialRow]) -> list[tuple[object, object]]:
    found = [(t.suggested["model.filters"], t.suggested["model.kernel"]) for t in trials]
    return sorted(found)  # type: ignore[type-var]


@pytest.mark.parametrize("mode", [[], ["study.deterministic=true", "study.round=2"]])
@pytest.mark.parametrize("first", [["model.filters=4", "model.kernel=3"], ["model.kernel=5"]])
def test_an_enqueued_point_is_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: list[str], first: list[str]
) -> None:
    trials = swept(tmp_path, FOUR, f"study.enqueue={[first]}", *mode)
    assert tried(trials) == ALL and NO_MORE in capsys.readouterr().out


def test_points_that_another_sampler_drew_are_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = swept(tmp_path, FOUR, "sampler=random", "budget.trials=3", "study.seed=1")
    distinct = len(set(tried(drawn)))
    capsys.readouterr()
    trials = swept(tmp_path, FOUR, "study.seed=1")
    assert len(trials) == len(drawn) + len(ALL) - distinct
    assert sorted(set(tried(trials))) == ALL and NO_MORE in capsys.readouterr().out


def test_points_taken_over_are_not_tried_again(tmp_path: Path) -> None:
    swept(tmp_path, FOUR, "budget.trials=2", "sampler=random")
    trials = swept(tmp_path, FOUR, "study.fork=g", name="forked")
    assert sorted(set(tried(trials))) == ALL and len(trials) <= len(ALL) + 1


@pytest.mark.parametrize("mode", [[], ["study.deterministic=true", "study.round=2"]])
def test_a_point_that_fails_is_tried_and_the_others_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: list[str]
) -> None:
    trials = swept(tmp_path, *DIVERGES, RATES, *mode)
    states = {trial.suggested["optimizer.lr"]: trial.state for trial in trials}
    assert states == {0.01: "COMPLETE", 1e30: "FAIL", 0.05: "COMPLETE"} and len(trials) == 3
    assert NO_MORE in capsys.readouterr().out
    again = swept(tmp_path, *DIVERGES, RATES, "budget.trials=9", *mode)
    assert len(again) == 3 and NO_MORE in capsys.readouterr().out


def test_what_is_offered_is_what_the_grid_still_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = swept(tmp_path, *DIVERGES, RATES, "budget.trials=1")
    failed = sum(trial.state == "FAIL" for trial in trials)
    assert f"budget.trials={min(2, 3 - failed)};" in capsys.readouterr().out


def test_a_grid_where_trials_pause_ends_with_its_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pruner=promote", "pruner.min_epochs=1", "train.epochs=3"]
    trials = swept(tmp_path, *DIVERGES, RATES, *words)
    assert len(trials) == 3 and NO_MORE in capsys.readouterr().out
    assert {trial.suggested["optimizer.lr"] for trial in trials} == {0.01, 1e30, 0.05}
