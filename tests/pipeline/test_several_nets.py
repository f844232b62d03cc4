"""A sweep whose trials train several nets: each trial's value is their mean, and every view tells
the mean, the spread and each net.
"""

import csv
import math
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient

from cnn_core.data.prepared import open_prepared
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from cnn_core.training import fit, objective
from pipeline.configuration import SWEEP, command_line, compose, spec_of
from pipeline.data import prepare
from pipeline.ensemble.candidates import candidates
from pipeline.ensemble.plan import in_order, plan_members
from pipeline.files import StudyPaths
from pipeline.reporting.best_trials import assess
from pipeline.reporting.data_frames import trials_frame
from pipeline.reporting.facts import Facts, gather
from pipeline.reporting.page import page
from pipeline.reporting.several_nets import net_figures, net_values, noise_of_means
from pipeline.reporting.table import load_table
from pipeline.search.fitting import SetFacts, sizes
from pipeline.search.problem import model_cost
from pipeline.search.retrain import stored_job
from pipeline.sweep import main

WORDS = [
    *("experiment=smoke", "budget.trials=3", "slots.n=1", "sampler=random"),
    *("data.train_size=60", "data.valid_size=40", "train.epochs=2"),
]


def sweep(root: Path, *more: str) -> int:
    return command_line(SWEEP, [*WORDS, f"root={root}", *more], main)


