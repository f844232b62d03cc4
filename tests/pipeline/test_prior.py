"""What earlier studies know of a new one: which configurations come first, how they are mapped,
what the sampler learns, and what a bad prior costs.
"""

import json
import math
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from cnn_core.errors import InputError
from pipeline.configuration import SWEEP, compose
from pipeline.files import StudyPaths
from pipeline.reporting.stored_state import PAUSED
from pipeline.reporting.table import StudyTable, TrialRow
from pipeline.reporting.warm_start import help_of_prior
from pipeline.search.fingerprint import FINGERPRINT
from pipeline.search.open_study import quiet_optuna
from pipeline.search.prior import PRIOR, Prior, read_prior
from pipeline.search.prior_sampler import INFORMED, PriorSampler
from pipeline.search.samplers import make_sampler
from pipeline.search.space import Space
from pipeline.trial_folder import TrialFolder

Truth = Callable[[Mapping[str, Any]], float]
TPE = SimpleNamespace(name="tpe", startup_trials=8, candidates=24)
LINES: dict[str, Any] = {
    "model.filters": {"int": [8, 64], "log": True},
    "model.dropout": {"float": [0.0, 0.6], "step": 0.05},
    "model.init": {"choice": ["xavier", "he"]},
    "optimizer": {"group": ["momentum", "adam"]},
    "momentum.lr": {
        "path": "optimizer.lr",
        "float": [1e-3, 0.5],
        "log": True,
        "when": {"optimizer": "momentum"},
    },
    "adam.lr": {
        "path": "optimizer.lr",
        "float": [1e-4, 0.1],
        "log": True,
        "when": {"optimizer": "adam"},
    },
}
SPACE = Space.parse(LINES)
GOAL = 0.987  # within 0.3 points of the best that there is


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet_optuna()


def accuracy(shift: float) -> Truth:
    """An accuracy of these parameters whose optimum moves a little with the data."""

    def truth(params: Mapping[str, Any]) -> float:
        name = params["optimizer"]
        good = {"momentum": 0.05, "adam": 2e-3}[name] * 10 ** (0.2 * shift)
        filters = math.log(params["model.filters"] / 40) / math.log(8) - 0.15 * shift
        return (
            0.99
            - 0.004 * (name == "adam")
            - 0.004 * (params["model.init"] == "xavier")
            - 0.015 * math.log10(params[f"{name}.lr"] / good) ** 2
            - 0.02 * filters**2
            - 0.05 * (params["model.dropout"] - 0.35 - 0.05 * shift) ** 2
        )

    return truth


def leave_study(
    root: Path,
    name: str,
    trials: list[tuple[dict[str, Any], float]],
    space: Space = SPACE,
    direction: str = "maximize",
) -> None:
    """Leave a finished study on disk, as a sweep does."""
    (root / name).mkdir(parents=True)
    study = optuna.create_study(
        study_name=name, storage=f"sqlite:///{root / name / 'study.db'}", direction=direction
    )
    lines = {f"space {key}": json.dumps(line) for key, line in space.fingerprint().items()}
    study.set_user_attr(FINGERPRINT, lines)
    known = space.distributions()
    study.add_trials(
        optuna.trial.create_trial(
            params=params, distributions={key: known[key] for key in params}, value=value
        )
        for params, value in trials
    )


def asked(root: Path, *old: str, trials: int | None = 24, most: int = 12) -> Any:
    """A configuration that asks for these studies."""
    study = SimpleNamespace(prior=list(old), prior_trials=most, storage=None)
    return SimpleNamespace(root=root, study=study, budget=SimpleNamespace(trials=trials))


