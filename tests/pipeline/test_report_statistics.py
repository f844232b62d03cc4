"""The report's statistics against studies whose truth is known."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.reporting.best_trials import assess, optimism
from pipeline.reporting.borders import next_space, places
from pipeline.reporting.course_charts import pareto_front
from pipeline.reporting.effects import Unit, effects, unit_of
from pipeline.reporting.next_steps import space_yaml
from pipeline.reporting.regression import fit_study, unit_position, value_at
from pipeline.reporting.scores import wilson
from pipeline.reporting.table import StudyTable, TrialRow, load_table
from pipeline.search.space import Space
from tests.pipeline.studies import HE_POINTS, LR_RANGES


@pytest.fixture(scope="module")
def made(made_study: Path) -> StudyTable:
    return load_table(made_study, made_study.name)


def table_of_values(
    values: list[float], direction: str = "maximize", **suggested: list[float]
) -> StudyTable:
    rows = [
        TrialRow(
            n,
            name=f"t{n:03d}",
            state="COMPLETE",
            objective=(value,),
            suggested={key: column[n] for key, column in suggested.items()},
        )
        for n, value in enumerate(values)
    ]
    return StudyTable("values", Path("values"), (direction,), rows)


def test_a_known_difference_is_found_within_its_interval(made: StudyTable) -> None:
    regression = fit_study(made)
    assert regression is not None
    size, half = regression.contrast("model.init", "he", "xavier")
    assert abs(size - HE_POINTS) < 1.5 * half
    assert half < HE_POINTS / 2
    opposite, same = regression.contrast("model.init", "xavier", "he")
    assert (opposite, same) == (pytest.approx(-size), pytest.approx(half))


def test_a_known_optimum_is_found(made: StudyTable) -> None:
    found = {
        effect.name: effect
        for effect in effects(made, fit_study(made) or pytest.fail("too few trials"))
    }
    low, high = LR_RANGES["momentum"]
    truth = low * (high / low) ** 0.7
    best = float(found["momentum.lr"].text.split()[2])
    assert 0.5 < best / truth < 2
    assert 0.2 < float(found["model.dropout"].text.split()[2]) < 0.4
    assert found["momentum.lr"].clear
    assert "he over xavier: +0." in found["model.init"].text
    assert not found["optimizer"].clear, "both optimizers are equally good in the made study"


def test_disasters_do_not_decide(made: StudyTable) -> None:
    """Huber's weights: five he-trials that fall to 10 % leave the difference where it was."""
    rows = [TrialRow(**{**vars(row)}) for row in made.trials]
    spoiled = [row for row in rows if row.objective and row.suggested["model.init"] == "he"][:5]
    for row in spoiled:
        row.objective = (0.1,)
    regression = fit_study(
        StudyTable(made.name, made.folder, made.directions, rows, made.distributions)
    )
    assert regression is not None
    assert abs(regression.contrast("model.init", "he", "xavier")[0] - HE_POINTS) < HE_POINTS / 2


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Thirty studies without any effect: a 95 % interval excludes nothing-at-all rarely."""
    rng = np.random.default_rng(1)
    excluded = 0
    for _ in range(30):
        words = [str(word) for word in rng.choice(["a", "b"], 40)]
        table = table_of_values([0.9 + 0.01 * float(v) for v in rng.normal(size=40)])
        for row, word in zip(table.trials, words, strict=True):
            row.suggested = {"word": word}
        table.distributions = {"word": CategoricalDistribution(["a", "b"])}
        regression = fit_study(table, resamples=60)
        assert regression is not None
        size, half = regression.contrast("word", "a", "b")
        excluded += abs(size) > half
    assert excluded <= 6


def test_too_few_trials_are_not_explained() -> None:
    table = table_of_values([0.9, 0.91, 0.92], x=[0.1, 0.2, 0.3])
    table.distributions = {"x": FloatDistribution(0, 1)}
    assert fit_study(table) is None


def test_an_interaction_is_told_and_a_constant_difference_is_not() -> None:
    rng = np.random.default_rng(2)

    def study(depends: bool) -> StudyTable:
        table = table_of_values([0.0] * 80)
        for row in table.trials:
            row.suggested = {
                "init": str(rng.choice(["he", "xavier"])),
                "activation": str(rng.choice(["relu", "tanh"])),
            }
            gain = (
                0.02
                if row.suggested["init"] == "he"
                and (row.suggested["activation"] == "relu" or not depends)
                else 0.0
            )
            row.objective = (0.9 + gain + 0.002 * float(rng.normal()),)
        table.distributions = {
            "init": CategoricalDistribution(["he", "xavier"]),
            "activation": CategoricalDistribution(["relu", "tanh"]),
        }
        return table

    def told(table: StudyTable) -> list[str]:
        regression = fit_study(table)
        assert regression is not None
        return [effect.text for effect in effects(table, regression) if "depends" in effect.text]

    dependent = told(study(True))
    assert any(
        "he over xavier depends: with relu +1.98" in text and "with tanh +0.0" in text
        for text in dependent
    )
    assert told(study(False)) == []


@pytest.mark.parametrize(
    "distribution",
    [
        FloatDistribution(1e-4, 1e-1, log=True),
        FloatDistribution(0, 0.6),
        IntDistribution(8, 64, log=True),
        IntDistribution(1, 9),
    ],
)
def test_places_in_a_range_and_back(distribution: FloatDistribution | IntDistribution) -> None:
    assert unit_position(distribution, distribution.low) == pytest.approx(0.0)
    assert unit_position(distribution, distribution.high) == pytest.approx(1.0)
    assert value_at(
        distribution, unit_position(distribution, 3e-2 if distribution.low < 1 else 8)
    ) == pytest.approx(3e-2 if distribution.low < 1 else 8)


def test_wilson_by_hand() -> None:
    """Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662; 0 of 20 is 0 to 0.1611."""
    assert wilson(81, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson(0, 20) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.1611, abs=5e-5))


def test_the_winner_of_pure_noise_is_flattered_by_the_expected_maximum() -> None:
    """All true values equal: the excess is the mean of the largest of n normal values times the
    noise (n = 50: 2.249).
    """
    rng = np.random.default_rng(3)
    found = np.mean([optimism(0.9 + 0.01 * rng.normal(size=100), 0.01, seed=n) for n in range(20)])
    assert 0.01 * 1.5 < found < 0.01 * 2.6


def test_without_noise_there_is_no_optimism_and_far_apart_values_have_little() -> None:
    assert optimism([0.9, 0.91, 0.95], 0.0) == pytest.approx(0.0, abs=1e-9)
    assert optimism(np.linspace(0, 1, 20), 0.001) < 0.001


def test_confidence_counts_rivals_and_prefers_measured_noise() -> None:
    table = table_of_values([0.99, 0.989, 0.95])
    sure = assess(table, 1000)
    assert sure.value == 0.99
    assert sure.interval == wilson(990.0, 1000)
    assert sure.rivals == (1,)
    assert assess(table, 1000, seed_noise=1e-5).rivals == ()
    assert assess(table, None).optimism is None


def test_confidence_needs_a_complete_trial() -> None:
    with pytest.raises(ValueError, match="complete trial, got none"):
        assess(table_of_values([]), 100)


SPACE = {
    "model.filters": {"int": [8, 64], "log": True},
    "model.dropout": {"float": [0.0, 0.6], "step": 0.05},
    "optimizer": {"group": ["momentum", "adam"]},
    "momentum.lr": {
        "path": "optimizer.lr",
        "float": [1e-3, 0.3],
        "log": True,
        "when": {"optimizer": "momentum"},
    },
    "adam.lr": {
        "path": "optimizer.lr",
        "float": [1e-4, 1e-2],
        "log": True,
        "when": {"optimizer": "adam"},
    },
}


def bordering(direction: str = "maximize") -> StudyTable:
    """The best trials have many filters and a dropout of none; adam is clearly behind."""
    rng = np.random.default_rng(4)
    table = table_of_values([0.0] * 60, direction)
    sign = 1.0 if direction == "maximize" else -1.0
    for row in table.trials:
        filters, dropout = int(rng.integers(8, 65)), round(0.05 * int(rng.integers(0, 13)), 2)
        if row.number % 2:  # as a sampler does, half of the trials are drawn where it is good
            filters, dropout = int(rng.integers(60, 65)), 0.05 * int(rng.integers(0, 2))
        optimizer = str(rng.choice(["momentum", "adam"]))
        row.suggested = {
            "model.filters": filters,
            "model.dropout": dropout,
            "optimizer": optimizer,
            f"{optimizer}.lr": 0.005,
        }
        good = 0.05 * math.log(filters / 8) - 0.2 * dropout - 0.05 * (optimizer == "adam")
        row.objective = (0.8 + sign * (good + 0.001 * float(rng.normal())),)
    table.distributions = {
        "model.filters": IntDistribution(8, 64, log=True),
        "model.dropout": FloatDistribution(0.0, 0.6, step=0.05),
        "optimizer": CategoricalDistribution(["momentum", "adam"]),
        "momentum.lr": FloatDistribution(1e-3, 0.3, log=True),
        "adam.lr": FloatDistribution(1e-4, 1e-2, log=True),
    }
    return table


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_borders_are_seen_and_ranges_moved(direction: str) -> None:
    table = bordering(direction)
    found = {place.name: place for place in places(table, {"momentum.lr": "optimizer.lr"})}
    assert found["model.filters"].side == "upper"
    assert not found["model.filters"].at_limit
    assert (found["model.dropout"].side, found["model.dropout"].at_limit) == ("lower", True)
    assert found["momentum.lr"].side == ""
    following = next_space(
        SPACE,
        table,
        fit_study(table),
        {name: entry.get("path", name) for name, entry in SPACE.items()},
    )
    assert following["model.filters"]["int"][1] > 64
    assert following["model.dropout"]["float"][0] == 0.0
    assert following["model.dropout"]["float"][1] < 0.6
    assert following["optimizer"]["group"] == ["momentum"]
    assert "adam.lr" not in following, "the rate of a dropped optimizer goes with it"


def test_the_next_space_is_one_that_the_sweep_reads() -> None:
    table = bordering()
    paths = {name: entry.get("path", name) for name, entry in SPACE.items()}
    text = space_yaml(next_space(SPACE, table, fit_study(table), paths))
    assert set(yaml.safe_load(text)) == set(SPACE) - {"adam.lr"}
    assert Space.parse(yaml.safe_load(text)) is not None


def test_the_pareto_front_by_hand() -> None:
    table = table_of_values([0.9, 0.95, 0.93, 0.99, 0.95])
    costs = [1.0, 3.0, 2.0, 9.0, 2.5]
    front = pareto_front(table.complete, lambda row: costs[row.number], maximize=True)
    assert [row.number for row in front] == [0, 2, 4, 3]


def test_differences_are_said_in_points_with_the_digits_that_their_interval_allows() -> None:
    assert Unit(100.0, " points").difference(0.0021, 0.0005) == "+0.210 ± 0.050 points"
    assert Unit(100.0, " points").difference(-0.021, 0.012) == "-2.1 ± 1.2 points"
    assert unit_of(table_of_values([0.5, 0.9])).factor == 100.0
    assert unit_of(table_of_values([0.5, 3.0])).factor == 1.0
    assert unit_of(table_of_values([0.5], "minimize")).factor == 1.0
