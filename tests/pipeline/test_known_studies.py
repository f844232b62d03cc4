"""What a study takes over from others at the edges: nothing that informs it, the same from two,
trials that do not fit; and who suggests what a prior does not know.
"""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.samplers import RandomSampler

from pipeline.configuration import compose
from pipeline.files import StudyPaths
from pipeline.search.fork import take_over
from pipeline.search.open_study import quiet_optuna
from pipeline.search.prior import PRIOR, Prior, read_prior
from pipeline.search.prior_sampler import INFORMED, PriorSampler
from pipeline.search.space import Space
from pipeline.trial_folder import TrialFolder
from tests.pipeline.test_prior import asked, leave_study

FILTERS = Space.parse({"model.filters": {"int": [8, 64]}})
TWO = Space.parse({"x": {"int": [1, 1000]}, "y": {"int": [1, 1000]}})


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet_optuna()


def test_without_a_number_of_trials_a_prior_suggests_as_many_as_it_may(tmp_path: Path) -> None:
    leave_study(tmp_path, "old", [({"model.filters": n}, n / 100) for n in range(10, 60)], FILTERS)
    assert read_prior(asked(tmp_path, "old", trials=None, most=12), FILTERS).most == 12
    assert read_prior(asked(tmp_path, "old", trials=10, most=12), FILTERS).most == 5, "half of ten"


def test_a_study_that_searched_another_range_informs_no_sampler(tmp_path: Path) -> None:
    narrow = Space.parse({"model.filters": {"int": [8, 32]}})
    leave_study(tmp_path, "old", [({"model.filters": 9}, 0.9)], narrow)
    prior = read_prior(asked(tmp_path, "old"), FILTERS)
    assert prior.first == [({"model.filters": 9}, "old t000")]
    assert (prior.evidence, prior.most) == ([], 1)
    assert prior.lines == [
        "prior 'old': 1 configuration of 1 trial: t000",
        "study.prior: 1 configuration first; after these the study's own trials alone count",
    ]


def test_what_two_studies_found_is_tried_once(tmp_path: Path) -> None:
    for name, other in (("one", 20), ("two", 60)):
        tried = [({"model.filters": 30}, 0.9), ({"model.filters": other}, 0.8)]
        leave_study(tmp_path, name, tried, FILTERS)
    prior = read_prior(asked(tmp_path, "one", "two"), FILTERS)
    assert [params["model.filters"] for params, _ in prior.first] == [30, 60, 20]
    assert prior.first[0] == ({"model.filters": 30}, "one t000")


def test_a_trial_whose_value_is_outside_the_new_space_is_not_taken_over(tmp_path: Path) -> None:
    tried = [({"model.filters": 12}, 0.5), ({"model.filters": 40}, 0.9)]
    leave_study(tmp_path, "old", tried, FILTERS)
    for number, (params, _) in enumerate(tried):
        folder = TrialFolder(StudyPaths(tmp_path, "old").trial(number))
        folder.begin(number, (0, number), [f"model.filters={params['model.filters']}"])
    config = compose([f"root={tmp_path}", "study.name=new", "study.fork=old"])
    study = optuna.create_study(direction="maximize")
    line = take_over(study, config, Space.parse({"model.filters": {"int": [8, 16]}}), {})
    assert "study.fork: 1 of 2 trials of 'old' fit" in line
    assert [(trial.params, trial.value) for trial in study.trials] == [tried[0]]


class Lowest(RandomSampler):
    """A sampler of a study's own, known by what it suggests."""

    def sample_independent(
        self, study: Any, trial: Any, name: str, distribution: BaseDistribution
    ) -> int:
        assert isinstance(distribution, IntDistribution)
        return distribution.low


def study_with(evidence: list[tuple[dict[str, Any], float]], most: int) -> optuna.Study:
    """A study of x and y whose prior has only this evidence, and no configuration to try first."""
    prior = Prior([], evidence, most, [])
    sampler = PriorSampler(Lowest(0), prior, TWO, seed=5, startup=2)
    return optuna.create_study(direction="maximize", sampler=sampler)


def suggested(study: optuna.Study) -> dict[str, Any]:
    trial = study.ask()
    TWO.suggest(trial)
    study.tell(trial, 0.5)
    return study.trials[-1].params


def test_what_a_prior_does_not_know_is_the_study_s_own_sampler_s() -> None:
    study = study_with([({"x": 500 + n}, n / 20) for n in range(20)], most=1)
    informed = suggested(study)
    assert informed["x"] > 1, "suggested by what others have found"
    assert informed["y"] == 1, "no other study has searched it"
    assert study.trials[0].user_attrs[PRIOR] == INFORMED


def test_what_a_user_leaves_open_of_an_enqueued_trial_is_the_study_s_own_sampler_s() -> None:
    study = study_with([], most=0)
    study.enqueue_trial({"x": 700})
    assert suggested(study) == {"x": 700, "y": 1}
    first = suggested(study)
    assert first["x"] > 1 and first["y"] > 1, "then the study begins with random trials"
    assert suggested(study) == {"x": 1, "y": 1}, "two, the enqueued one among them"


def test_an_interrupted_trial_keeps_what_it_was_labelled_with() -> None:
    study = study_with([({"x": 500 + n}, n / 20) for n in range(20)], most=1)
    study.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.WAITING, user_attrs={PRIOR: "old t007"}
        )
    )
    suggested(study)
    assert study.trials[0].user_attrs[PRIOR] == "old t007"
