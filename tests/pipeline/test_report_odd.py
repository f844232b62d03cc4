"""What the report says, and leaves out, in studies of unusual parts: truths by hand or by SciPy."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial
from scipy import integrate, stats

from pipeline.events import TrialRetried
from pipeline.files import StudyPaths
from pipeline.journal import EventLog
from pipeline.reporting import next_steps, result_sections, search_sections
from pipeline.reporting.best_trials import assess
from pipeline.reporting.borders import Place, next_space
from pipeline.reporting.effects import effects
from pipeline.reporting.facts import Facts, gather, lockstep
from pipeline.reporting.prospect import _Tail, study_prospect
from pipeline.reporting.regression import fit_study, flat_name, unit_position, value_at
from pipeline.reporting.scores import wilson
from pipeline.reporting.table import StudyTable, TrialRow, table_of_journal
from tests.pipeline.studies import study_ended, study_started, trial_started


def table_of(values: list[float], **suggested: list[str] | list[float]) -> StudyTable:
    rows = [
        TrialRow(
            n,
            f"t{n:03d}",
            "COMPLETE",
            objective=(value,),
            suggested={key: column[n] for key, column in suggested.items()},
        )
        for n, value in enumerate(values)
    ]
    return StudyTable("s", Path("s"), ("maximize",), rows)


@pytest.mark.parametrize(
    ("distribution", "kind", "low"),
    [
        # Half of the range further down, in the range's own measure, ...
        (FloatDistribution(-1.0, 1.0), "float", -2.0),
        (FloatDistribution(1e-3, 0.1, log=True), "float", 1e-4),
        # ... but no count below one, and no number below zero where none was.
        (IntDistribution(8, 64), "int", 1),
        (FloatDistribution(0.0, 1.0), "float", 0.0),
    ],
)
def test_a_range_whose_lower_border_wins_moves_down(
    distribution: FloatDistribution | IntDistribution, kind: str, low: float
) -> None:
    values = [value_at(distribution, place) for place in np.linspace(0, 1, 41)]
    values = [round(value) if kind == "int" else value for value in values]
    table = table_of([1 - n / 100 for n in range(41)], x=values)
    table.distributions = {"x": distribution}
    entry = {kind: [distribution.low, distribution.high]}
    assert next_space({"x": entry}, table, None, {"x": "x"})["x"][kind][0] == pytest.approx(low)


@pytest.mark.parametrize("place", [unit_position, value_at])
def test_words_have_no_place_in_a_range(
    place: Callable[[BaseDistribution, float], float],
) -> None:
    with pytest.raises(TypeError, match="must be of numbers, got CategoricalDistribution"):
        place(CategoricalDistribution(["a", "b"]), 0.5)


def test_equal_values_give_no_parameter_a_share() -> None:
    table = table_of([0.5] * 20, x=[n / 20 for n in range(20)])
    table.distributions = {"x": FloatDistribution(0, 1)}
    regression = fit_study(table, resamples=5)
    assert regression is not None
    assert (regression.explained, regression.shares) == (0.0, (("x", 0.0, 0.0, 0.0),))


def test_a_name_that_no_parameter_answers_to_stays_itself() -> None:
    table = table_of([0.5], **{"momentum.lr": [0.1]})
    table.trials[0].params = {"other_lr": 0.2, "model_dropout": 0.1}
    assert flat_name(table, "momentum.lr") == "momentum_lr", "neither value nor word is the same"
    assert flat_name(table, "adam.lr") == "adam_lr"
    table.trials[0].params["optimizer_lr"] = 0.1
    assert flat_name(table, "momentum.lr") == "optimizer_lr"


def test_what_depends_is_told_of_parameters_of_two_choices_alone() -> None:
    """With three, one difference cannot say it; the other parameter's still does."""
    rng = np.random.default_rng(2)
    inits = [str(word) for word in rng.choice(["he", "lecun", "xavier"], 150)]
    units = [str(word) for word in rng.choice(["relu", "tanh"], 150)]
    gains = [0.02 * (a == "he" and b == "relu") for a, b in zip(inits, units, strict=True)]
    noise = 0.002 * rng.normal(size=150)
    table = table_of([0.9 + g + float(e) for g, e in zip(gains, noise, strict=True)])
    for row, init, unit in zip(table.trials, inits, units, strict=True):
        row.suggested = {"init": init, "unit": unit}
    table.distributions = {
        "init": CategoricalDistribution(["he", "lecun", "xavier"]),
        "unit": CategoricalDistribution(["relu", "tanh"]),
    }
    regression = fit_study(table, resamples=20)
    assert regression is not None
    told = [effect for effect in effects(table, regression) if "depends" in effect.text]
    assert [effect.name for effect in told] == ["unit"]
    assert "relu over tanh depends: with he +" in told[0].text


@pytest.mark.parametrize("shape", [-0.5, 0.0, 0.2])
def test_a_tail_is_scipys_generalised_pareto(shape: float) -> None:
    """Of shape 0 it is the exponential one, which the formula of the others cannot give."""
    tail, truth = _Tail(20, 2.0, shape), stats.genpareto(shape, scale=2.0)
    for excess in (0.1, 1.0, 3.0):
        assert tail.survival(excess) == pytest.approx(truth.sf(excess))
        assert tail.excess(np.array(truth.sf(excess))) == pytest.approx(excess)
    # One of 21 draws lies beyond the largest of 20, and then by the tail.
    expected, _ = integrate.quad(lambda e: truth.sf(e) / 21, 0, truth.ppf(1 - 1e-9))
    assert tail.gain(0.0, 1.0) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("odd", ["no trial", "no more", "two objectives"])
