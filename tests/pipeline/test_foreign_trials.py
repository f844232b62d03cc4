"""Trials that somebody adds through Optuna's own interface are shown with a mark, inform the
sampler, do not count, and are never chosen.
"""

import csv
import json
from io import StringIO
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from rich.console import Console

from pipeline.configuration import compose
from pipeline.ensemble.candidates import candidates
from pipeline.reporting.best_trials import best_of, front_of, ranked
from pipeline.reporting.foreign_trials import FOREIGN, MARKED_FROM
from pipeline.reporting.notebook import counted
from pipeline.reporting.table import load_table, table_of
from pipeline.search import leaderboard
from pipeline.search.fingerprint import BASE
from pipeline.search.open_study import open_storage, open_study
from pipeline.search.promotion import AsyncHalving
from pipeline.search.queue import TrialQueue
from pipeline.search.space import Space
from pipeline.showing.tables import print_trial
from pipeline.slots.stop_request import Stop
from tests.ends import ended

SPACE = Space.parse({"model.filters": {"int": [8, 64]}})
MARK = {"study.seed": "0"} | {
    f"space {name}": json.dumps(line) for name, line in SPACE.fingerprint().items()
}


def added(value: float, **params: float) -> optuna.trial.FrozenTrial:
    """A trial as another tool adds it, with parameters that the space does not have as well."""
    distributions = {
        name: IntDistribution(8, 64) if name == "model.filters" else FloatDistribution(0, 1)
        for name in params
    }
    return create_trial(value=value, params=params, distributions=distributions)  # type: ignore[arg-type]


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A study of two own trials, and two others that are better."""
    config = compose([f"root={tmp_path}", "study.name=mixed"])
    config.paths.folder.mkdir()
    made, _, _ = open_study(
        config.paths, open_storage(config.paths), ["maximize"], MARK, "this code"
    )
    made.set_user_attr(BASE, [])
    made.add_trial(added(0.99, **{"model.filters": 20, "of another tool": 0.5}))
    queue = TrialQueue(made, None, Stop(), 10)
    for value in (0.5, 0.6):
        asked = queue.ask(SPACE.suggest)
        assert asked is not None
        made.tell(asked[0], value)
    made.add_trial(added(0.98, **{"model.filters": 30}))
    return made


def test_they_do_not_count(study: optuna.Study) -> None:
    queue = TrialQueue(study, 3, Stop(), 10)
    assert (queue.counted, queue.left, queue.best_number) == (2, 1, 2)
    assert queue.ask(SPACE.suggest) is not None  # would wait for others where they counted


def test_they_are_last_marked_and_never_the_best(study: optuna.Study, tmp_path: Path) -> None:
    table = table_of(study, tmp_path / "mixed")
    assert [row.number for row in ranked(table)] == [2, 1, 0, 3]
    assert [row.foreign for row in ranked(table)] == ["", "", FOREIGN, FOREIGN]
    best = best_of(table)
    assert best is not None and best.number == 2 and front_of(table) == {2}
    assert table.best is not None and table.best.number == 2
    paths = compose([f"root={tmp_path}", "study.name=mixed"]).paths
    rows = leaderboard.rank(study, SPACE, paths)
    leaderboard.write(rows, ["valid_accuracy"], [], paths)
    with paths.leaderboard.open() as file:
        reasons = {row["trial"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons == {"2": "", "1": "", "0": FOREIGN, "3": FOREIGN}
    assert "trial: 2" in paths.best.read_text()
    shown = leaderboard.table(rows, ["valid_accuracy"])
    assert sum(FOREIGN in line for line in shown) == 2


def test_one_of_them_alone_is_marked(study: optuna.Study, tmp_path: Path) -> None:
    config = compose([f"root={tmp_path}", "study.name=mixed"])
    console = Console(file=StringIO(), width=200)
    print_trial(console, table_of(study, config.paths.folder), config, 0)
    assert FOREIGN in console.file.getvalue()  # type: ignore[attr-defined]


def test_one_trial_is_not_counted_as_several(study: optuna.Study, tmp_path: Path) -> None:
    table = table_of(study, tmp_path / "mixed")
    assert counted(table) == "4 trials (4 complete)"
    table.trials = table.trials[:1]
    assert counted(table) == "1 trial (1 complete)"


def test_final_models_are_not_made_of_them(study: optuna.Study, tmp_path: Path) -> None:
    found = candidates(compose([f"root={tmp_path}", "study.name=mixed"]))
    assert [trial.number for trial in found.trials] == [2, 1]
    assert sum(FOREIGN in note for note in found.notes) == 2


def test_a_study_of_them_alone_has_no_best(tmp_path: Path) -> None:
    config = compose([f"root={tmp_path}", "study.name=other"])
    config.paths.folder.mkdir()
    storage = open_storage(config.paths)
    made, _, _ = open_study(config.paths, storage, ["maximize"], MARK, "this code")
    made.add_trial(added(0.99, **{"model.filters": 20}))
    table = table_of(made, config.paths.folder)
    assert best_of(table) is None and front_of(table) == set() and table.best is None
    rows = leaderboard.rank(made, SPACE, config.paths)
    leaderboard.write(rows, ["valid_accuracy"], [], config.paths)
    assert not config.paths.best.exists()
    assert candidates(config).trials == []


def test_the_trials_of_an_older_study_are_its_own(tmp_path: Path) -> None:
    config = compose([f"root={tmp_path}", "study.name=old"])
    config.paths.folder.mkdir()
    storage = open_storage(config.paths)
    old = optuna.create_study(study_name="old", storage=storage, direction="maximize")
    old.set_user_attr("fingerprint", MARK)
    old.set_user_attr("code", "older")
    old.add_trial(added(0.7, **{"model.filters": 20}))
    assert [row.foreign for row in load_table(config.paths.folder, "old").trials] == [""]
    study, _, _ = open_study(config.paths, storage, ["maximize"], MARK, "this code")
    assert study.user_attrs[MARKED_FROM] == 1
    study.add_trial(added(0.8, **{"model.filters": 21}))
    rows = table_of(study, config.paths.folder).trials
    assert [row.foreign for row in rows] == ["", FOREIGN]
    assert TrialQueue(study, 5, Stop(), 10).counted == 1
    assert rows[0].state == TrialState.COMPLETE.name


def test_what_another_program_added_promotes_nothing() -> None:
    study = optuna.create_study(direction="maximize")
    study.set_user_attr(MARKED_FROM, 0)
    space = Space.parse({"x": {"float": [0.0, 1.0]}})
    queue = TrialQueue(study, 5, Stop(), 10, AsyncHalving(min_epochs=1, factor=2, epochs=4))
    asked = queue.ask(space.suggest)
    assert asked is not None
    queue.report(asked[0], 1, 0.9)
    queue.tell(asked[0], ended("PAUSED", reason="after epoch 1 of 4", epochs=1))
    added = create_trial(
        value=0.5,
        params={"x": 0.1},
        distributions=space.distributions(),
        intermediate_values={1: 0.5},
    )
    study.add_trial(added)
    again = queue.ask(space.suggest)  # one of one trial is no half; one of two would be
    assert again is not None and again[0].number == 2
