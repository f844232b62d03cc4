"""What several seeds say of a difference, against values worked by hand."""

import math
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution

from pipeline.reporting.comparison import Estimate, Verdict, estimate, paired_difference
from pipeline.reporting.effects import SHARE, VALUE, paired_effects
from pipeline.reporting.table import StudyTable, TrialRow

T_2 = 4.302652729911275  # 97.5 % of Student's t with 2 degrees of freedom, from a printed table


def test_a_paired_difference_worked_by_hand() -> None:
    # differences 1, 2, 3: mean 2, standard deviation 1, so half an interval is t / sqrt(3)
    found = paired_difference([3.0, 5.0, 7.0], [2.0, 3.0, 4.0])
    assert found.mean == 2.0 and found.count == 3
    assert found.half_width == pytest.approx(T_2 / math.sqrt(3), rel=1e-9)
    assert estimate([1.0, 2.0, 3.0]) == found


def test_pairs_count_where_both_vary_together() -> None:
    """Seeds that differ much, configurations that differ little: only the pairs tell them apart."""
    first, second = [0.90, 0.95, 0.80], [0.89, 0.94, 0.79]
    assert paired_difference(first, second).half_width < 1e-9
    assert estimate(first).half_width > 0.1


def test_equal_values_have_no_width() -> None:
    assert estimate([0.1, 0.1, 0.1]) == Estimate(*[pytest.approx(0.1)] * 3, 3)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [([1.0], [2.0], "at least two"), ([1.0, 2.0], [1.0], "as many values, got 2 and 1")],
)
def test_what_cannot_be_compared_is_refused(
    first: list[float], second: list[float], text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        paired_difference(first, second)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.0, math.inf, Verdict.HOLDS),  # 0.02 +- 0.01 lies above
        (0.01, math.inf, Verdict.HOLDS),  # up to the limit itself
        (0.011, math.inf, Verdict.UNCLEAR),
        (0.031, math.inf, Verdict.FAILS),
        (-math.inf, 0.0, Verdict.FAILS),
        (-math.inf, 0.02, Verdict.UNCLEAR),
        (-math.inf, 0.03, Verdict.HOLDS),
        (-0.05, 0.05, Verdict.HOLDS),
        (-0.025, 0.025, Verdict.UNCLEAR),
    ],
)
def test_the_verdict_is_where_the_interval_lies(low: float, high: float, verdict: Verdict) -> None:
    # in 64ths and the like the sums would be exact; a hair keeps the borders off rounding
    assert Estimate(0.02, 0.01 + 1e-12, 0.03 - 1e-12, 5).verdict(low, high) == verdict


def test_figures_are_written_with_their_intervals() -> None:
    assert SHARE.difference(0.0213, 0.0052) == "+2.13 ± 0.52 points"
    assert SHARE.estimate(0.98711, 0.0052) == "98.71 ± 0.52 %"
    assert VALUE.estimate(0.0321, 0.0012) == "0.0321 ± 0.0012"


def _trial(number: int, init: str, dropout: float, nets: list[float]) -> TrialRow:
    figures = {f"objective_net{k}": value for k, value in enumerate(nets, 1)}
    mean = sum(nets) / len(nets)
    return TrialRow(
        number,
        state="COMPLETE",
        objective=(mean,),
        suggested={"model.init": init, "model.dropout": dropout},
        extra=figures,
    )


def test_the_report_s_sentences_pair_trials_that_are_equal_but_for_one_choice() -> None:
    # he - xavier: 0.01, 0.02 without dropout, 0.03, 0.04 with it: each net's mean over the two is
    # 0.02, 0.03: mean 0.025, s = 0.0070711, t(1) = 12.706205, half = 12.706205 * 0.005 = 0.0635310
    rows = [
        _trial(0, "he", 0.0, [0.91, 0.92]),
        _trial(1, "xavier", 0.0, [0.90, 0.90]),
        _trial(2, "he", 0.4, [0.93, 0.94]),
        _trial(3, "xavier", 0.4, [0.90, 0.90]),
        _trial(4, "zeros", 0.2, [0.10, 0.10]),  # shares its dropout with none
    ]
    words = {
        "model.init": CategoricalDistribution(("he", "xavier", "zeros")),
        "model.dropout": CategoricalDistribution((0.0, 0.2, 0.4)),
    }
    table = StudyTable("made", Path(), ("maximize",), rows, words)
    found = {effect.text: effect for effect in paired_effects(table)}
    effect = found["he over xavier: +2.5 ± 6.4 points"]
    assert effect.size == pytest.approx(0.025)
    assert effect.half_width == pytest.approx(0.0635310, abs=1e-6)
    assert not effect.clear and effect.name == "model.init"
    assert not [text for text in found if "zeros" in text]
    # dropout 0.4 over 0.0: 0.02, 0.02 with he and 0, 0 with xavier: each net's mean is 0.01
    (other,) = (e for e in found.values() if e.name == "model.dropout")
    assert other.text.startswith("0.4 over 0.0: +1.0") and other.clear
    assert other.half_width == pytest.approx(0, abs=1e-12)


def test_trials_of_one_net_have_no_pairs() -> None:
    rows = [_trial(0, "he", 0.0, [0.9]), _trial(1, "xavier", 0.0, [0.8])]
    words = {"model.init": CategoricalDistribution(("he", "xavier"))}
    assert paired_effects(StudyTable("made", Path(), ("maximize",), rows, words)) == []