def test_nothing_is_foreseen_without_trials_time_or_a_single_objective(odd: str) -> None:
    table = table_of([*np.random.default_rng(6).beta(60, 2, size=30)])
    assert study_prospect(table, None, 5.0) is not None
    if odd == "no trial":
        table.trials = []
    if odd == "two objectives":
        table.directions = ("maximize", "minimize")
    assert study_prospect(table, None, 0.0 if odd == "no more" else 5.0) is None


def test_a_share_of_no_images_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one image, got 0"):
        wilson(0, 0)


def test_the_spread_of_seeds_is_pooled_over_trials_that_have_one(tmp_path: Path) -> None:
    """A single fresh seed has none. Nor is optimism measured where the search's best was not run
    again.
    """
    study = optuna.create_study(study_name="s", direction="maximize")
    study.add_trials([create_trial(value=value) for value in (0.99, 0.98, 0.97, 0.96)])
    spreads = zip((1, 2, 3), (("nan", 1), (0.001, 3), (0.002, 5)), strict=True)
    lines = [f"1,{n},0.9,0.9,{std},{seeds},0.8,x" for n, (std, seeds) in spreads]
    heads = "rank,trial,search,mean,std,seeds,lower_95,values"
    paths = StudyPaths(tmp_path, "s")
    paths.folder.mkdir()
    (paths.folder / "confirmed.csv").write_text("\n".join([heads, *lines]) + "\n")
    facts = gather(study, paths)
    assert facts.confidence is not None
    pooled = math.sqrt((2 * 0.001**2 + 4 * 0.002**2) / 6)
    assert facts.confidence.noise == pytest.approx(pooled)
    said = result_sections.best(facts)
    assert "Run again with fresh seeds" in said and "Measured optimism" not in said


def test_the_cost_of_lockstep_by_hand() -> None:
    """Two slots; a round of 3 + 3 and 1 + 1 s, then one of 2 s alone, and a trial outside."""
    table = table_of([0.9] * 4)
    for row, number, seconds in zip(
        table.trials, (0, 0, 2, None), ([3.0, 3.0], [1.0, 1.0], [2.0], [9.0]), strict=True
    ):
        row.round = number
        row.history = {epoch: {"epoch_s": s} for epoch, s in enumerate(seconds, 1)}
    assert lockstep(table) is None, "without a journal the slots are not known"
    table.started = study_started(Path("s"))
    cost = lockstep(table)
    assert cost is not None
    assert (cost.slots, cost.trained_s, cost.lockstep_s, cost.free_s) == (2, 10.0, 8.0, 6.0)
    assert cost.waiting == pytest.approx(1 - 10 / 16)
    assert "stood still for 38% of their time" in cost.line() and "(33% more)" in cost.line()


def test_where_the_winners_lie_and_the_space_to_search_next_are_told() -> None:
    places = [
        Place("lr", "optimizer.lr", "upper", 0.8, (0.2, 0.3), at_limit=False),
        Place("dropout", "model.dropout", "lower", 1.0, (0.0, 0.0), at_limit=True),
    ]
    facts = Facts(table_of([0.9]), {}, places=places)
    told = next_steps.following(facts)
    assert "80% of them on the upper border, so better values may lie beyond it" in told
    assert "the best trials lie at 0, at the lower end of what makes sense" in told
    assert "space=next" not in told
    facts.following = {"lr": {"float": [0.1, 0.9]}}
    told = next_steps.following(facts)
    assert "Save it as my_conf/space/next.yaml" in told
    assert "lr: {float: [0.1, 0.9]}" in told and "space=next" in told and "study.name=s-2" in told


def test_a_parameter_of_an_unknown_kind_is_shown_as_it_was_written() -> None:
    """A journal may be of a later version, whose spaces hold more."""
    space = {"a": {"levels": [1, 2]}, "b": {"int": [1, 9], "step": 2}}
    text = search_sections.searched(Facts(table_of([0.9]), {"space": space}))
    assert "levels" in text and "[1, 2]" in text and "1 to 9, step 2" in text


def test_waiting_in_rounds_and_epochs_run_again_are_told(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.handle(study_started(tmp_path))
    for number in (2, 3):
        log.handle(trial_started(number))
    log.handle(TrialRetried(number=3, epoch=2, attempt=1, reason="died", time_s=1.0))
    log.handle(study_ended({}, None))
    log.close()
    table = table_of_journal(tmp_path)
    assert table is not None
    assert [trial.retries for trial in table.trials] == [[], ["died"]]
    text = search_sections.course(Facts(table, {"study": {"deterministic": True}}))
    assert "1 epochs were run again after a worker was lost: trials 3." in text
    assert "Deterministic mode costs waiting: the trials of a round wait for each other." in text
    table.trials = table.trials[:1]
    text = search_sections.course(Facts(table, {}))
    assert "run again" not in text and "Deterministic" not in text
    assert "2.0% of the slots&#x27; time was spent outside training." in text


def test_confidence_without_rivals_says_so() -> None:
    facts = Facts(table_of([0.99, 0.5]), {})
    facts.confidence = assess(facts.table, 1000, seed_noise=1e-6)
    assert "No other trial comes so close" in result_sections.best(facts)