def searched(
    sampler: Any, truth: Truth, trials: int, first: Any = (), goal: float = 1.0
) -> list[Any]:
    """Search until the goal is reached, at most so many trials; return them."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for params in first:
        study.enqueue_trial(params)
    for _ in range(trials):
        trial = study.ask()
        SPACE.suggest(trial)
        study.tell(trial, truth(trial.params))
        if truth(trial.params) >= goal:
            break
    return study.trials


STARTUP = 3


def with_prior(prior: Prior, truth: Truth, trials: int, seed: int, goal: float = 1.0) -> list[Any]:
    sampler = PriorSampler(make_sampler(TPE, seed, SPACE), prior, SPACE, seed, STARTUP)
    return searched(sampler, truth, trials, [params for params, _ in prior.first], goal)


@pytest.mark.slow
def test_a_prior_from_like_data_halves_the_trials_until_a_good_one(tmp_path: Path) -> None:
    cold, warm, like = [], [], accuracy(0.0)
    for seed in range(5):
        old = searched(make_sampler(SimpleNamespace(name="random"), 50 + seed, SPACE), like, 40)
        leave_study(tmp_path, f"old{seed}", [(t.params, t.value) for t in old])
        prior = read_prior(asked(tmp_path, f"old{seed}"), SPACE)
        truth = accuracy(1.0 if seed % 2 else -1.0)
        cold.append(len(searched(make_sampler(TPE, seed, SPACE), truth, 30, goal=GOAL)))
        warm.append(len(with_prior(prior, truth, 30, seed, GOAL)))
    assert statistics.median(cold) >= 10, "the goal must not be met by chance"
    assert 2 * statistics.median(warm) <= statistics.median(cold), (warm, cold)


def test_a_bad_prior_costs_what_it_suggests_and_no_more(tmp_path: Path) -> None:
    random = make_sampler(SimpleNamespace(name="random"), 1, SPACE)
    old = searched(random, lambda params: -accuracy(0.0)(params), 30)
    leave_study(tmp_path, "bad", [(t.params, t.value) for t in old])
    prior = read_prior(asked(tmp_path, "bad"), SPACE)
    trials = with_prior(prior, accuracy(0.0), 40, 3)
    suggested = [PRIOR in trial.user_attrs for trial in trials]
    assert suggested == [True] * prior.most + [False] * (40 - prior.most)
    assert prior.most == 12
    values = [trial.value for trial in trials]
    cold = max(t.value for t in searched(make_sampler(TPE, 3, SPACE), accuracy(0.0), 28))
    assert max(values[12:]) > 0.98 and abs(max(values[12:]) - cold) < 0.005


def test_after_a_prior_the_study_begins_as_it_would_without(tmp_path: Path) -> None:
    """Its model would know one region alone, the prior's, and stay there."""

    class Model(optuna.samplers.RandomSampler):
        asked = 0

        def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
            self.asked += "fixed_params" not in trial.system_attrs
            return super().infer_relative_search_space(study, trial)

    old = searched(make_sampler(SimpleNamespace(name="random"), 1, SPACE), accuracy(0.0), 30)
    leave_study(tmp_path, "old", [(t.params, t.value) for t in old])
    prior, model = read_prior(asked(tmp_path, "old"), SPACE), Model(seed=0)
    sampler = PriorSampler(model, prior, SPACE, 0, STARTUP)
    first = [params for params, _ in prior.first]
    mine = searched(sampler, accuracy(0.0), prior.most + STARTUP, first)[prior.most :]
    assert model.asked == 0
    assert len({t.params["model.filters"] for t in mine}) == STARTUP
    searched(sampler, accuracy(0.0), prior.most + STARTUP + 2, first)
    assert model.asked == 2


def test_the_first_are_the_best_spread_over_their_variety(tmp_path: Path) -> None:
    point = {"model.filters": 20, "model.dropout": 0.3, "model.init": "he", "optimizer": "adam"}
    like = [({**point, "adam.lr": 0.01 + 1e-6 * k}, 0.99 - 1e-4 * k) for k in range(4)]
    other = ({**point, "model.init": "xavier", "adam.lr": 0.05, "model.filters": 60}, 0.98985)
    poor = [({**point, "adam.lr": 0.09, "model.dropout": 0.6}, 0.5 - 0.01 * k) for k in range(7)]
    leave_study(tmp_path, "old", [*poor, *like, other])
    prior = read_prior(asked(tmp_path, "old", trials=8), SPACE)
    assert [source for _, source in prior.first] == ["old t007", "old t011"]
    assert prior.most == 4, "half of the trials, half of them as they were tried"
    leave_study(tmp_path, "loss", [*poor, *like, other], direction="minimize")
    assert read_prior(asked(tmp_path, "loss"), SPACE).first[0][1] == "loss t006"
    both = read_prior(asked(tmp_path, "old", "loss", trials=8), SPACE)
    assert [source for _, source in both.first] == ["old t007", "loss t006"]


