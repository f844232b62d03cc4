"""Training a stored trial again: is it what the study says it is?"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cnn_core import training
from cnn_core.errors import InputError
from cnn_core.spec import Spec
from pipeline.config import Config, compose, spec_of
from pipeline.data import prepare
from pipeline.files import TrialPaths
from pipeline.search.leaderboard import best_number
from pipeline.search.study import MACHINE, read_study
from pipeline.search.trial_folder import read_history
from pipeline.slots.pool import open_slots
from pipeline.slots.slot import Slot

NOT_COMPARED = ("epoch", "epoch_s")


def replay(config: Config) -> int:
    """Train a trial again and print how each epoch compares; return 0 when nothing differs, else 1.
    Raises InputError.
    """
    study = read_study(config.paths, config.study.storage)
    number = config.arguments.trial
    if number is None:
        number = best_number(study, config.paths)
        if number is None:
            raise InputError(
                "trial: must be given for a study without a complete trial, got null "
                f"({config.paths.name!r})"
            )
    paths = config.paths.trial(number)
    spec, stored = stored_trial(config, paths, number)
    slots = open_slots(config, config.paths.folder, count=1)
    try:
        machine = slots[0].machine().fingerprint()
        differing = {
            key: (old, machine[key])
            for key, old in study.user_attrs.get(MACHINE, {}).items()
            if old != machine.get(key)
        }
        tolerance = config.arguments.tolerance if differing else 0.0
        for key, (old, new) in differing.items():
            print(
                f"{key} was {old}, is {new}: metrics are compared to {tolerance:g}, not to the bit"
            )
        return _compare(spec, stored, slots[0], number, tolerance)
    finally:
        for slot in slots:
            slot.close()


def stored_trial(
    config: Config, paths: TrialPaths, number: int
) -> tuple[Spec, list[dict[str, float]]]:
    """Return a trial's spec, composed from its stored overrides, and its stored metrics. Raises
    InputError where they are missing.
    """
    stored = read_history(paths)
    if not paths.overrides.exists() or not stored:
        raise InputError(
            f"trial: must be one that has trained an epoch, got {number} (nothing in "
            f"{paths.folder})"
        )
    about: dict[str, Any] = yaml.safe_load(paths.overrides.read_text())
    tried = compose(about["overrides"])
    return spec_of(tried, prepare(tried.data, config.root), tuple(about["seed"])), stored


def _compare(
    spec: Spec, stored: Sequence[Mapping[str, float]], slot: Slot, number: int, tolerance: float
) -> int:
    state, different = None, 0
    for epoch, row in enumerate(stored, 1):
        state, metrics = slot.call(training.train_epoch, spec, state)
        lines = [
            f"  {name}: stored {row.get(name)!r}, again {metrics.get(name)!r}"
            for name in sorted({*row, *metrics} - {*NOT_COMPARED})
            if not _same(row.get(name), metrics.get(name), tolerance)
        ]
        different += bool(lines)
        print(f"trial {number} epoch {epoch}: {'DIFFERENT' if lines else 'same'}")
        print(*lines, sep="\n", end="\n" if lines else "")
    words = "to the bit" if tolerance == 0 else f"to {tolerance:g}"
    if different:
        print(f"trial {number}: {different} of {len(stored)} epochs differ")
        return 1
    print(f"trial {number}: {len(stored)} epochs are the same {words}")
    return 0


def _same(stored: float | None, again: float | None, tolerance: float) -> bool:
    if stored is None or again is None:
        return stored is again
    if math.isnan(stored) or math.isnan(again):
        return math.isnan(stored) and math.isnan(again)
    return stored == again or abs(stored - again) <= tolerance * max(1.0, abs(stored))
