"""A study's database with a write-through copy in memory, which answers all reads; and the only
module that uses Optuna's private names.

Optuna's own cache rereads every unfinished trial from the database at each access, so that with 64
slots one decision of a pruner took 20 ms and one suggestion 50. The owner lock makes this process
the only writer, so the copy is always current.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.samplers import NSGAIISampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

AnyTrial = Trial | FrozenTrial
GENERATION = NSGAIISampler._get_generation_key()  # note on a trial of NSGA-II's population


class MirrorStorage(InMemoryStorage):
    """One study of a database, mirrored in memory. Each change goes to the database first, so
    memory is never ahead of the disk, except for a trial being asked for: it is written once its
    parameters are chosen, in one transaction instead of one for each.
    """

    def __init__(self, database: RDBStorage, study_name: str) -> None:
        super().__init__()
        self._database = database
        self._there = database.get_study_id_from_name(study_name)
        self._trial_ids: list[int] = []  # of the database, indexed by this storage's own
        self._loading = True
        self._holding = False
        self._held: int | None = None  # the trial that is only in memory so far
        here = self.create_new_study(database.get_study_directions(self._there), study_name)
        for key, value in database.get_study_user_attrs(self._there).items():
            super().set_study_user_attr(here, key, value)
        for key, value in database.get_study_system_attrs(self._there).items():
            super().set_study_system_attr(here, key, value)
        for trial in sorted(database.get_all_trials(self._there), key=lambda trial: trial.number):
            self._trial_ids.append(trial._trial_id)
            super().create_new_trial(here, trial)
        self._loading = False

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        if not self._loading:
            raise NotImplementedError("a mirror holds one study")
        return super().create_new_study(directions, study_name)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._database.set_study_user_attr(self._there, key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._database.set_study_system_attr(self._there, key, value)
        super().set_study_system_attr(study_id, key, value)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Hold back a trial created in this context until its parameters are chosen; a queued trial
        is written as usual.
        """
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            if self._held is not None:
                self._write_held(self._held)

    def _write_held(self, trial_id: int) -> None:
        self._held = None
        try:
            self._trial_ids.append(_insert(self._database, self._there, self.get_trial(trial_id)))
        except BaseException:
            study_id, _ = self._trial_id_to_study_id_and_number.pop(trial_id)
            self._studies[study_id].trials.pop()
            self._max_trial_id -= 1
            raise

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        if self._held is not None:
            raise RuntimeError("one trial at a time is asked for")
        if self._holding and template_trial is None:
            self._held = super().create_new_trial(study_id)
            return self._held
        there = self._database.create_new_trial(self._there, template_trial)
        _check_number(len(self._trial_ids), self._database.get_trial_number_from_id(there))
        self._trial_ids.append(there)
        return super().create_new_trial(study_id, template_trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        if trial_id != self._held:
            self._database.set_trial_param(
                self._trial_ids[trial_id], param_name, param_value_internal, distribution
            )
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        done = self._database.set_trial_state_values(self._trial_ids[trial_id], state, values)
        return done and super().set_trial_state_values(trial_id, state, values)

    def reopen(self, trial_id: int) -> None:
        """Take back that a trial has ended."""
        _reopen(self._database, self._trial_ids[trial_id])
        with self._lock:
            trial = copy(self._get_trial(trial_id))
            trial.state, trial.values, trial.datetime_complete = TrialState.RUNNING, None, None
            self._set_trial(trial_id, trial)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        trial, there = self.get_trial(trial_id), self._trial_ids[trial_id]
        if trial.state.is_finished() or step in trial.intermediate_values:
            self._database.set_trial_intermediate_value(
                there, step, intermediate_value
            )  # refuses if finished, else replaces
        else:
            _insert_value(self._database, there, step, intermediate_value)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id != self._held:
            self._database.set_trial_user_attr(self._trial_ids[trial_id], key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id != self._held:
            self._database.set_trial_system_attr(self._trial_ids[trial_id], key, value)
        super().set_trial_system_attr(trial_id, key, value)


def _insert(database: RDBStorage, study_id: int, trial: FrozenTrial) -> int:
    """Write a running trial with its parameters and attributes; return its id in the database.

    Optuna's own way looks up the trial again for each parameter, and the parameter in earlier
    trials: half of a trial's cost.
    """
    with Session(database.engine) as session, session.begin():
        _check_number(
            trial.number, session.query(models.TrialModel).filter_by(study_id=study_id).count()
        )
        row = models.TrialModel(
            study_id=study_id,
            number=trial.number,
            state=trial.state,
            datetime_start=trial.datetime_start,
        )
        row.params = [
            models.TrialParamModel(
                param_name=name,
                param_value=distribution.to_internal_repr(trial.params[name]),
                distribution_json=distribution_to_json(distribution),
            )
            for name, distribution in trial.distributions.items()
        ]
        row.user_attributes = [
            models.TrialUserAttributeModel(key=k, value_json=json.dumps(v))
            for k, v in trial.user_attrs.items()
        ]
        row.system_attributes = [
            models.TrialSystemAttributeModel(key=k, value_json=json.dumps(v))
            for k, v in trial.system_attrs.items()
        ]
        session.add(row)
        session.flush()
        return int(row.trial_id)


def _reopen(database: RDBStorage, trial_id: int) -> None:
    """Make an ended trial a running one, in one transaction."""
    with Session(database.engine) as session, session.begin():
        row = session.get_one(models.TrialModel, trial_id, with_for_update=True)
        if not row.state.is_finished():
            raise StorageInternalError(f"only a trial that has ended is reopened, got {row.state}")
        row.state, row.datetime_complete = TrialState.RUNNING, None
        session.execute(
            delete(models.TrialValueModel).where(models.TrialValueModel.trial_id == trial_id)
        )


def _insert_value(database: RDBStorage, trial_id: int, step: int, value: float) -> None:
    """Write a value not stored yet, in one statement; Optuna's own way first looks up the trial and
    the step.
    """
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    row = {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": stored,
        "intermediate_value_type": kind,
    }
    with database.engine.begin() as connection:
        connection.execute(insert(models.TrialIntermediateValueModel), row)


def _check_number(expected: int, got: int) -> None:
    if got != expected:
        raise StorageInternalError(
            f"another program has added trials: the next must be {expected}, got {got}"
        )


def asking(study: Study) -> contextlib.AbstractContextManager[None]:
    """Return the context in which to ask for a trial of `study` and suggest its parameters."""
    storage = study._storage
    return storage.asking() if isinstance(storage, MirrorStorage) else contextlib.nullcontext()


def set_state(
    study: Study, trial: AnyTrial, state: TrialState, values: Sequence[float] | None = None
) -> None:
    """Set the state of a trial that has not ended."""
    study._storage.set_trial_state_values(trial._trial_id, state, values)


def reopen(study: Study, trial: AnyTrial) -> None:
    """Take back that a trial has ended: it is running, without a value. Optuna knows no such step.

    Raises StorageInternalError if the trial has not ended.
    """
    storage, trial_id = study._storage, trial._trial_id
    if isinstance(storage, MirrorStorage):
        storage.reopen(trial_id)
    elif isinstance(storage, _CachedStorage):
        _reopen(storage._backend, trial_id)
        with storage._lock:  # it reads ended trials once and for all
            storage._studies[study._study_id].unfinished_trial_ids.add(trial_id)
        storage._read_trials_from_remote_storage(study._study_id)
    else:
        raise NotImplementedError(f"reopening a trial in {type(storage).__name__}")


def notes_of(study: Study, trial: AnyTrial) -> dict[str, Any]:
    """Return what samplers and pruners have noted on a trial: Optuna's system attributes."""
    return study._storage.get_trial_system_attrs(trial._trial_id)


def note(study: Study, trial: AnyTrial, key: str, value: Any) -> None:
    """Note something on a trial for samplers and pruners."""
    study._storage.set_trial_system_attr(trial._trial_id, key, value)


def label(study: Study, trial: AnyTrial, key: str, value: Any) -> None:
    """Set a user attribute of a trial, which people see as well."""
    study._storage.set_trial_user_attr(trial._trial_id, key, value)


def labels_of(study: Study, trial: AnyTrial) -> dict[str, Any]:
    """Return a trial's user attributes as they are now; the trial's own may be older."""
    return dict(study._storage.get_trial_user_attrs(trial._trial_id))


def reported_epochs(study: Study, trial: AnyTrial) -> set[int]:
    """Return the epochs whose value the study holds."""
    return set(study._storage.get_trial(trial._trial_id).intermediate_values)


def all_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials as they are now; Study.get_trials may answer from a cache."""
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def running_trial(study: Study, stored: FrozenTrial) -> Trial:
    """Return a stored trial as one that can be reported on and told."""
    return Trial(study, stored._trial_id)


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Tell whether a distribution contains a value."""
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):
        return False