@pytest.fixture(scope="module")
def root(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of three trials, each of three nets."""
    root = tmp_path_factory.mktemp("several")
    shutil.copy(mlflow_template, root / "mlflow.db")
    assert sweep(root, "study.seeds=3") == 0
    return root


def facts_of(root: Path) -> Facts:
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{root}/smoke/study.db")
    return gather(study, StudyPaths(root, "smoke"))


def leaderboard(folder: Path) -> list[dict[str, str]]:
    with (folder / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def floats(words: str) -> list[float]:
    return [float(word) for word in words.split()]


def trained_alone(root: Path, number: int) -> list[float]:
    """The values of a trial's nets, each trained as a net of its own."""
    config = compose([*WORDS, f"root={root}"])
    job, _ = stored_job(config, number)
    assert job.spec.seeds == 3
    nets: Sequence[Spec] = [
        replace(job.spec, seeds=1, seed=seed)
        for seed in (
            (config.study.seed, number),
            *((config.study.seed, number, 0, k) for k in (1, 2)),
        )
    ]
    return [objective(net, fit(net)) for net in nets]


def test_a_trial_s_value_is_the_mean_of_nets_trained_alone(root: Path) -> None:
    rows = leaderboard(root / "smoke")
    assert len(rows) == 3
    for row in rows:
        values = floats(row["nets"])
        assert values == trained_alone(root, int(row["trial"]))
        assert float(row["valid_accuracy"]) == pytest.approx(statistics.fmean(values), rel=1e-12)
        assert float(row["std"]) == pytest.approx(statistics.stdev(values), abs=1e-12)
    means = [float(row["valid_accuracy"]) for row in rows]
    assert means == sorted(means, reverse=True)


def test_mlflow_shows_mean_spread_and_each_net(root: Path) -> None:
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = {run.data.tags.get("trial", ""): run for run in client.search_runs(ids)}
    for row in leaderboard(root / "smoke"):
        run, values = runs[row["trial"]], floats(row["nets"])
        assert [run.data.metrics[f"objective_net{k}"] for k in (1, 2, 3)] == values
        assert run.data.metrics["objective_std"] == float(row["std"])
        assert run.data.metrics["objective"] == float(row["valid_accuracy"])
        curve = client.get_metric_history(run.info.run_id, "valid_accuracy/net2")
        assert [point.step for point in curve] == [1, 2] and curve[-1].value == values[1]
        assert len(client.get_metric_history(run.info.run_id, "valid_accuracy/std")) == 2


def test_tables_and_report_tell_mean_spread_and_each_net(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = root / "smoke"
    best = leaderboard(folder)[0]
    table = load_table(folder, "smoke")
    frame = trials_frame(table.trials, ["valid_accuracy"]).set_index("number")
    assert frame.loc[int(best["trial"]), "std"] == float(best["std"])
    assert frame.loc[int(best["trial"]), "nets"] == floats(best["nets"])
    text = page(facts_of(root), "1")
    each = ", ".join(f"{100 * value:.2f} %" for value in floats(best["nets"]))
    assert f"the mean of its nets: {each}" in text
    assert text.count(f"{100 * float(best['valid_accuracy']):.2f} % ± ") >= 1
    sure = assess(table, 40)
    spreads = [float(row["std"]) ** 2 for row in leaderboard(folder)]
    assert sure.noise == pytest.approx(math.sqrt(sum(spreads) / 3 / 3))
    assert "between the 3 nets" in sure.noise_source


def test_another_number_of_nets_is_another_study(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(root, "study.seeds=2") == 2
    assert "study.seeds: 3 in the study, 2 now" in capsys.readouterr().err
    assert sweep(root) == 2
    assert "study.seeds: 3 in the study, absent now" in capsys.readouterr().err
    assert sweep(root, "study.name=other", "study.fork=smoke") == 2
    assert "study.seeds must be the same in both studies, got 3" in capsys.readouterr().err


def test_final_nets_are_single_ones(root: Path) -> None:
    config = compose([*WORDS, f"root={root}", "study.seeds=3", "final.members=1", "final.folds=2"])
    data = prepare(config.data, root)
    found = candidates(config)
    for net in in_order(plan_members(config, data, config.overrides, found)):
        assert net.spec.seeds == 1 and net.spec.folds is None
        composed = spec_of(compose(net.overrides), net.spec.data, net.spec.seed)
        assert replace(composed, data=net.spec.data).digest() == net.spec.digest()


def test_folds_are_judged_on_every_image_once(tmp_path: Path) -> None:
    words = ["study.folds=3", "data.train_size=null", "data.valid_size=null", "tracking=none"]
    assert sweep(tmp_path, *words, "train.steps_per_epoch=2", "budget.trials=1") == 0
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/smoke/study.db")
    (trial,) = study.trials
    assert len(trial.user_attrs["nets"]) == 3
    assert trial.value == pytest.approx(statistics.fmean(trial.user_attrs["nets"]), rel=1e-12)
    facts = facts_of(tmp_path)
    assert facts.confidence is not None
    data = prepare(compose(["data=digits"]).data, tmp_path)
    assert facts.confidence.images == len(open_prepared(data.folder, data.digest).labels)


def test_sizes_are_fitted_to_the_nets_of_a_trial() -> None:
    facts = SetFacts(60_000, 6_000, 6_000, (3, 32, 32), 10, False)
    words = ["experiment=contest", "data=cifar10", "budget.minutes=22"]

    def cost(*more: str) -> float:
        """Multiply-adds of a net of a trial."""
        config = compose([*words, *more])
        sized = compose([*sizes(config, facts), *config.overrides])
        images = sized.data.train_size or 50_000
        each = model_cost(sized.model, facts.image_shape, facts.classes)["multiply_adds"]
        return sized.train.epochs * images * each

    assert 3 < cost() / cost("study.seeds=4") < 6


def test_figures_of_nets_by_hand() -> None:
    assert net_figures([0.5]) == {}
    figures = net_figures([0.25, 0.75])
    assert figures == {
        "objective_std": pytest.approx(math.sqrt(0.125)),
        "objective_net1": 0.25,
        "objective_net2": 0.75,
    }
    assert net_values({f"objective_net{k}": float(k) for k in (10, 9, 1)}) == [1.0, 9.0, 10.0]
    assert noise_of_means([{}, {}]) is None
    # variances 0.125 and 0, of two nets each: sqrt(0.0625 / 2)
    assert noise_of_means([figures, net_figures([1.0, 1.0])]) == pytest.approx(math.sqrt(0.03125))


def test_folds_and_seeds_are_refused_where_they_mean_nothing() -> None:
    with pytest.raises(InputError, match=r"study.seeds: must be at least 1"):
        compose(["study.seeds=0"])
    with pytest.raises(InputError, match=r"study.folds: must be at least 2"):
        compose(["study.folds=1"])