def test_the_best_of_another_optimizer_comes_too(tmp_path: Path) -> None:
    """Here all of the best quarter have the same; on other data the other one may be better."""
    point = {"model.filters": 20, "model.dropout": 0.3, "model.init": "he"}
    good = [
        ({**point, "optimizer": "adam", "adam.lr": 0.01 + 0.001 * k}, 0.99 - 0.001 * k)
        for k in range(12)
    ]
    rest = [
        ({**point, "optimizer": "momentum", "momentum.lr": 0.1 + 0.01 * k}, 0.9 - 0.01 * k)
        for k in range(8)
    ]
    leave_study(tmp_path, "old", [*good, *rest])
    prior = read_prior(asked(tmp_path, "old"), SPACE)
    sources = [source for _, source in prior.first]
    assert sources[:2] == ["old t000", "old t012"], "the farthest from the best"
    assert len(sources) == 6 and all(source <= "old t004" for source in sources[2:])


@pytest.mark.parametrize(
    ("line", "value", "mapped"),
    [
        ({"int": [8, 32]}, 64, 32),
        ({"int": [8, 32], "step": 8}, 21, 24),
        ({"float": [0.5, 2.0]}, 0.1, 0.5),
        ({"float": [0.0, 0.5], "step": 0.25}, 0.3, 0.25),
        ({"choice": [16, 32, 64]}, 50, 64),
        ({"choice": ["a", "b"]}, "b", "b"),
        ({"choice": ["a", "b"]}, "c", None),
        ({"choice": [True, False]}, True, True),
        ({"choice": [1, 2]}, True, None),
        ({"int": [1, 3]}, "2", None),
        ({"choice": ["he", None]}, None, None),
    ],
)
def test_a_value_becomes_the_nearest_of_the_new_distribution(
    tmp_path: Path, line: dict[str, Any], value: Any, mapped: Any
) -> None:
    kept = {"model.dropout": {"float": [0.0, 0.6]}}
    old = Space.parse({**kept, "model.filters": {"choice": [value]}})
    leave_study(tmp_path, "old", [({"model.dropout": 0.1, "model.filters": value}, 0.9)], old)
    prior = read_prior(asked(tmp_path, "old"), Space.parse({**kept, "model.filters": line}))
    assert prior.first[0][0].get("model.filters") == mapped
    assert prior.first[0][0]["model.dropout"] == 0.1
    assert prior.evidence == [({"model.dropout": 0.1}, 0.5)], "only where distributions agree"


def test_conditions_and_what_is_not_searched_here(tmp_path: Path) -> None:
    trial = {"model.filters": 20, "model.dropout": 0.3, "model.init": "he", "optimizer": "adam"}
    leave_study(tmp_path, "old", [({**trial, "adam.lr": 0.01}, 0.9)])
    changed = {key: line for key, line in LINES.items() if key not in ("model.init", "adam.lr")}
    changed |= {"model.batch_norm": {"choice": [True, False]}}
    changed["sgd.lr"] = {**LINES["adam.lr"], "when": {"optimizer": "sgd"}}
    changed["optimizer"] = {"group": ["momentum", "sgd"]}
    prior = read_prior(asked(tmp_path, "old"), Space.parse(changed))
    assert prior.first == [({"model.filters": 20, "model.dropout": 0.3}, "old t000")]
    assert "left out: model.init (not searched here)" in prior.lines[0]
    assert "inform the sampler of model.filters, model.dropout" in prior.lines[0]


def test_a_condition_gets_the_value_that_the_old_study_had_fixed(tmp_path: Path) -> None:
    old = Space.parse({"optimizer.lr": LINES["adam.lr"] | {"when": None}})
    leave_study(
        tmp_path, "old", [({"optimizer.lr": 0.01}, 0.9), ({"optimizer.lr": 0.02}, 0.8)], old
    )
    folder = TrialFolder(StudyPaths(tmp_path, "old").trial(0))
    folder.begin(0, (0, 0), ["optimizer=adam", "model.filters=12", "optimizer.lr=0.01"])
    prior = read_prior(asked(tmp_path, "old"), SPACE)
    assert prior.first == [({"optimizer": "adam", "adam.lr": 0.01}, "old t000")]
    assert prior.evidence == [({"adam.lr": 0.01}, 0.75)], "the other trial's folder is lost"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", r"study\.prior: must name a study in .*, got 'nowhere' \(there are: .*empty"),
        ("empty", "must name studies with a complete trial, got 'empty' with none"),
        ("apart", r"must have searched a value that this study searches .*got 'apart', which se"),
    ],
)
def test_what_knows_nothing_is_refused(tmp_path: Path, name: str, said: str) -> None:
    leave_study(tmp_path, "empty", [])
    other = Space.parse({"train.batch_size": {"int": [10, 20]}})
    leave_study(tmp_path, "apart", [({"train.batch_size": 12}, 0.5)], other)
    with pytest.raises(InputError, match=said):
        read_prior(asked(tmp_path, name), SPACE)


