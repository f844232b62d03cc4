"""sampler=auto: which sampler a space gets, when the second takes over, and that both go on as if
they had never stopped.
"""

from pathlib import Path
from typing import Any

import optuna
import pytest

from pipeline.configuration.sampler_settings import SAMPLERS
from pipeline.search import auto_sampler
from pipeline.search.auto_sampler import AutoSampler, SamplerChoice, choose_samplers
from pipeline.search.open_study import quiet_optuna
from pipeline.search.samplers import make_sampler
from pipeline.search.space import Space

NUMBERS = Space.parse({"a": {"float": [0.0, 1.0]}, "b": {"int": [1, 64], "log": True}})
WORDS = Space.parse({"a": {"float": [0.0, 1.0]}, "kind": {"choice": ["x", "y"]}})
BRANCHES = Space.parse(
    {"kind": {"choice": ["x", "y"]}, "a": {"float": [0.0, 1.0], "when": {"kind": "x"}}}
)


@pytest.mark.parametrize(
    ("space", "objectives", "missing", "first", "then", "reason"),
    [
        (NUMBERS, 1, (), "gp", "cmaes", "2 numbers"),
        (NUMBERS, 1, ("cmaes",), "gp", "gp", "2 numbers; cmaes would need cmaes"),
        (WORDS, 1, (), "gp", "tpe", "1 of 2 parameters are choices"),
        (BRANCHES, 1, ("cmaes",), "gp", "tpe", "1 of 2 parameters are choices"),
        (NUMBERS, 2, (), "tpe", "nsga2", "2 numbers, two objectives"),
        (WORDS, 2, (), "tpe", "nsga2", "1 of 2 parameters are choices, two objectives"),
        (BRANCHES, 2, (), "tpe", "tpe", "1 of 2 parameters are choices, two objectives, condition"),
    ],
)
def test_the_space_and_the_objectives_choose(
    space: Space, objectives: int, missing: tuple[str, ...], first: str, then: str, reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def find_spec(name: str) -> object:
        return None if name in missing else object()

    monkeypatch.setattr(auto_sampler.importlib.util, "find_spec", find_spec)
    choice = choose_samplers(space, objectives)
    assert (choice.first, choice.then) == (first, then)
    assert choice.reason.startswith(reason)


def test_the_line_names_the_second_where_it_would_come() -> None:
    choice = SamplerChoice("gp", "cmaes", "5 numbers")
    assert choice.line(12) == "sampler auto: gp (12 trials, 5 numbers)"
    later = "sampler auto: gp, after 250 complete trials cmaes"
    assert choice.line(400) == f"{later} (400 trials, 5 numbers)"
    assert choice.line(None) == f"{later} (5 numbers)"
    assert SamplerChoice("tpe", "tpe", "x").line(400) == "sampler auto: tpe (400 trials, x)"


def run(choice: SamplerChoice, storage: str | None, upto: int) -> list[optuna.trial.FrozenTrial]:
    """Ask and tell with a new sampler, as a resumed coordinator does."""
    directions = ["maximize", "minimize"][: 2 if choice.then == "nsga2" else 1]
    study = optuna.create_study(
        storage=storage, study_name="s", load_if_exists=True, directions=directions,
        sampler=AutoSampler(choice, 4, 3, NUMBERS),
    )  # fmt: skip
    return asked(study, upto)


def asked(study: optuna.Study, upto: int) -> list[optuna.trial.FrozenTrial]:
    """Ask and tell until the study has so many trials."""
    while len(study.trials) < upto:
        trial = study.ask()
        NUMBERS.suggest(trial)
        value: Any = -abs(trial.params["a"] - 0.3) - 0.01 * trial.params["b"]
        study.tell(trial, [value, trial.params["b"]][: len(study.directions)])
    return study.trials


def test_random_trials_are_followed_by_what_tpe_alone_would_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auto_sampler, "LEARNT", 5)
    whole = run(SamplerChoice("random", "tpe", ""), None, 7)
    assert [t.params for t in whole[:5]] == [t.params for t in alone("random", [])[:5]]
    assert [t.params for t in whole] == [t.params for t in alone("tpe", whole[:5])]


def alone(name: str, before: list[optuna.trial.FrozenTrial]) -> list[optuna.trial.FrozenTrial]:
    """Seven trials: those `before` them, and what a sampler of this name alone goes on with."""
    settings = SAMPLERS[name](name=name)
    if name == "tpe":
        settings.startup_trials = 4  # type: ignore[attr-defined]
    study = optuna.create_study(direction="maximize", sampler=make_sampler(settings, 3, NUMBERS))
    study.add_trials(before)
    return asked(study, 7)


def test_the_parents_of_a_second_sampler_by_generations_are_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auto_sampler, "LEARNT", 24)
    whole = run(SamplerChoice("random", "nsga2", ""), None, 26)
    key = "NSGAIISampler:generation"
    assert [trial.system_attrs[key] for trial in whole] == [0] * 24 + [1] * 2


@pytest.mark.parametrize("learnt", [9, 10])
def test_cma_es_takes_over_however_few_trials_it_can_begin_from(
    learnt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of fewer than ten it could take no best tenth."""
    pytest.importorskip("cmaes")
    monkeypatch.setattr(auto_sampler, "LEARNT", learnt)
    whole = run(SamplerChoice("random", "cmaes", ""), None, learnt + 2)
    noted = [any(name.startswith("cma:") for name in trial.system_attrs) for trial in whole]
    assert noted == [False] * learnt + [True] * 2


@pytest.mark.slow
@pytest.mark.parametrize("then", ["cmaes", "nsga2"])
def test_the_second_sampler_takes_over_and_begins_where_the_first_was_good(
    then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if then == "cmaes":
        pytest.importorskip("cmaes")
    quiet_optuna()
    monkeypatch.setattr(auto_sampler, "LEARNT", 24)
    choice = SamplerChoice("tpe", then, "")
    whole = run(choice, None, 34)
    key = {"cmaes": "cma:", "nsga2": "NSGAIISampler:parents"}[then]
    noted = [any(name.startswith(key) for name in t.system_attrs) for t in whole]
    if then == "cmaes":
        assert noted == [False] * 24 + [True] * 10
        tried = [trial.params["a"] for trial in whole[24:]]
        assert sum(abs(value - 0.3) < 0.2 for value in tried) >= 7
    else:
        storage = [t.system_attrs for t in whole]
        assert all(attrs["NSGAIISampler:generation"] == 0 for attrs in storage[:24])
        assert all(attrs["NSGAIISampler:generation"] == 1 for attrs in storage[24:])
    path = f"sqlite:///{tmp_path / 's.db'}"
    run(choice, path, 10)
    run(choice, path, 27)
    again = run(choice, path, 34)
    assert [t.params for t in again] == [t.params for t in whole]
