"""Samplers: fresh for each trial from (seed, number), a grid that knows conditions, refusal of what
is not installed.
"""

import importlib.util
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from cnn_core.errors import InputError
from pipeline.search.grid_sampler import Grid, grid, grid_values
from pipeline.search.samplers import NEEDS, make_sampler
from pipeline.search.space import Space

SPACE = Space.parse(
    {
        "a": {"int": [1, 8], "log": True},
        "b": {"float": [0.0, 1.0], "step": 0.5},
        "kind": {"choice": ["x", "y"]},
        "only_x": {"float": [0.1, 0.9], "when": {"kind": "x"}},
    }
)
SETTINGS = {
    "tpe": SimpleNamespace(name="tpe", startup_trials=4, candidates=8),
    "random": SimpleNamespace(name="random"),
    "grid": SimpleNamespace(name="grid"),
    "cmaes": SimpleNamespace(name="cmaes", startup_trials=2, sigma=None),
    "nsga2": SimpleNamespace(name="nsga2", population=4),
    "gp": SimpleNamespace(name="gp", startup_trials=4),
}


def score(params: dict[str, Any]) -> float:
    return float(params["a"]) * (1 + params["b"]) + params.get("only_x", 0.0)


def run(sampler: Callable[[], BaseSampler], storage: str | None, upto: int) -> list[dict[str, Any]]:
    """Ask and tell until the study has `upto` trials, as a resumed coordinator does: with a new
    sampler.
    """
    study = optuna.create_study(
        storage=storage,
        study_name="s",
        load_if_exists=True,
        direction="maximize",
        sampler=sampler(),
    )
    while len(study.trials) < upto:
        trial = study.ask()
        SPACE.suggest(trial)
        study.tell(trial, score(trial.params))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", ["tpe", "random", "grid", "nsga2", "cmaes", "gp"])
def test_a_resumed_study_goes_on_as_if_it_had_never_stopped(name: str, tmp_path: Any) -> None:
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        pytest.skip("the library cmaes is not installed")

    def sampler() -> BaseSampler:
        return make_sampler(SETTINGS[name], 3, SPACE)

    whole = run(sampler, None, 12)
    storage = f"sqlite:///{tmp_path / 's.db'}"
    run(sampler, storage, 5)
    assert run(sampler, storage, 12) == whole
    if name != "grid":
        distinct = {tuple(sorted(params.items())) for params in whole}
        assert len(distinct) > 6, "suggestions repeat"


def test_seeds_differ() -> None:
    first, second = (
        run(lambda s=seed: make_sampler(SETTINGS["random"], s, SPACE), None, 5) for seed in (1, 2)
    )  # type: ignore[misc]
    assert first != second


def test_a_grid_holds_every_distinct_configuration_once() -> None:
    points = grid(SPACE)
    a, b, only_x = [1, 2, 4, 8], [0.0, 0.5, 1.0], 4
    assert len(points) == len(a) * len(b) * (only_x + 1)
    assert {point["a"] for point in points} == set(a)
    assert {point["b"] for point in points} == set(b)
    assert all(("only_x" in point) == (point["kind"] == "x") for point in points)
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)


def test_a_grid_sampler_tries_each_point_once() -> None:
    points = grid(SPACE)
    params = run(lambda: make_sampler(SETTINGS["grid"], 0, SPACE), None, len(points))
    assert sorted(tuple(sorted(p.items())) for p in params) == sorted(
        tuple(sorted(p.items())) for p in points
    )


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ({"float": [0.1, 0.1]}, [0.1]),
        ({"float": [0.001, 1.0], "log": True}, [0.001, 0.01, 0.1, 1.0]),
    ],
)
def test_the_values_of_a_range_are_distinct(line: dict[str, Any], values: list[float]) -> None:
    assert grid_values(Space.parse({"a": line}).parameters[0]) == pytest.approx(values)


