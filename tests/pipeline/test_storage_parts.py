"""What studies in memory refuse and replace, the clock without a limit, and what a rule of
promotion knows of trials.
"""

import json
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from pipeline.events import State
from pipeline.search.promotion import TrialSoFar
from pipeline.search.rungs import RUNG, known_trials
from pipeline.search.storage import MirrorStorage, reopen
from pipeline.search.study_clock import StudyClock
from pipeline.search.study_copies import StudyCopies


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> RDBStorage:
    made = RDBStorage(f"sqlite:///{tmp_path_factory.mktemp('mirrored') / 's.db'}")
    optuna.create_study(study_name="s", storage=made, direction="maximize")
    return made


@pytest.fixture
def mirrored(database: RDBStorage) -> optuna.Study:
    """A study in memory; what it says is to be what its database says."""
    return optuna.load_study(study_name="s", storage=MirrorStorage(database, "s"))


def values_of(number: int, database: RDBStorage, mirrored: optuna.Study) -> list[dict[int, float]]:
    """The values of a trial's epochs in both."""
    direct = optuna.load_study(study_name="s", storage=database)
    return [study.trials[number].intermediate_values for study in (direct, mirrored)]


def test_a_mirror_holds_one_study(mirrored: optuna.Study) -> None:
    with pytest.raises(NotImplementedError, match="a mirror holds one study"):
        optuna.create_study(study_name="another", storage=mirrored._storage)


def test_an_epoch_s_value_that_is_told_again_takes_the_place_of_the_first(
    mirrored: optuna.Study, database: RDBStorage
) -> None:
    trial = mirrored.ask()
    for value in (0.25, 0.5):
        mirrored._storage.set_trial_intermediate_value(trial._trial_id, 1, value)
    assert values_of(trial.number, database, mirrored) == [{1: 0.5}] * 2


def test_a_trial_that_has_ended_takes_no_more_values(
    mirrored: optuna.Study, database: RDBStorage
) -> None:
    trial = mirrored.ask()
    mirrored.tell(trial, 0.7)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        mirrored._storage.set_trial_intermediate_value(trial._trial_id, 1, 0.5)
    assert values_of(trial.number, database, mirrored) == [{}] * 2


def test_a_storage_in_which_no_end_can_be_taken_back_is_named() -> None:
    study = optuna.create_study(direction="maximize")
    study.tell(study.ask(), 0.5)
    with pytest.raises(NotImplementedError, match="reopening a trial in InMemoryStorage"):
        reopen(study, study.trials[0])
    assert study.trials[0].state == TrialState.COMPLETE


def test_a_clock_without_a_limit_has_nothing_to_use_up(tmp_path: Path) -> None:
    unlimited, limited = tmp_path / "unlimited.json", tmp_path / "limited.json"
    StudyClock(unlimited, None).use_up()
    StudyClock(limited, 2.0).use_up()
    assert not unlimited.exists()
    assert 120 <= json.loads(limited.read_text())["used_s"] < 180


def test_a_copy_that_is_asked_for_another_trial_than_its_next_says_so() -> None:
    copies = StudyCopies(["maximize"], "s", RandomSampler(), NopPruner(), [], 4)
    study = copies.copy([create_trial(value=0.5)])
    with pytest.raises(RuntimeError) as raised:
        copies.ask(study, 3)
    assert str(raised.value) == "deterministic mode: trial 3 was to be asked, got 1"


def test_of_a_trial_in_the_queue_a_rule_of_promotion_knows_nothing() -> None:
    study = optuna.create_study(direction="minimize")
    study.add_trial(
        create_trial(
            state=TrialState.PRUNED,
            value=0.5,
            intermediate_values={1: 0.75, 2: 0.5},
            user_attrs={RUNG: 4},
        )
    )
    study.enqueue_trial({"x": 3})
    study.add_trial(
        create_trial(
            value=0.25,
            params={"x": 1},
            distributions={"x": IntDistribution(1, 3)},
            intermediate_values={1: 0.25},
        )
    )
    assert known_trials(study, study.trials) == {
        0: TrialSoFar(State.PRUNED, {1: -0.75, 2: -0.5}, 4),
        2: TrialSoFar(State.COMPLETE, {1: -0.25}, 2),
    }


@pytest.mark.parametrize(
    ("state", "epoch", "score"),
    [
        (State.COMPLETE, 2, 0.7),
        (State.COMPLETE, 4, 0.7),  # it was complete before
        (State.PAUSED, 4, None),
        (State.FAIL, 4, float("-inf")),
        (State.FAIL, 5, None),
    ],
)
def test_the_score_of_a_trial_at_an_epoch_that_it_may_not_have_reached(
    state: State, epoch: int, score: float | None
) -> None:
    assert TrialSoFar(state, {1: 0.5, 2: 0.7}, 4).score_at(epoch) == score
