"""Every result of the source systems is a preset that composes to what the source says; the
expectations are written by hand.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core.architectures import build_model
from cnn_core.data.splits import split
from cnn_core.spec import DataSpec, Spec
from pipeline.claims_page.claims_file import read_claims
from pipeline.configuration import compose, conf_dir, spec_of
from pipeline.search.grid_sampler import grid
from pipeline.search.problem import Problem, of_the_net
from pipeline.search.space import searched

MNIST = DataSpec(folder="none", digest="none", image_shape=(1, 28, 28), classes=10)


@dataclass(frozen=True)
class Told:
    """What a source says of a result: the layers' outputs, the optimizer, the images."""

    sizes: list[int]  # values a layer that learns gives out
    optimizer: dict[str, Any]
    batch: int
    steps: int  # in all, of one net
    images: int | None = None  # None: all training images
    init: tuple[str, float] = ("he", 0.01)
    configurations: int = 2
    choice: list[str] = field(default_factory=list)  # of the grid


ADAM = {"name": "adam", "lr": 0.001}
CONTEST = [32 * 28 * 28, 10]
FINDING = {"optimizer": ADAM, "batch": 100, "steps": 500, "images": 10_000}
TOLD = {
    "simple_convnet": Told(
        [30 * 24 * 24, 100, 10],
        ADAM,
        100,
        5000,
        init=("normal", 0.01),
        choice=["model=simple_convnet"],
    ),
    "mlp": Told([100, 10], ADAM, 100, 5000, choice=["model.hidden=[100]"]),
    "vanishing_gradients": Told(
        [40, 20, 10],
        {"name": "sgd", "lr": 0.1},
        100,
        2000,
        None,
        ("normal", 0.01),
        20,
        ["model.activation=sigmoid", "model.init=normal"],
    ),
    "batch_normalization": Told(
        [40, 40, 20, 20, 10],
        {"name": "sgd", "lr": 0.1},
        100,
        2000,
        None,
        ("xavier", 0.01),
        6,
        ["model.batch_norm=before"],
    ),
    "optimizers": Told(
        [40, 20, 10],
        {"name": "rmsprop", "lr": 0.01, "decay": 1.0, "eps": 1e-7, "eps_outside": True},
        100,
        1000,
        None,
        ("normal", 0.01),
        28,
        ["optimizer=rmsprop", "optimizer.lr=0.01", "optimizer.decay=1.0"],
    ),
    "overfitting": Told(
        [100] * 6 + [10],
        {"name": "sgd", "lr": 0.1},
        100,
        1000,
        300,
        ("he", 0.01),
        28,
        ["regularizer=l1", "regularizer.l1=0.004", "optimizer.lr=0.1", "model.dropout=0.08"],
    ),
    "small_convnet": Told(
        [30 * 24 * 24, 100, 10],
        ADAM,
        100,
        1000,
        5000,
        ("normal", 0.01),
        choice=["model=simple_convnet"],
    ),
    "two_conv": Told(
        [20 * 24 * 24, 50 * 8 * 8, 500, 10],
        {"name": "sgd", "lr": 0.005},
        5,
        100_000,
        10_000,
        choice=["schedule.gamma=0.9"],
    ),
    "lp_pooling": Told(
        [20 * 24 * 24, 50 * 8 * 8, 500, 10],
        ADAM,
        100,
        300,
        10_000,
        ("he", 0.01),
        4,
        ["model.pool_p=4.0"],
    ),
    "three_conv": Told(
        [21_632, 7_744, 1_152, 64, 10], ADAM, 100, 500, 10_000, choice=["model.padding=valid"]
    ),
    "low_rank": Told(
        [8 * 24 * 24, 30 * 24 * 24, 8, 100, 10],
        ADAM,
        100,
        500,
        10_000,
        ("he", 0.01),
        6,
        ["model.rank=8"],
    ),
    "contest_report": Told(CONTEST, ADAM, 100, 15_000, choice=["model.dropout=0.4"]),
    "report_convolution": Told([100, 10], **FINDING, choice=["model=mlp", "model.hidden=[100]"]),
    "report_width": Told(
        [96 * 28 * 28, 10], **FINDING, configurations=3, choice=["model.filters=96"]
    ),
    "report_batch_norm": Told(
        [32 * 28 * 28] * 2 + [10], **FINDING, configurations=4, choice=["model.batch_norm=before"]
    ),
    "report_pooling": Told(CONTEST, **FINDING, choice=["model.pool=1"]),
    "report_initial_scale": Told(
        CONTEST, **FINDING, init=("normal", 10.0), configurations=4, choice=["model.init_std=10.0"]
    ),
    "report_input_scale": Told(CONTEST, **FINDING, choice=["model.input_scale=255.0"]),
    "report_adam_sgd": Told(
        CONTEST,
        {"name": "sgd", "lr": 0.1},
        100,
        500,
        10_000,
        ("normal", 0.001),
        6,
        ["optimizer=sgd", "optimizer.lr=0.1", "model.init=normal"],
    ),
    "report_translation": Told(CONTEST, **FINDING, choice=["augment=shift"]),
    "report_ensemble": Told(
        [32 * 28 * 28, 10], **FINDING, configurations=4, choice=["model.kernel=3", "model.pool=4"]
    ),
}


