"""Sizes that follow from the data: by hand, for sets of every size; and the presets that use them,
run whole on a tiny set in colour.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_core.data.prepared import write_prepared
from cnn_core.spec import DataSpec, Spec
from pipeline import sweep
from pipeline.configuration import SWEEP, command_line, compose
from pipeline.search.fitting import (
    MOST_SEARCHED,
    Pace,
    SetFacts,
    facts_of,
    fitted,
    measured_pace,
    sizes,
    with_sizes,
)
from pipeline.search.problem import costs_of
from pipeline.search.space import searched
from tests.pipeline.test_budget import Stopwatch

PRESETS = ("contest", "contest_quick")


def facts(
    images: int,
    shape: tuple[int, int, int] = (1, 28, 28),
    classes: int = 10,
    *,
    largest: int | None = None,
    on_black: bool = True,
) -> SetFacts:
    share = images // classes
    return SetFacts(images, share, largest or share, shape, classes, on_black and shape[0] == 1)


def fit(found: SetFacts, *overrides: str) -> dict[str, str]:
    config = compose(["experiment=contest", *overrides])
    return dict(text.split("=", 1) for text in sizes(config, found))


def test_a_small_set_has_small_batches_many_epochs_and_a_third_to_validate() -> None:
    small = fit(facts(100, (1, 8, 8)))
    assert small["train.batch_size"] == "16"
    assert float(small["data.valid_fraction"]) == pytest.approx(0.33)
    assert small["train.epochs"] == "60"
    assert (small["final.folds"], small["final.epochs"]) == ("4", "100")
    assert "data.train_size" not in small and "data.valid_size" not in small
    assert "model.filters" not in small, "all widths can be searched"


def test_a_large_set_is_searched_on_a_part_of_its_images() -> None:
    large = fit(facts(60_000))
    assert large["data.valid_size"] == "5000"
    assert large["train.batch_size"] == "100"
    # 22 minutes x 60 s x 2 cores x 45e9 x 0.85 are 101e12 operations, 8.4e12 a trial of 12: 48,200
    # images of the pyramid of 32 filters (6 x 29.13e6 operations), but 85,300 of 24 (6 x 16.45e6).
    assert large["model.filters"] == "24"
    assert (large["train.epochs"], large["data.train_size"]) == ("6", "14000")
    # 85 minutes for 2 x (1 + 0.34) nets are 145e12 operations each, in which a net should see all
    # images 5 x (145 / 15)^(1/4) = 8.8 times: 40 filters (6 x 45.45e6) do 8.9, 48 do 6.2.
    assert "model.filters=40" in json.loads(large["final.overrides"])


def test_what_means_nothing_to_the_images_is_fixed() -> None:
    grey, colour = fit(facts(5_000)), fit(facts(5_000, (3, 32, 32)))
    assert grey["augment.colour"] == "0.0" and "model.frame" not in grey
    assert colour["model.frame"] == "none" and "augment.colour" not in colour
    assert fit(facts(5_000, on_black=False))["model.frame"] == "none"


@pytest.mark.parametrize("objective", ["accuracy", "macro_f1", "balanced_accuracy"])
def test_classes_are_weighted_where_the_measure_asks_for_it(objective: str) -> None:
    even, uneven = facts(5_000), facts(5_000, largest=2_000)
    key = f"study.objective={objective}"
    assert "train.class_weights" not in fit(even, key)
    asked = objective != "accuracy"
    assert ("train.class_weights" in fit(uneven, key)) is asked


@pytest.mark.parametrize(
    ("words", "found", "absent"),
    [
        # a sixth validates 60,000: 50,000 train, of which so many are searched on
        (("budget.minutes=null",), {"data.train_size": MOST_SEARCHED}, "train.epochs"),
        (("final.minutes=null",), {"final.epochs": 30}, "final.overrides"),
        (("final.refit=0",), {"train.batch_size": 100}, "final.folds"),
    ],
)
def test_what_nothing_asks_for_is_not_sized(
    words: tuple[str, ...], found: dict[str, int], absent: str
) -> None:
    large = fit(facts(60_000))
    assert absent in large, "it is sized where it is asked for"
    fewer = fit(facts(60_000), *words)
    assert absent not in fewer
    assert {key: fewer[key] for key in found} == {key: str(n) for key, n in found.items()}


def test_what_is_given_stays() -> None:
    given = ("train.batch_size=50", "model.filters=20", "train.epochs=3")
    found = fit(facts(60_000), *given)
    assert not {"train.batch_size", "model.filters", "train.epochs"} & set(found)
    assert "final.overrides" not in found, "a given width holds for the final nets as well"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "found",
    [
        facts(100, (1, 8, 8), 2),
        facts(400, (3, 8, 8), 100),
        facts(60_000),
        facts(124_800, classes=26),
        facts(50_000, (3, 32, 32)),
        facts(300_000, (3, 32, 32), 1000),
        facts(100_000, (3, 96, 96), 20),
        facts(20_000, (3, 128, 128), 5),
    ],
)
def test_every_set_gets_a_configuration_that_composes(preset: str, found: SetFacts) -> None:
    config = compose([f"experiment={preset}"])
    whole = with_sizes(config, sizes(config, found))
    space, _ = searched(whole)
    trials, notes = space.enqueued(whole.study.enqueue)
    assert len(trials) >= 4, "the decisive changes of an image are tried first"
    assert not any("lies outside" in note for note in notes)
    assert 1 <= (whole.data.train_size or 1) < found.images
    for overrides in space.corners(dearest=True):
        compose([*whole.overrides, *overrides])


def coloured(folder: Path, images: int = 120) -> Path:
    """Write squares in three places and colours on noise."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(images) % 3)
    pictures = rng.integers(0, 90, (images, 12, 12, 3), dtype=np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[2 + 2 * label : 6 + 2 * label, 3:9, label] += 120
    path = folder / "coloured.npz"
    np.savez(path, images=pictures, labels=labels)
    return path


def test_the_facts_of_a_set(tmp_path: Path) -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 20])
    images = np.zeros((60, 1, 8, 8), np.uint8)
    images[:, :, 2:6, 2:6] = 200
    for border, on_black in ((0, True), (90, False)):
        images[:, :, 0] = images[:, :, -1] = border
        folder = tmp_path / str(border)
        digest = write_prepared(folder, images, labels, classes=3, name="made")
        data = DataSpec(folder=str(folder), digest=digest, image_shape=(1, 8, 8), classes=3)
        assert facts_of(data) == SetFacts(60, 10, 30, (1, 8, 8), 3, on_black)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_tiny_contest_in_colour_from_a_file_to_a_bundle(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        f"experiment={preset}",
        "data=npz",
        f"data.file={coloured(tmp_path)}",
        f"root={tmp_path / 'out'}",
        "tracking=none",
        "study.objective=log_loss",
        "budget.trials=2",
        "train.epochs=2",
        "model.filters=4",
        "final.epochs=2",
        "final.minutes=null",
        "slots.n=1",
    ]
    assert command_line(SWEEP, arguments, sweep.main) == 0
    printed = capsys.readouterr().out
    assert "fitted to the data: data.valid_fraction=0.33 train.batch_size=16" in printed
    study = tmp_path / "out" / f"{preset}_npz"
    assert (study / "bundle" / "manifest.json").exists()
    header, best, second = (study / "leaderboard.csv").read_text().splitlines()[:3]
    column = header.split(",").index("valid_log_loss")
    assert float(best.split(",")[column]) <= float(second.split(",")[column]), "less is better"
    kept = json.loads((study / "fitted.json").read_text())["fitted"]
    assert "train.batch_size=16" in kept
    for number in (0, 1):
        rows = (study / "trials" / str(number) / "overrides.yaml").read_text()
        assert "train.batch_size=16" in rows, "a trial composes without the data"


