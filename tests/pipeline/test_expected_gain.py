"""What more trials are likely to bring: against draws whose truth is known, and as the rule that
ends a study.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.reporting.prospect import expected_gain, outlook, prospect
from pipeline.reporting.table import StudyTable, TrialRow
from pipeline.search.gain import FEWEST, GainRule
from pipeline.search.queue import TrialQueue
from pipeline.slots.stop_request import Stop

Draw = Callable[[np.random.Generator, int], np.ndarray]
DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "accuracies": lambda rng, n: 1 - np.exp(rng.normal(-3, 1, size=n)),
    "bounded": lambda rng, n: rng.beta(8, 2, size=n),
}


def true_gain(population: np.ndarray, best: float, more: float) -> float:
    """The mean of max(0, largest of `more` draws - best), exactly, for draws from a large sorted
    population: the integral of 1 - F(y)^more beyond the best.
    """
    beyond = population[population > best]
    places = np.concatenate([[best], beyond])
    below = 1 - (len(beyond) - np.arange(len(beyond))) / len(population)
    return float(np.sum((1 - below**more) * np.diff(places)))


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize(("trials", "more"), [(20, 2.0), (60, 6.0), (60, 60.0)])
def test_the_gain_is_that_of_known_distributions(name: str, trials: int, more: float) -> None:
    rng = np.random.default_rng(1)
    population = np.sort(DRAWS[name](rng, 200_000))
    found, truth = [], []
    for _ in range(150):
        values = DRAWS[name](rng, trials)
        found.append(expected_gain([*values], more))
        truth.append(true_gain(population, float(values.max()), more))
    assert 0.5 < np.mean(found) / np.mean(truth) < 2.0


def test_the_spread_covers_what_comes() -> None:
    rng, inside = np.random.default_rng(2), 0
    for _ in range(50):
        values = rng.normal(size=40)
        said = prospect([*values], 40.0)
        assert said is not None
        came = max(0.0, float(rng.normal(size=40).max() - values.max()))
        inside += abs(came - said.gain) <= 2 * said.spread
    assert inside >= 40
    assert prospect([*values], 40.0) == said, "the same trials say the same"


def test_what_noise_explains_is_no_gain() -> None:
    rng = np.random.default_rng(3)
    part = {}
    for spread in (0.0, 1.0):
        gains = []
        for _ in range(100):
            true = spread * rng.normal(size=40)
            measured = true + rng.normal(size=40)
            alone = expected_gain([*measured], 20.0)
            without = expected_gain([*measured], 20.0, noise=1.0)
            assert alone is not None and without is not None
            gains.append((alone, without))
        part[spread] = np.sum(gains, axis=0)[1] / np.sum(gains, axis=0)[0]
    assert part[0.0] < 0.15, "all trials are alike: what more would bring is luck"
    assert 0.4 < part[1.0] < 0.6, "half of the variance is the configurations' own"


def test_where_the_sampler_has_learnt_only_the_later_trials_count() -> None:
    rng = np.random.default_rng(4)
    early, late = rng.normal(0, 1, 30), rng.normal(3, 0.1, 30)
    both = expected_gain([*early, *late], 6.0)
    alone = expected_gain([*late], 6.0)
    assert both == alone
    assert expected_gain([*late[:15], *early, *late[15:]], 6.0) != alone


def test_trials_that_were_stopped_early_make_another_record_less_likely() -> None:
    values = [*np.random.default_rng(5).normal(size=20)]
    whole = expected_gain(values, 2.0)
    pruned = expected_gain([v for value in values for v in (value, None)], 2.0)
    assert whole is not None and pruned is not None
    assert 0.3 * whole < pruned < 0.8 * whole


def test_too_few_trials_say_nothing_and_equal_ones_promise_nothing() -> None:
    assert expected_gain([0.1, None, 0.2, 0.3], 5.0) is None
    assert prospect([0.1, None, 0.2, 0.3], 5.0) is None
    assert expected_gain([0.5] * 20, 5.0) == 0.0


def table(values: list[float], direction: str = "maximize") -> StudyTable:
    rows = [TrialRow(k, state="COMPLETE", objective=(value,)) for k, value in enumerate(values)]
    return StudyTable("s", Path(), (direction,), rows)


def test_the_sentence_is_in_points_and_falls_where_less_is_better() -> None:
    values = [*np.random.default_rng(6).beta(60, 2, size=30)]
    hour = outlook(table(values), 10_000, 3600.0)
    assert hour.startswith("another hour would bring about +") and hour.endswith(" points")
    assert "as long again" not in hour
    short = outlook(table(values), 10_000, 60.0)
    assert "; as long again (1:00) +" in short
    losses = outlook(table([3 - value for value in values], "minimize"), None, 3600.0)
    assert losses.startswith("another hour would bring about -") and "points" not in losses
    alike = outlook(table([0.94, 0.95, 0.951, 0.952, 0.953]), 288, 60.0)
    assert alike == (
        "what another hour would bring cannot be told: the best trials differ by no more than the "
        "noise of 288 validation images"
    )
    assert outlook(table(values), None, 0.0) == "" == outlook(table([]), None, 60.0)
    top = outlook(table([*values, 0.9999]), None, 1.0)
    assert float(top.split("about +")[1].split()[0]) <= 0.0101, "no accuracy beyond 100 %"


def told(values: list[float | None]) -> list[FrozenTrial]:
    return [
        create_trial(state=TrialState.PRUNED)
        if value is None
        else create_trial(state=TrialState.COMPLETE, value=value)
        for value in values
    ]


def numbered(values: list[float | None]) -> list[FrozenTrial]:
    study = optuna.create_study()
    study.add_trials(told(values))
    return study.trials


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_rule_ends_a_study_that_stands_still(sign: float) -> None:
    rng = np.random.default_rng(7)
    rising = [sign * (0.9 + 0.001 * k + 0.0005 * rng.random()) for k in range(30)]
    still = [*rising, *(sign * (0.93 - 0.0001 * rng.random()) for _ in range(30))]
    rule = GainRule(0.0005, startup=8, sign=sign, images=None)
    assert rule.reason(numbered(rising)) == ""
    said = rule.reason(numbered(still))
    assert said.startswith("another tenth of the time would bring about ")
    assert said.endswith("less than budget.gain=0.0005")
    assert GainRule(None, 8, sign, None).reason(numbered(still)) == ""
    few = [sign * 0.9] * (8 + FEWEST - 1)
    assert rule.reason(numbered([*few])) == "" != rule.reason(numbered([*few, sign * 0.9]))


def test_a_queue_that_may_end_lets_the_trials_in_flight_end() -> None:
    study = optuna.create_study(direction="maximize")
    study.add_trials(told([0.5] * 18))
    queue = TrialQueue(study, 40, Stop(), 3)
    queue.may_end = GainRule(0.001, 8, 1.0, None).reason
    assert queue.ask(lambda trial: []) is not None
    queue.end_early(at_rest=True)
    assert queue.total == 40, "a trial is in flight"
    queue.end_early()
    assert queue.total == 19 and "budget.gain=0.001" in queue.enough
    assert queue.left == 1 and not queue.finished
