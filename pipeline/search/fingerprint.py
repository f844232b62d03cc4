"""What makes two runs the same study: space, objectives, seed, data, and every fixed value that a
net is trained with.
"""

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cnn_core.spec import ADDED, WITHOUT_EFFECT
from pipeline.configuration import Config
from pipeline.configuration.overrides import override, parse_override
from pipeline.configuration.searchable import SECTIONS
from pipeline.search.space import Space

# The data's location does not matter, their digest does; nor how many threads train.
WITHOUT_MEANING = {
    "data.root",
    "data.download",
    *(f"{section}.{name}" for section, name in WITHOUT_EFFECT),
}
# User attributes of a study: its fingerprint, and the overrides that it was run with, without which
# its trials' parameters make no whole configuration.
FINGERPRINT = "fingerprint"
BASE = "overrides"
SPACE = "space "  # what a searched parameter's line of a fingerprint begins with

Fingerprint = dict[str, str]  # dotted key -> JSON


def fingerprint(config: Config, space: Space, data_digest: str) -> Fingerprint:
    """Return the study's fingerprint as flat text, so that two can be compared line by line."""
    searched = space.paths
    given = {parse_override(text).key_or_group for text in config.overrides}
    values: dict[str, Any] = {
        "study.objectives": list(config.study.objectives),
        "study.seed": config.study.seed,
        "data.digest": data_digest,
    }
    if config.plugins:
        values["plugins"] = {plugin.path.name: plugin.digest for plugin in config.plugins}
    if config.study.objective == "top_k":
        values["study.top_k"] = config.study.top_k
    values |= {
        f"study.{key}": value
        for key, value in (("seeds", config.study.seeds), ("folds", config.study.folds))
        if value != ADDED[""][key]
    }
    if config.study.paired:
        values["study.paired"] = True
    if config.study.prior:
        values["study.prior"] = list(config.study.prior)
        values["study.prior_trials"] = config.study.prior_trials
    values |= {f"{SPACE}{name}": line for name, line in space.fingerprint().items()}
    for key, value in flat(config).items():
        from_searched_file = key.partition(".")[0] in searched and key not in given
        if key not in searched and not from_searched_file:
            values[key] = value
    return {key: json.dumps(value, sort_keys=True) for key, value in values.items()}


def space_lines(mark: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return what a study searched, from its fingerprint: name -> path, kind, range or choices."""
    return {
        key.removeprefix(SPACE): json.loads(line)
        for key, line in mark.items()
        if key.startswith(SPACE)
    }


def chosen_overrides(mark: Mapping[str, str], params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a trial's parameters in the study of this fingerprint as overrides, in the space's
    order.
    """
    lines = space_lines(mark)
    return tuple(override(lines[name]["path"], params[name]) for name in lines if name in params)


def flat(config: Config) -> dict[str, Any]:
    """Return every value that a net is trained with, by its dotted key; those that did not always
    exist only where they change something, so that an older study can be resumed.
    """
    values: dict[str, Any] = {}
    for section in SECTIONS:
        settings = getattr(config, section)
        fields = settings if isinstance(settings, Mapping) else dataclasses.asdict(settings)
        added = ADDED.get(section, {})
        values |= {
            f"{section}.{key}": value
            for key, value in fields.items()
            if key not in added or value != added[key]
        }
    return {key: value for key, value in values.items() if key not in WITHOUT_MEANING}


def differences(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return a line for each key whose value differs, such as ``train.epochs: 10 in the study, 5
    now``.
    """
    keys = [*old, *(key for key in new if key not in old)]
    return [
        f"{key}: {old.get(key, 'absent')} in the study, {new.get(key, 'absent')} now"
        for key in keys
        if old.get(key) != new.get(key)
    ]


ROOT = Path(__file__).resolve().parents[2]


@cache
def code_version() -> str:
    """Return the commit ("+" appended if tracked files differ), else the distribution's version."""
    if (ROOT / ".git").exists():
        commit = _git("rev-parse", "HEAD")
        if commit:
            return commit[:12] + (
                "+" if _git("status", "--porcelain", "--untracked-files=no") else ""
            )
    try:
        return version("numpy-cnn-sweep")
    except PackageNotFoundError:
        return "unknown"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
