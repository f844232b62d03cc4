"""What decided the trials of a study that were interrupted: in deterministic mode they are asked
for again, so the settings that chose them stay until they have ended.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import optuna

from cnn_core.errors import InputError
from pipeline.configuration import Config, again
from pipeline.configuration.overrides import override
from pipeline.search.fingerprint import differences
from pipeline.search.storage_errors import storage_errors

# User attribute of a study: key -> JSON of what decides its trials; since its last run that began
# without an interrupted one.
DECIDING = "deciding"
MODE = "study.deterministic"
GROUPS = ("sampler", "pruner")


def keep_deciding(study: optuna.Study, config: Config) -> None:
    """Note in the study what decides its trials from now on. Raises InputError where it has a trial
    that did not end, begun by other settings; nothing is known of a study made before they were
    noted.
    """
    now = deciding(config)
    with storage_errors():
        then = study.user_attrs.get(DECIDING)
        ended = all(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        if ended and then != now:
            study.set_user_attr(DECIDING, now)
    if not ended and then is not None:
        _check(config, then, now)


def deciding(config: Config) -> dict[str, str]:
    """Return what decides a study's trials: one that is not deterministic asks for each once, and
    may be resumed with any sampler and pruner.
    """
    values: dict[str, Any] = {MODE: config.study.deterministic}
    if config.study.deterministic:
        values |= {"study.round": config.study.round, "study.enqueue": config.study.enqueue}
        for group in GROUPS:
            fields = dataclasses.asdict(getattr(config, group))
            values[group] = config.choices.get(group) or fields["name"]
            values |= {f"{group}.{key}": fields[key] for key in fields if key != "name"}
    return {key: json.dumps(value) for key, value in values.items()}


def _check(config: Config, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    if then.get(MODE) != now[MODE]:  # only one of them says anything of the rest
        then, now = {MODE: then.get(MODE, "null")}, {MODE: now[MODE]}
    changed = differences(dict(then), dict(now))
    if not changed:
        return
    keys = {key for key in {**then, **now} if then.get(key) != now.get(key)}
    groups = {key.partition(".")[0] for key in keys} & {*GROUPS}
    values = [
        override(key, json.loads(text))
        for key, text in then.items()
        if key in keys or key.partition(".")[0] in groups
    ]
    name = config.study.name
    raise InputError(
        f"study {name!r}: trials that were interrupted must end as they were begun, got "
        f"{'; '.join(changed)}. Start another study: study.name=NEW (study.fork={name} takes over "
        f"the trials that fit), or end them first: {again(_without(config, groups), *values)}"
    )


def _without(config: Config, groups: set[str]) -> Config:
    """Return the configuration as if the user had said nothing of these groups."""
    command, *given = config.invocation or (config.command, *config.overrides)
    kept = [text for text in given if text.partition("=")[0].partition(".")[0] not in groups]
    return dataclasses.replace(config, invocation=(command, *kept))