def test_a_study_keeps_what_was_fitted_first(tmp_path: Path) -> None:
    labels, images = np.arange(60) % 3, np.zeros((60, 1, 8, 8), np.uint8)
    digest = write_prepared(tmp_path / "set", images, labels, classes=3, name="made")
    data = DataSpec(folder=str(tmp_path / "set"), digest=digest, image_shape=(1, 8, 8), classes=3)
    config = compose(["experiment=contest", f"root={tmp_path}"])
    first, _ = fitted(config, data)
    path = first.paths.folder / "fitted.json"
    path.write_text(path.read_text().replace("train.batch_size=16", "train.batch_size=12"))
    again, lines = fitted(config, data)
    assert again.train.batch_size == 12 and "train.batch_size=12" in lines[0]
    path.write_text(path.read_text().replace(digest, "0" * 64))
    assert fitted(config, data)[0].train.batch_size == 16, "other data are fitted anew"


def test_a_pace_follows_the_machine_in_steps() -> None:
    usual = Pace.of(100.0, 2)
    assert usual == Pace() and Pace.of(105.0, 2) == usual, "most days give the same sizes"
    assert Pace.of(200.0, 2).flops == pytest.approx(45e9 * 1.25**3)
    assert Pace.of(0.0, 1).flops > 0
    assert usual.operations(1.0, at_once=4) == pytest.approx(2 * 60 * 45e9 * 0.85)
    assert usual.operations(1.0, at_once=1) == pytest.approx(60 * 45e9 * 0.85)


def test_a_pace_is_measured_by_real_batches(tmp_path: Path) -> None:
    """A machine whose matrix products promise four times what training reaches gets what fits."""
    labels, images = np.arange(6000) % 10, np.zeros((6000, 1, 28, 28), np.uint8)
    digest = write_prepared(tmp_path / "set", images, labels, classes=10, name="made")
    data = DataSpec(
        folder=str(tmp_path / "set"), digest=digest, image_shape=(1, 28, 28), classes=10
    )
    found = facts_of(data)
    for slower in (1, 4):
        config = compose(["experiment=contest", f"root={tmp_path / str(slower)}"])

        def step_s(spec: Spec, slower: int = slower) -> float:
            return 6 * costs_of(spec)["multiply_adds"] * spec.train.batch_size * slower / 45e9

        slots: Any = [Stopwatch(step_s), Stopwatch(step_s, index=1)]
        pace = measured_pace(config, data, found, Pace(), slots)
        assert pace.flops == pytest.approx(45e9 / slower, rel=0.12) and pace.slots == 2
        config.paths.folder.mkdir(parents=True)
        again, _ = fitted(config, data, Pace(), slots)
        assert again.overrides == with_sizes(config, sizes(config, found, pace)).overrides
