"""Rules that types cannot say: limits of single values, values that exclude each other, and what is
never allowed.
"""

import dataclasses
import math
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cnn_core.errors import InputError
from pipeline.configuration.hints import did_you_mean

if TYPE_CHECKING:
    from pipeline.configuration.tree import Config

_TESTS: dict[str, Callable[[float, float], bool]] = {
    "low": operator.ge,
    "high": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}
_SIGNS = {"low": ">=", "high": "<=", "above": ">", "below": "<"}
OBJECTIVES = ("valid_accuracy", "multiply_adds")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")


def check_limits(section: str, settings: Any) -> None:
    """Check every field against the limits and words that it was declared with; every number must
    be finite. Raises InputError.
    """
    for item in dataclasses.fields(settings):
        key = f"{section}.{item.name}" if section else item.name
        value = getattr(settings, item.name)
        for number in value if isinstance(value, list | tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_number(key, number, item.metadata.get("limits", {}))
        words = item.metadata.get("choices", ())
        if words and value not in words:
            raise InputError(
                f"{key}: must be one of {', '.join(words)}, got "
                f"{value!r}{did_you_mean(str(value), words)}"
            )


def _check_number(key: str, value: float, limits: dict[str, float]) -> None:
    if not math.isfinite(value):
        raise InputError(f"{key}: must be finite, got {value}")
    if not all(_TESTS[name](value, limit) for name, limit in limits.items()):
        rule = " and ".join(f"{_SIGNS[name]} {limit:g}" for name, limit in limits.items())
        raise InputError(f"{key}: must be {rule}, got {value:g}")


def refuse_targets(value: Any, place: str) -> None:
    """Refuse keys such as ``_target_`` anywhere: nothing in a configuration names code to run.
    Raises InputError.
    """
    if isinstance(value, dict):
        for key, child in value.items():
            if re.search(r"(^|\.)_(target|partial|recursive|convert|args)_($|\.)", str(key)):
                raise InputError(
                    f"{key}: a configuration never names code to run, and this is refused unread "
                    f"({place})"
                )
            refuse_targets(child, place)
    elif isinstance(value, list | tuple):
        for child in value:
            refuse_targets(child, place)


def check_name(key: str, name: str) -> None:
    """Check that `name` can be a folder's name on every system. Raises InputError."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise InputError(
            f"{key}: must be up to 100 letters, digits, _ . + - and not begin with . + -, got "
            f"{name!r}"
        )


def check_config(config: "Config") -> None:
    """Check values that depend on each other. Raises InputError."""
    study, budget = config.study, config.budget
    if not str(config.node["root"] or "").strip():
        raise InputError(f"root: must be a folder, got {config.node['root']!r}")
    check_name("study.name", study.name)
    if study.fork is not None:
        check_name("study.fork", study.fork)
    if budget.trials is None and budget.minutes is None:
        budget.trials = 20
    if study.deterministic and budget.minutes is not None:
        raise InputError(
            "study.deterministic: excludes budget.minutes, since time is never the same twice, "
            f"got budget.minutes={budget.minutes:g}"
        )
    for objective in study.objectives:
        if objective not in OBJECTIVES:
            raise InputError(
                f"study.objectives: must be among {', '.join(OBJECTIVES)}, got "
                f"{objective!r}{did_you_mean(objective, OBJECTIVES)}"
            )
    if len(set(study.objectives)) != len(study.objectives) or study.objectives[:1] != [
        "valid_accuracy"
    ]:
        raise InputError(
            "study.objectives: must begin with valid_accuracy and name each once, got "
            f"{study.objectives}"
        )
    if len(study.objectives) > 1 and config.pruner.name != "none":
        raise InputError(
            "pruner: must be none with two objectives, since no trial is better early on both, "
            f"got pruner={config.pruner.name}"
        )
    if len(study.objectives) > 1 and config.sampler.name in ("cmaes", "gp"):
        raise InputError(
            "sampler: must be nsga2, tpe, random or grid with two objectives, got "
            f"{config.sampler.name}"
        )
    if config.slots.name == "dask" and config.slots.address is None:
        raise InputError(
            "slots.address: must be given with slots=dask, as slots.address=tcp://127.0.0.1:8786, "
            "got null"
        )
