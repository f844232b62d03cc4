"""budget.minutes alone: what is measured of a space, with slots whose epochs take the time that the
test says.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cnn_core.errors import InputError
from cnn_core.spec import Spec
from pipeline.configuration import Config, compose
from pipeline.search.budget import (
    OUTSIDE,
    TimePlan,
    calibrated,
    calibration_of,
    choose,
    corners,
    fitting,
    screen,
)
from pipeline.search.problem import Problem
from pipeline.search.session import make_problem

SPACE = (
    "space={model.filters:{int:[4,8]},optimizer:{group:[momentum,adam]},"
    "momentum.lr:{path:optimizer.lr,float:[1e-2,0.2],when:{optimizer:momentum}},"
    "adam.lr:{path:optimizer.lr,float:[1e-3,1e-2],when:{optimizer:adam}}}"
)


class Hour:
    """A clock of an hour, of which nothing is used."""

    used_s = 0.0
    left_s = 3600.0


CLOCK: Any = Hour()


@dataclass
class Stopwatch:
    """A slot that trains nothing and takes as long as `step_s` says a step does."""

    step_s: Callable[[Spec], float]
    index: int = 0
    steps: int = 0
    seen: list[Spec] = field(default_factory=list)

    def call(
        self, function: Any, spec: Spec, state: None, deadline_s: float
    ) -> tuple[None, dict[str, float]]:
        steps = spec.train.steps_per_epoch
        assert steps is not None
        self.steps += steps
        self.seen.append(spec)
        return None, {"epoch_s": steps * self.step_s(spec)}


SLOT: Any = Stopwatch(lambda spec: 1.0)


def adam_is_dear(spec: Spec) -> float:
    return 0.9 if spec.optimizer["name"] == "adam" else 0.1


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Problem]:
    root = tmp_path_factory.mktemp("root")
    keys = [
        "experiment=smoke",
        f"root={root}",
        SPACE,
        "budget.trials=null",
        "budget.minutes=60",
        "train.epochs=100",
    ]
    config = compose(keys)
    return config, make_problem(config)[0]


def test_every_branch_is_tried_and_the_second_is_the_dearest(asked: tuple[Config, Problem]) -> None:
    config, problem = asked
    slot = Stopwatch(adam_is_dear)
    screened = screen(corners(problem), problem.training_images, [slot])
    assert [spec.optimizer["name"] for spec, _ in screened] == [
        "momentum",
        "momentum",
        "adam",
        "adam",
    ]
    assert {spec.model.filters for spec, _ in screened} == {4, 8}
    choice = choose(config, problem, [Stopwatch(adam_is_dear)], CLOCK, fixed=True)
    steps = 200 // 50
    assert choice.epoch_s == pytest.approx(steps * 0.3), (
        "the geometric mean of both branches, 0.1 and 0.9 s a step"
    )
    epochs = 3600 * (1 - OUTSIDE) / choice.epoch_s
    assert (choice.epochs, choice.trials) == (100, int(epochs / 100))
    assert choice.least_s == pytest.approx(100 * steps * 0.1), "fixed epochs of the cheapest"


def test_many_dear_branches_make_the_middle_dear(asked: tuple[Config, Problem]) -> None:
    _, problem = asked
    costs = {(4, "momentum"): 0.1, (4, "adam"): 1.6, (8, "momentum"): 1.6, (8, "adam"): 1.6}

    def step_s(spec: Spec) -> float:
        return costs[spec.model.filters, spec.optimizer["name"]]

    choice = choose(asked[0], problem, [Stopwatch(step_s)], CLOCK, fixed=True)
    assert choice.epoch_s == pytest.approx(4 * (0.1 * 1.6**3) ** 0.25)


def test_screening_takes_few_steps_and_ends_in_time(asked: tuple[Config, Problem]) -> None:
    _, problem = asked
    slot = Stopwatch(adam_is_dear)
    screen(corners(problem), problem.training_images, [slot])
    assert slot.steps <= 3 * 4
    (only,) = screen(corners(problem), problem.training_images, [slot], -1.0)
    assert only[0].model.filters == 8, "without time, one of the most multiply-adds"


def test_slots_that_hinder_each_other_are_not_all_used(asked: tuple[Config, Problem]) -> None:
    config, problem = asked
    alone = Stopwatch(lambda spec: 0.1)
    crowded = Stopwatch(lambda spec: 0.3, index=1)
    faster = Stopwatch(lambda spec: 0.11, index=1)
    assert choose(config, problem, [alone, crowded], CLOCK, fixed=True).slots == 1
    assert choose(config, problem, [alone, faster], CLOCK, fixed=True).slots == 2


def test_a_neighbour_that_comes_while_slots_are_measured_costs_no_slot(
    asked: tuple[Config, Problem],
) -> None:
    config, problem = asked
    disturbed = Stopwatch(lambda spec: 1.0, index=1)
    # the two ends of the space in both slots: a first step and three probes each
    disturbed.step_s = lambda spec: 0.9 if len(disturbed.seen) < 14 else 0.1
    slots = [Stopwatch(lambda spec: 0.1), disturbed]
    assert choose(config, problem, slots, CLOCK, fixed=True).slots == 2
    assert len(disturbed.seen) > 14, "measured again"


def test_slots_that_share_a_core_are_all_used(asked: tuple[Config, Problem]) -> None:
    config, problem = asked
    slots = [Stopwatch(lambda spec: 0.1), Stopwatch(lambda spec: 0.21, index=1)]
    assert choose(config, problem, slots, CLOCK, fixed=True).slots == 2


def time_config(*more: str) -> Config:
    return compose(["experiment=smoke", "budget.trials=6", "pruner=none", "train.epochs=10", *more])


def test_epochs_leave_time_for_the_trials_that_are_wanted() -> None:
    config = time_config("budget.minutes=10")
    # 582 s in each of 2 slots are 1164 s, 6 trials of 10 epochs of 4 s are 240 s.
    assert fitting(config, 2, 4.0, 600.0).epochs == 10
    # At 50 s an epoch 23 epochs fit, 3 for each of 6 trials.
    assert fitting(config, 2, 50.0, 600.0).epochs == 3
    # At 100 s 11 fit; two epochs a trial are the fewest, of which five trials fit.
    plan = fitting(config, 2, 100.0, 600.0)
    assert (plan.epochs, plan.trials) == (2, 5)
    # At 200 s two epochs would take two thirds of the time: if the machine becomes twice as slow,
    # none would be complete.
    assert fitting(config, 2, 200.0, 600.0).epochs == 1
    assert fitting(config, 2, 100.0, 600.0, fixed=True).epochs == 10
    # A pruner that typically trains 0.6 of the epochs leaves time for 46 / (12 * 0.6) a trial.
    median = time_config("budget.minutes=10", "pruner=median", "budget.trials=12")
    plan = fitting(median, 2, 25.0, 600.0)
    assert (plan.epochs, plan.trials) == (6, 12)


def test_a_budget_that_holds_no_trial_is_refused_with_the_least(
    asked: tuple[Config, Problem],
) -> None:
    config, problem = asked
    slow = Stopwatch(lambda spec: 400.0)  # 4 steps an epoch: 1,600 s
    with pytest.raises(InputError, match=r"cheapest trial's 100 epochs, .* at least 2749.15 min"):
        choose(config, problem, [slow], CLOCK, fixed=True)
    assert choose(config, problem, [slow], CLOCK, fixed=False).epochs == 1
    slower = Stopwatch(lambda spec: 1000.0)
    with pytest.raises(InputError, match=r"1 epoch, which needs at least 68.73 min.*, got 60"):
        choose(config, problem, [slower], CLOCK, fixed=False)


def stored_plan(root: Path, *more: str, left_s: float = 600.0) -> tuple[Config, TimePlan]:
    """Return what is made of a plan for two slots and 20 s, of which one trial was begun."""
    words = ["experiment=smoke", f"root={root}", "budget.trials=null", "budget.minutes=20"]
    config = compose([*words, "pruner=none", *more])
    config.paths.trial(0).folder.mkdir(parents=True, exist_ok=True)
    first = TimePlan(slots=2, epochs=30, trials=2, epoch_s=1.0, least_s=0.5)
    calibration_of(config).write_text(json.dumps(asdict(first)))
    clock: Any = Hour()
    clock.left_s = left_s
    fixed = any(text.startswith("train.epochs=") for text in more)
    config, plan = calibrated(config, make_problem(config)[0], [SLOT], clock, fixed=fixed)
    assert plan is not None
    return config, plan


def test_a_stored_plan_keeps_its_epochs_and_counts_the_trials_of_the_time_now(
    tmp_path: Path,
) -> None:
    config, plan = stored_plan(tmp_path)
    assert (config.train.epochs, plan.epochs, plan.least_s) == (30, 30, 0.5)
    assert (plan.slots, plan.trials) == (1, 1 + int(600 * (1 - OUTSIDE) / 30))
    assert stored_plan(tmp_path, left_s=0.0)[1].trials == 1
    assert stored_plan(tmp_path, "budget.trials=3")[1].trials == 3


def test_other_epochs_than_a_stored_plan_s_are_left_to_be_refused(tmp_path: Path) -> None:
    config, _ = stored_plan(tmp_path, "train.epochs=50")
    assert config.train.epochs == 50, "the study's fingerprint sees them"
    assert [text for text in config.overrides if text.startswith("train.epochs")] == [
        "train.epochs=50"
    ]


def test_a_study_that_was_begun_without_a_time_budget_has_no_plan(tmp_path: Path) -> None:
    config = compose(["experiment=smoke", f"root={tmp_path}", "budget.minutes=20"])
    config.paths.trials.mkdir(parents=True)
    clock: Any = Hour()
    found = calibrated(config, make_problem(config)[0], [SLOT], clock, fixed=False)
    assert found == (config, None)
    assert not calibration_of(config).exists()