def finish(study: optuna.Study, sampler: BaseSampler) -> list[dict[str, Any]]:
    """Try what is to come of a study on the grid of SPACE; return the parameters of all trials."""
    study.sampler = sampler
    for _ in range(Grid(SPACE).to_come(study.trials, [])):
        trial = study.ask()
        SPACE.suggest(trial)
        if trial.number % 3:
            study.tell(trial, score(trial.params))
        else:
            study.tell(trial, state=TrialState.FAIL)
    assert Grid(SPACE).to_come(study.trials, []) == 0
    return [trial.params for trial in study.trials]


def points_of(params: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(sorted(point.items())) for point in params)


def test_a_point_is_taken_by_any_trial_that_has_its_values() -> None:
    """Enqueued as a whole or in part, drawn by another sampler, or failed."""
    study = optuna.create_study(direction="maximize")
    distributions = SPACE.distributions()
    known = {"a": 2, "b": 0.5, "kind": "y"}
    of = {name: distributions[name] for name in known}
    study.add_trial(create_trial(state=TrialState.FAIL, params=known, distributions=of))
    points = Grid(SPACE).points
    between = next(point for point in points if 0.2 < point.get("only_x", 0) < 0.5)
    typed = {**between, "only_x": round(float(between["only_x"]), 12)}
    for first in (typed, {"a": 4, "kind": "y"}, {"a": 4, "b": 0.5, "kind": "y"}, {"kind": "y"}):
        study.enqueue_trial(first)
    tried = finish(study, make_sampler(SETTINGS["grid"], 0, SPACE))
    tried[1] = between if tried[1] == typed else tried[1]
    assert points_of(tried) == points_of(points)


def test_what_lies_beside_a_grid_takes_no_point_of_it() -> None:
    study = optuna.create_study(direction="maximize")
    beside = [{"a": 3, "b": 0.5, "kind": "y"}, {"a": 8, "only_x": 0.2, "kind": "x"}]
    for first in beside:
        study.enqueue_trial(first)
    tried = finish(study, make_sampler(SETTINGS["grid"], 0, SPACE))
    assert tried[0] == beside[0] and tried[1].items() >= beside[1].items()
    assert points_of(tried[2:]) == points_of(Grid(SPACE).points)


def test_an_interrupted_trial_of_another_sampler_takes_its_own_point_alone() -> None:
    study = optuna.create_study(
        direction="maximize", sampler=make_sampler(SETTINGS["random"], 0, SPACE)
    )
    params = {"a": 2, "b": 0.5, "kind": "y"}
    of = {name: SPACE.distributions()[name] for name in params}
    study.add_trial(create_trial(state=TrialState.WAITING, params=params, distributions=of))
    tried = finish(study, make_sampler(SETTINGS["grid"], 0, SPACE))
    assert points_of(tried) == points_of(Grid(SPACE).points)


def test_of_what_a_round_asks_for_first_only_the_rest_is_to_come() -> None:
    study, first = optuna.create_study(), [{"a": 3}, {"a": 4, "b": 0.5, "kind": "y"}]
    size, points = len(Grid(SPACE).points), Grid(SPACE)
    assert points.to_come(study.trials, first) == size + 1, "one lies beside the grid"
    params = {"a": 3, "b": 0.0, "kind": "y"}
    of = {name: SPACE.distributions()[name] for name in params}
    study.add_trial(create_trial(value=0.0, params=params, distributions=of))
    assert points.to_come(study.trials, first) == size


def test_a_grid_too_large_is_refused() -> None:
    space = Space.parse({f"p{i}": {"choice": list(range(10))} for i in range(6)})
    with pytest.raises(InputError, match="a grid may have at most 100000 points"):
        grid(space)


def test_an_absent_library_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(NEEDS, "tpe", ("no_such_library", 'pip install "numpy-cnn-sweep[none]"'))
    with pytest.raises(
        InputError, match=r'not installed; install it with: pip install "numpy-cnn-sweep\[none\]"'
    ):
        make_sampler(SETTINGS["tpe"], 0, SPACE)


def test_points_are_shuffled_the_same_way_each_time() -> None:
    assert grid(SPACE) == grid(SPACE)
    in_order = list(itertools.islice((point["a"] for point in grid(SPACE)), 12))
    assert in_order != sorted(in_order)
