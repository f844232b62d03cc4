"""A study's database whose content is held against what this program writes: whoever made the file
may have written anything into it, and Optuna takes it as it comes.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from cnn_core.errors import InputError
from cnn_core.plain_json import parse_json
from pipeline.configuration.sampler_settings import SAMPLERS
from pipeline.redact import redact, shown
from pipeline.reporting.foreign_trials import FORKED_FROM, MARKED_FROM, ROUND
from pipeline.reporting.several_nets import NETS
from pipeline.search.fingerprint import BASE, FINGERPRINT, SPACE
from pipeline.search.storage import GENERATION

_RULE = "study: its database must hold what this program wrote"
_LONGEST = 200  # of a received text in a message


@contextlib.contextmanager
def content_checked(name: str) -> Iterator[None]:
    """Turn whatever Optuna raises while it reads what it cannot make sense of into an InputError,
    which names the `name`d content; a database's own errors pass.
    """
    try:
        yield
    except (InputError, StorageInternalError, SQLAlchemyError):
        raise
    except Exception as error:  # Optuna checks nothing, so it fails in any way
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(f"{_RULE}, got {shown(redact(text))[:_LONGEST]} ({name})") from error


class CheckedStorage(RDBStorage):
    """A study's database that raises InputError where it holds what no version of this program, nor
    Optuna, would have written.
    """

    _reading = staticmethod(content_checked)

    def _get_trials(  # by which Optuna's cache reads, and all of its own looks
        self,
        study_id: int,
        states: Any,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        with self._reading("trials"):
            trials = super()._get_trials(
                study_id, states, included_trial_ids, trial_id_greater_than
            )
            if trials:
                objectives = len(self.get_study_directions(study_id))
                for trial in trials:
                    _refuse(_wrong_with(trial, objectives), f"trial {trial.number!r}")
        numbers = sorted(trial.number for trial in trials)
        if states is None and trial_id_greater_than < 0 and numbers != [*range(len(trials))]:
            _refuse(f"the numbers {numbers}", "trials")  # they are places in a list, too
        return trials

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        with self._reading("directions"):
            found = super().get_study_directions(study_id)
        if not found or StudyDirection.NOT_SET in found:
            _refuse(f"{[each.name for each in found]}", "directions")
        return found

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        with self._reading("attributes of the study"):
            found = super().get_study_user_attrs(study_id)
            _refuse(_unlike(found, _OF_STUDIES), "attributes of the study")
        return found

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        with self._reading("attributes of the study"):
            return super().get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[Any]:
        with self._reading("studies"):
            return super().get_all_studies()


def _refuse(wrong: str, where: str) -> None:
    if wrong:
        raise InputError(f"{_RULE}, got {shown(redact(wrong))[:_LONGEST]} ({where})")


def _wrong_with(trial: FrozenTrial, objectives: int) -> str:
    """Return what a trial's content breaks, "" for nothing."""
    if not _is_whole(trial.number) or trial.number < 0:
        return f"the number {trial.number!r}"
    values = trial.values
    if values is None and trial.state == TrialState.COMPLETE:
        return "a complete trial without a value"
    if values is not None and (len(values) != objectives or not all(map(_is_number, values))):
        return f"the values {values!r} for {objectives} objectives"
    for step, value in trial.intermediate_values.items():
        if not _is_whole(step) or not _is_number(value):
            return f"the value {value!r} at epoch {step!r}"
    for name, value in trial.params.items():
        if not isinstance(value, (str, int, float, type(None))) or value != value:
            return f"the parameter {name!r} of {value!r}"
    return _unlike(trial.user_attrs, _OF_TRIALS) or _unlike(trial.system_attrs, _OF_TRIALS)


def _unlike(attributes: Mapping[str, Any], known: Mapping[str, Callable[[Any], bool]]) -> str:
    """Return which attribute of ours has another form than we give it, "" for none."""
    for key, value in attributes.items():
        if key in known and not known[key](value):
            return f"{key}={value!r}"
    return ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_finite, value))


def _stretches(value: Any) -> bool:
    """Tell whether it lists stretches of epochs: a trial's number, and from where to where."""
    return isinstance(value, list) and all(
        isinstance(each, list) and len(each) == 3 and all(_is_whole(n) and n >= 0 for n in each)
        for each in value
    )


def _samplers(value: Any) -> bool:
    """Tell whether it names two samplers and says why."""
    return _texts(value) and len(value) == 3 and {*value[:2]} <= SAMPLERS.keys()


def _prior(value: Any) -> bool:
    """Tell whether it is what `Prior.stored` returns."""
    if not _mapping(value) or value.keys() != {"first", "evidence", "most", "lines"}:
        return False
    if not isinstance(value["first"], list) or not isinstance(value["evidence"], list):
        return False
    pairs = [*value["first"], *value["evidence"]]
    return (
        all(isinstance(pair, list) and len(pair) == 2 and _mapping(pair[0]) for pair in pairs)
        and all(_text(source) for _, source in value["first"])
        and all(_is_finite(rank) for _, rank in value["evidence"])
        and _is_whole(value["most"])
        and _texts(value["lines"])
    )


def _origin(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2
    return pair and isinstance(value[0], str) and _is_whole(value[1])


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _fingerprint(value: Any) -> bool:
    """Tell whether it maps keys to JSON, and those of the space to lines with a path."""
    if not _json_texts(value):
        return False
    lines = {key: parse_json(text) for key, text in value.items()}
    return all(
        isinstance(line, dict) and isinstance(line.get("path"), str)
        for key, line in lines.items()
        if key.startswith(SPACE)
    )


def _json_texts(value: Any) -> bool:
    """Tell whether it maps keys to JSON."""
    if not isinstance(value, dict) or not _texts(list(value.values())):
        return False
    for text in value.values():
        parse_json(text)  # DamagedError: refused as what cannot be read
    return True


# The attributes of ours that a reader relies on. Those whose names are texts here are named in
# rooms and files that import this one.
_OF_STUDIES: dict[str, Callable[[Any], bool]] = {
    FINGERPRINT: _fingerprint,
    BASE: _texts,
    MARKED_FROM: _is_whole,
    "code": _text,
    "machine": _mapping,
    "ended": _is_whole,
    "deciding": _json_texts,
    "prior": _prior,
    "auto_sampler": _samplers,
    "round": _stretches,
}
_OF_TRIALS: dict[str, Callable[[Any], bool]] = {
    FORKED_FROM: _origin,
    ROUND: _is_whole,
    NETS: _numbers,
    "overrides": _texts,
    "replanned": _texts,
    "rung": _is_whole,
    "fixed_params": _mapping,
    "name": _text,
    "reason": _text,
    "prior": _text,
    "grid_point": _is_whole,
    GENERATION: _is_whole,
}
