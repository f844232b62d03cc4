"""A study's database with a copy of it in memory: written through, read from memory alone.

Optuna's own cache reads every unfinished trial from the database again at each look, so that with 64 slots one decision of a pruner took
20 ms and one suggestion 50. The owner lock makes this process the only writer, so what it has written is what there is.
"""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class MirrorStorage(InMemoryStorage):
    """One study of a database. Each change goes to the database first, so memory never knows more than the disk."""

    def __init__(self, database: RDBStorage, study_name: str) -> None:
        super().__init__()
        self._database = database
        self._there = database.get_study_id_from_name(study_name)
        self._trial_ids: list[int] = []  # of the database, by this storage's own
        self._loading = True
        here = self.create_new_study(database.get_study_directions(self._there), study_name)
        for key, value in database.get_study_user_attrs(self._there).items():
            super().set_study_user_attr(here, key, value)
        for key, value in database.get_study_system_attrs(self._there).items():
            super().set_study_system_attr(here, key, value)
        for trial in sorted(database.get_all_trials(self._there), key=lambda trial: trial.number):
            self._trial_ids.append(trial._trial_id)
            super().create_new_trial(here, trial)
        self._loading = False

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        if not self._loading:
            raise NotImplementedError("a mirror holds one study")
        return super().create_new_study(directions, study_name)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._database.set_study_user_attr(self._there, key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._database.set_study_system_attr(self._there, key, value)
        super().set_study_system_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        there = self._database.create_new_trial(self._there, template_trial)
        if (number := self._database.get_trial_number_from_id(there)) != len(self._trial_ids):
            raise StorageInternalError(f"another program has added trials: the next must be {len(self._trial_ids)}, got {number}")
        self._trial_ids.append(there)
        return super().create_new_trial(study_id, template_trial)

    def set_trial_param(self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution) -> None:
        self._database.set_trial_param(self._trial_ids[trial_id], param_name, param_value_internal, distribution)
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        done = self._database.set_trial_state_values(self._trial_ids[trial_id], state, values)
        return done and super().set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        self._database.set_trial_intermediate_value(self._trial_ids[trial_id], step, intermediate_value)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._database.set_trial_user_attr(self._trial_ids[trial_id], key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._database.set_trial_system_attr(self._trial_ids[trial_id], key, value)
        super().set_trial_system_attr(trial_id, key, value)
