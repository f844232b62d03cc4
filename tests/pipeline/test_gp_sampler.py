"""sampler=gp: how trials rank, what it finds, and what it does not try again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import norm

from pipeline.search import gp_sampler
from pipeline.search.gaussian_process import Floats, GaussianProcess
from pipeline.search.gp_sampler import GpSampler, informative
from pipeline.search.normal_scores import normal_scores
from pipeline.search.open_study import quiet_optuna
from pipeline.search.samplers import PerTrialSampler
from pipeline.search.space import Space

SPACE = Space.parse(
    {
        "rate": {"float": [1e-5, 1.0], "log": True},
        "width": {"choice": [8, 16, 32, 64]},
        "kind": {"group": ["a", "b", "c"]},
        "only_b": {"float": [0.0, 1.0], "when": {"kind": "b"}},
    }
)
Score = Callable[[dict[str, Any]], float]


def score(params: dict[str, Any]) -> float:
    """Best is kind b, rate 1e-2, width 32, only_b 0.7: 0."""
    lost = (np.log10(params["rate"]) + 2) ** 2 + abs(np.log2(params["width"]) - 5) / 2
    return -float(lost + (2 * abs(params["only_b"] - 0.7) if params["kind"] == "b" else 4))


def sampler(space: Space = SPACE, seed: int = 0, startup: int = 8) -> BaseSampler:
    return PerTrialSampler(lambda own: GpSampler(space, startup, own), seed)


def searched(
    made: BaseSampler, trials: int, of: Score = score, space: Space = SPACE
) -> optuna.Study:
    quiet_optuna()
    study = optuna.create_study(direction="maximize", sampler=made)
    for _ in range(trials):
        trial = study.ask()
        space.suggest(trial)
        value = of(trial.params)
        failed = not np.isfinite(value)
        study.tell(trial, None if failed else value, TrialState.FAIL if failed else None)
    return study


def test_it_finds_the_best_where_chance_does_not() -> None:
    ours = [searched(sampler(seed=seed), 40).best_value for seed in range(3)]
    chance = [
        searched(optuna.samplers.RandomSampler(seed=seed), 40).best_value for seed in range(3)
    ]
    assert np.median(ours) > -0.1
    assert np.median(chance) < -0.5


def test_a_study_that_minimises_is_searched_as_well() -> None:
    study = optuna.create_study(direction="minimize", sampler=sampler())
    for _ in range(40):
        trial = study.ask()
        SPACE.suggest(trial)
        study.tell(trial, -score(trial.params))
    assert study.best_value < 0.1


def test_no_configuration_comes_twice_until_all_were_tried() -> None:
    small = Space.parse({"a": {"choice": [1, 2, 3, 4]}, "b": {"choice": ["x", "y", "z"]}})
    study = searched(sampler(small, startup=4), 12, lambda p: p["a"], small)
    tried = [tuple(trial.params.items()) for trial in study.trials]
    assert len(set(tried[4:])) == 8
    assert len(searched(sampler(small, startup=4), 20, lambda p: p["a"], small).trials) == 20


def test_what_runs_is_believed_to_end_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Space.parse({"at": {"float": [0.0, 1.0]}})
    study = searched(sampler(line), 9, lambda p: -abs(p["at"] - 0.3), line)
    believed: list[list[float]] = []

    def believing(process: GaussianProcess, points: Floats) -> GaussianProcess:
        believed.append(points.ravel().tolist())
        return process

    monkeypatch.setattr(GaussianProcess, "believing", believing)
    asked = []
    for _ in range(3):
        trial = study.ask()
        line.suggest(trial)
        asked.append(float(trial.params["at"]))
    assert believed == [[], asked[:1], asked[:2]]


def test_where_trials_diverge_no_more_are_tried() -> None:
    def diverging(params: dict[str, Any]) -> float:
        return float("nan") if params["rate"] > 0.01 else float(np.log10(params["rate"]))

    study = searched(sampler(), 40, diverging)
    lost = [trial.state == TrialState.FAIL for trial in study.trials]
    assert sum(lost[20:]) <= 6
    assert study.best_value > -2.3


def test_what_an_enqueued_trial_gives_stays() -> None:
    study = searched(sampler(), 15)
    study.enqueue_trial({"kind": "c", "width": 8})
    trial = study.ask()
    SPACE.suggest(trial)
    assert (trial.params["kind"], trial.params["width"]) == ("c", 8)
    assert "only_b" not in trial.params
    # what is suggested beside them is suggested for these, not for what it would have taken itself
    assert (trial.relative_params["kind"], trial.relative_params["width"]) == ("c", 8)


def ended(state: TrialState, value: float | None, steps: dict[int, float]) -> FrozenTrial:
    return create_trial(state=state, value=value, intermediate_values=steps)


def test_trials_rank_by_state_then_by_how_far_they_came_then_by_value() -> None:
    complete, pruned, failed = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
    trials = [
        ended(pruned, None, {1: 0.9}),
        ended(complete, 0.5, {}),
        ended(failed, None, {3: 0.99}),
        ended(pruned, None, {1: 0.9, 2: 0.1}),
        ended(complete, 0.7, {}),
        ended(pruned, None, {1: float("nan")}),
        ended(complete, 0.7, {}),
    ]
    ranks = np.array([3, 5, 1.5, 4, 6.5, 1.5, 6.5])
    expected = norm.ppf((ranks - 0.5) / 7)
    np.testing.assert_allclose(
        normal_scores(trials, maximize=True), expected / expected.std(), rtol=1e-9
    )
    least = normal_scores(trials, maximize=False)
    assert least[1] > least[4] > least[3] > least[0] > least[2]


def test_equal_trials_are_worth_the_same() -> None:
    trials = [ended(TrialState.COMPLETE, 0.5, {}) for _ in range(5)]
    assert normal_scores(trials, maximize=True).tolist() == [0.0] * 5


def test_of_very_many_trials_the_best_and_some_of_all_ranks_are_learnt_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gp_sampler, "MOST", 10)
    monkeypatch.setattr(gp_sampler, "MOST_BEST", 6)
    scores = np.random.default_rng(0).permutation(30).astype(float)
    chosen = scores[informative(scores)]
    assert chosen.tolist() == [29, 28, 27, 26, 25, 24, 23, 15, 8, 0]
    assert informative(scores[:10]).size == 10