def composed(name: str) -> Spec:
    return spec_of(compose([f"experiment={name}", *TOLD[name].choice]), MNIST, (0,))


@pytest.mark.parametrize("name", TOLD)
def test_a_preset_is_what_its_source_says(name: str) -> None:
    told, spec = TOLD[name], composed(name)
    net = build_model(spec.model, (1, 28, 28), 10, np.random.default_rng(0))
    learning = [layer for layer in net.layers if layer.params]
    assert [int(np.prod(layer.out_shape)) for layer in learning] == told.sizes
    assert told.optimizer.items() <= spec.optimizer.items()
    assert (spec.train.batch_size, spec.data.train_size) == (told.batch, told.images)
    steps = spec.train.steps_per_epoch or -(-(told.images or 50_000) // told.batch)
    assert steps * spec.train.epochs == told.steps
    assert spec.model.init == told.init[0]
    assert told.init[0] != "normal" or spec.model.init_std == told.init[1]


@pytest.mark.parametrize("name", TOLD)
def test_a_preset_is_a_grid_with_several_seeds_ranked_by_their_mean(name: str) -> None:
    config = compose([f"experiment={name}"])
    points = grid(searched(config)[0])
    assert len(points) == TOLD[name].configurations == config.budget.trials
    assert config.data.name == "mnist" and config.sampler.name == "grid"
    assert config.study.seeds >= 3 and config.study.paired and config.study.name == name
    assert config.study.objectives == ["valid_accuracy"]


def test_what_only_one_source_asks_for() -> None:
    regularized = composed("overfitting")
    assert (regularized.regularizer.l1, regularized.model.dropout) == (0.004, 0.08)
    assert regularized.data.train_choice == "first"
    decayed = composed("two_conv")
    assert decayed.schedule["name"] == "exponential" and decayed.regularizer.l2 == 0.0001
    assert composed("contest_report").train.sampling == "replacement"
    assert composed("contest_report").train.select == "best"
    assert composed("low_rank").train.full_rank_epochs == 4
    assert composed("report_translation").augment["shift"] == 0.075
    adam = ["optimizer=adam", "optimizer.eps=1e-7", "optimizer.eps_corrected=false"]
    assert compose(["experiment=optimizers", *adam]).optimizer["eps_corrected"] is False


def test_every_preset_of_a_claim_is_among_them_and_each_has_a_claim() -> None:
    claims = read_claims(Path(conf_dir()).parent / "docs" / "claims.yaml")
    assert set(claims.presets) == set(TOLD)


def test_the_first_images_are_the_first_of_the_training_split() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 600)
    wanted = {"folder": "", "digest": "", "image_shape": (1, 8, 8), "classes": 10}
    every = split(labels, DataSpec(**wanted))
    first = split(labels, DataSpec(**wanted, train_size=60, train_choice="first"))
    assert first.train.tolist() == every.train[:60].tolist()
    assert first.valid.tolist() == every.valid.tolist()
    assert split(labels, DataSpec(**wanted, train_size=60)).train.tolist() != first.train.tolist()


def test_paired_trials_begin_alike_and_others_do_not() -> None:
    def seeds(*overrides: str) -> list[tuple[int, ...]]:
        config = compose(["experiment=lp_pooling", *overrides])
        problem = Problem(config, searched(config)[0], MNIST)
        return [problem.job(number, ["model.pool_p=2.0"]).seed for number in (0, 3)]

    assert seeds() == [(0, 0), (0, 0)]
    assert seeds("study.paired=false", "study.seed=5") == [(5, 0), (5, 3)]
    # what trains a trial alone must say it as well
    assert of_the_net(["study.paired=true", "slots.n=2"]) == ("study.paired=true",)


def test_the_reports_nets_are_trained_better_on_its_own_net_images_and_epochs() -> None:
    config = compose(["experiment=contest_report"])
    assert config.final.epochs == config.train.epochs
    changed = {line.partition("=")[0].partition(".")[0] for line in config.final.overrides}
    assert changed == {"optimizer", "schedule", "train"}
