"""A real sweep, finished, read back from both of its stores: what was searched, and that MLflow and
the study tell the same.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.tracking import MlflowClient

ROOT = Path(__file__).resolve().parents[2]
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
# all drawn at random: enough for both initialisations and both optimizers to come up with this seed
TRIALS = 10


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a finished smoke sweep in real processes."""
    root = tmp_path_factory.mktemp("smoke")
    words = [
        "experiment=smoke",
        f"budget.trials={TRIALS}",
        "sampler=random",
        "study.note=a note",
        "slots.n=2",
        f"root={root}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.sweep", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture(scope="module")
def study(root: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{root}/smoke/study.db")


@pytest.fixture(scope="module")
def runs(root: Path) -> dict[str, Any]:
    """The store's runs by their tag `trial`; the parent under ""."""
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    found = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    )
    return {run.data.tags.get("trial", ""): run for run in found}


def test_a_finished_study_has_searched_filters_dropout_optimizer_and_initialisation(
    study: optuna.Study,
) -> None:
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * TRIALS
    chosen = {
        name: {trial.params[name] for trial in study.trials}
        for name in ("model.filters", "model.dropout", "model.init", "optimizer")
    }
    assert chosen["model.init"] == {"xavier", "he"}
    assert len(chosen["optimizer"]) >= 2
    assert len(chosen["model.filters"]) > 2
    assert len(chosen["model.dropout"]) > 2


def test_every_trial_has_one_run_of_the_same_outcome(
    study: optuna.Study, runs: dict[str, Any]
) -> None:
    assert sorted(runs) == sorted(["", *(str(trial.number) for trial in study.trials)])
    for trial in study.trials:
        run = runs[str(trial.number)]
        assert run.info.status == STATUS[trial.state.name]
        assert run.data.metrics["objective"] == trial.value
        assert (
            run.data.metrics["valid_accuracy"]
            == trial.intermediate_values[max(trial.intermediate_values)]
        )
        assert float(run.data.params["model_dropout"]) == trial.params["model.dropout"]
        assert run.data.params["optimizer"] == trial.params["optimizer"]
        assert run.data.tags["mlflow.parentRunId"] == runs[""].info.run_id


def test_the_parent_run_tells_note_and_end(runs: dict[str, Any]) -> None:
    assert runs[""].info.status == "FINISHED"
    assert runs[""].data.tags["mlflow.note.content"] == "a note"


def test_trials_ran_in_processes_of_their_own(runs: dict[str, Any]) -> None:
    pids = {run.data.tags["worker_pid"] for number, run in runs.items() if number}
    assert len(pids) == 2
