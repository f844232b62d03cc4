"""Taking over the trials of another study that fit a new one: ``study.name=NEW study.fork=OLD``."""

import json
from typing import Any

import optuna
from optuna.trial import FrozenTrial, create_trial

from cnn_core.errors import InputError
from cnn_core.spec import ADDED
from pipeline.configuration import Config, compose
from pipeline.configuration.overrides import Value
from pipeline.files import StudyPaths
from pipeline.reporting.foreign_trials import FORKED_FROM
from pipeline.search.fingerprint import FINGERPRINT, Fingerprint, flat
from pipeline.search.open_study import read_study
from pipeline.search.queue import COUNTED
from pipeline.search.space import Space
from pipeline.search.storage import holds
from pipeline.trial_folder import TrialFolder

MUST_AGREE = ("study.objectives", "study.seeds", "study.folds", "data.digest")


def nothing_of_its_own(study: optuna.Study) -> bool:
    """Tell whether a study has only trials that it took over, so that more may be added."""
    return all(FORKED_FROM in trial.user_attrs for trial in study.get_trials(deepcopy=False))


def take_over(study: optuna.Study, config: Config, space: Space, mark: Fingerprint) -> str:
    """Copy the complete and pruned trials of ``study.fork`` that the new study could have tried;
    return a line for the user.

    A trial fits if every value that the new study fixes was the same and the others lie in the new
    space. Trials that an interrupted copy already added are not copied again. Raises InputError if
    the other study does not exist or has other objectives or data.
    """
    name = config.study.fork
    assert name is not None
    paths = StudyPaths(config.root, name)
    old = read_study(paths, config.study.storage, "study.fork")
    theirs: Fingerprint = old.user_attrs.get(FINGERPRINT, {})
    for key in MUST_AGREE:
        if theirs.get(key) != mark.get(key):
            raise InputError(
                f"study.fork: {key} must be the same in both studies, got {_known(theirs, key)} in "
                f"{name!r}, {_known(mark, key)} now"
            )
    trials = old.get_trials(deepcopy=False, states=COUNTED)
    fitting = [
        copied for trial in trials if (copied := _translate(trial, paths, space, mark)) is not None
    ]
    taken = [trial.user_attrs[FORKED_FROM] for trial in study.get_trials(deepcopy=False)]
    study.add_trials(trial for trial in fitting if trial.user_attrs[FORKED_FROM] not in taken)
    return (
        f"study.fork: {len(fitting)} of {len(trials)} trials of {name!r} fit and are taken over; "
        "they count"
    )


def _known(mark: Fingerprint, key: str) -> str:
    """Return a value of a fingerprint, which lacks later keys where they have their defaults."""
    return mark.get(key, json.dumps(ADDED[""].get(key.removeprefix("study."))))


def configuration_of(paths: StudyPaths, number: int) -> dict[str, Any] | None:
    """Return every value that a study's trial was trained with, by its dotted key, and the files
    chosen, by group; None where its folder is lost or another version of the program wrote it.
    """
    if not paths.trial(number).overrides.exists():
        return None
    try:
        tried = compose(TrialFolder(paths.trial(number)).read().overrides)
    except InputError:
        return None
    chosen = {group: choice for group, choice in tried.choices.items() if choice is not None}
    return flat(tried) | chosen


def _translate(
    trial: FrozenTrial, paths: StudyPaths, space: Space, mark: Fingerprint
) -> FrozenTrial | None:
    """Return the trial in the new study's terms; None if it does not fit."""
    values = configuration_of(paths, trial.number)
    if values is None or any(
        json.dumps(values[key], sort_keys=True) != text
        for key, text in mark.items()
        if key in values
    ):
        return None
    params = _params(space, values)
    if params is None:
        return None
    distributions = space.distributions()
    return create_trial(
        state=trial.state,
        values=trial.values,
        params=params,
        distributions={name: distributions[name] for name in params},
        intermediate_values=trial.intermediate_values,
        user_attrs={FORKED_FROM: [paths.name, trial.number]},
    )


def _params(space: Space, values: dict[str, Any]) -> dict[str, Value] | None:
    """Return the values of the space's active parameters; None if one lies outside its
    distribution.
    """
    params: dict[str, Value] = {}
    for parameter in space.parameters:
        if any(params.get(name) not in allowed for name, allowed in parameter.when.items()):
            continue
        value, distribution = values.get(parameter.path), parameter.distribution()
        if not holds(distribution, value):
            return None
        params[parameter.name] = value
    return params
