"""What makes two runs the same study: space, objectives, seed, data, and every fixed value that a net is trained with."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pipeline.config import Config
from pipeline.search.space import Space

SECTIONS = ("data", "model", "optimizer", "schedule", "regularizer", "augment", "train")
PLACES = ("root", "download")  # where the data lie does not matter, its digest does

Fingerprint = dict[str, str]  # dotted key -> JSON


def fingerprint(config: Config, space: Space, data_digest: str) -> Fingerprint:
    """Return the study's fingerprint as flat text, so that two can be compared line by line."""
    searched = space.paths
    values: dict[str, Any] = {
        "study.objectives": list(config.study.objectives),
        "study.seed": config.study.seed,
        "data.digest": data_digest,
    }
    values |= {f"space {name}": line for name, line in space.fingerprint().items()}
    for section in SECTIONS:
        if section in searched:  # its file differs from trial to trial
            continue
        settings = getattr(config, section)
        fields = settings if isinstance(settings, Mapping) else dataclasses.asdict(settings)
        values |= {f"{section}.{key}": value for key, value in fields.items() if not (section == "data" and key in PLACES)}
    return {key: json.dumps(value, sort_keys=True) for key, value in values.items() if key not in searched}


def differences(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Return a line for each key whose value differs, such as ``train.epochs: 10 in the study, 5 now``."""
    keys = [*old, *(key for key in new if key not in old)]
    return [f"{key}: {old.get(key, 'absent')} in the study, {new.get(key, 'absent')} now" for key in keys if old.get(key) != new.get(key)]