def test_a_study_is_named_once() -> None:
    with pytest.raises(InputError, match=r"study.prior: must name each study once, got \['a', 'a'"):
        compose(["study.prior=[a,a]"], SWEEP)


def test_trials_that_wait_at_a_rung_inform_as_pruned_ones_do(tmp_path: Path) -> None:
    found = searched(make_sampler(SimpleNamespace(name="random"), 1, SPACE), accuracy(0.0), 7)
    leave_study(tmp_path, "old", [(t.params, t.value) for t in found[:6]])
    storage = f"sqlite:///{tmp_path / 'old' / 'study.db'}"
    params, known = found[6].params, SPACE.distributions()
    optuna.load_study(study_name="old", storage=storage).add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.PRUNED,
            params=params,
            distributions={key: known[key] for key in params},
            intermediate_values={1: 0.5},
            user_attrs={PAUSED: True},
        )
    )
    prior = read_prior(asked(tmp_path, "old"), SPACE)
    assert len(prior.evidence) == 7 and "of 7 trials: " in prior.lines[0]


def test_a_study_of_another_root_is_named_by_its_folder(tmp_path: Path) -> None:
    trial = {"model.filters": 20, "model.dropout": 0.3, "model.init": "he", "optimizer": "adam"}
    leave_study(tmp_path / "elsewhere", "old", [({**trial, "adam.lr": 0.01}, 0.9)])
    prior = read_prior(asked(tmp_path, str(tmp_path / "elsewhere" / "old")), SPACE)
    assert [source for _, source in prior.first] == ["old t000"]


def test_a_stored_prior_suggests_the_same_after_an_interruption(tmp_path: Path) -> None:
    old = searched(make_sampler(SimpleNamespace(name="random"), 1, SPACE), accuracy(0.0), 12)
    leave_study(tmp_path, "old", [(t.params, t.value) for t in old])
    read = read_prior(asked(tmp_path, "old"), SPACE)
    prior = Prior.of(json.loads(json.dumps(read.stored())))
    assert prior == read
    whole = with_prior(prior, accuracy(1.0), 16, 5)
    storage = f"sqlite:///{tmp_path / 's.db'}"
    for upto in (3, 9, 16):
        sampler = PriorSampler(make_sampler(TPE, 5, SPACE), prior, SPACE, 5, STARTUP)
        study = optuna.create_study(
            study_name="s",
            storage=storage,
            load_if_exists=True,
            direction="maximize",
            sampler=sampler,
        )
        for params, _ in prior.first:
            study.enqueue_trial(params, skip_if_exists=True)
        while sum(t.state.is_finished() for t in study.trials) < upto:
            trial = study.ask()
            SPACE.suggest(trial)
            study.tell(trial, accuracy(1.0)(trial.params))
    assert [t.params for t in study.trials] == [t.params for t in whole]
    tried = [t.params["model.filters"] for t in whole[len(prior.first) : prior.most]]
    assert len(set(tried)) > 1, "each informed trial has a stream of its own"
    labels = [t.user_attrs.get(PRIOR) for t in study.trials]
    informed = prior.most - len(prior.first)
    assert informed > 0
    assert labels == [source for _, source in prior.first] + [INFORMED] * informed + [None] * (
        16 - prior.most
    )


def test_the_report_says_how_much_it_helped() -> None:
    def table(*trials: tuple[float | None, str]) -> StudyTable:
        rows = [
            TrialRow(
                k,
                state="COMPLETE" if value is not None else "PRUNED",
                objective=() if value is None else (value,),
                prior=prior,
            )
            for k, (value, prior) in enumerate(trials)
        ]
        return StudyTable("s", Path(), ("maximize",), rows)

    old = [(0.97, "old t004"), (0.98, "old t001"), (0.9, INFORMED)]
    said = help_of_prior(table(*old, (0.95, ""), (0.985, ""), (0.981, "")))
    assert said == (
        "the prior's 3 trials reached 98.00 % at trial 1 (old t001); the first of the others as "
        "good was trial 4, the best 98.50 % at trial 4"
    )
    assert help_of_prior(table(*old, (0.95, ""))).endswith(
        "none of the others was as good, the best 95.00 %"
    )
    assert help_of_prior(table(*old)).endswith("no other is complete")
    found = help_of_prior(table((None, "old t001"), (0.9, "")))
    assert found == "the prior's trial brought nothing: none is complete"
    assert help_of_prior(table((0.9, ""))) == ""
