"""How many epochs the final nets can have: as asked, or fewer, so that all of them fit into the time given."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import joblib

from cnn_core.data.splits import split_of
from cnn_core.spec import DataSpec
from pipeline.artifacts import TrialPaths, atomic_write_text
from pipeline.config import Config
from pipeline.search.record import read_history

FEWEST = 3  # epochs, however little time there is


def epochs_that_fit(config: Config, trials: Sequence[TrialPaths], data: DataSpec) -> int | None:
    """Return the epochs of every final net, None where each has twice its trial's.

    With ``final.minutes`` the time of an epoch is taken from the trials' own, scaled to the images of a fold, for fixed members too; what
    was decided is kept in final/epochs.json, so that a restart decides the same.
    """
    final = config.final
    if final.minutes is None or final.epochs is None:
        return final.epochs
    kept = config.paths.final / "epochs.json"
    members = final.members + len(final.fixed)
    asked = {"members": members, "folds": final.folds, "epochs": final.epochs, "minutes": final.minutes, "data": data.digest}
    if kept.exists():
        content = json.loads(kept.read_text())
        if content.get("asked") == asked:
            return int(content["epochs"])
    slots = config.slots.n or joblib.cpu_count()
    epoch_s = [seconds for trial in trials for seconds in _seconds(trial)]
    epochs = fitting_epochs(epoch_s, _scale(config, data), members, final.folds, slots, final.minutes * 60, final.epochs)
    atomic_write_text(kept, json.dumps({"asked": asked, "epochs": epochs}) + "\n")
    return epochs


def fitting_epochs(epoch_s: Sequence[float], scale: float, members: int, folds: int, slots: int, seconds: float, most: int) -> int:
    """Return the epochs at which members x folds nets, `slots` at once, take at most `seconds`; from FEWEST to `most`.

    epoch_s: seconds of epochs that were measured; scale: how many times longer an epoch of a final net is.
    """
    if not epoch_s or not members:
        return most
    rounds = math.ceil(members * folds / slots)
    return max(min(FEWEST, most), min(most, int(seconds / (rounds * statistics.median(epoch_s) * scale))))


def _seconds(trial: TrialPaths) -> list[float]:
    return [row["epoch_s"] for row in read_history(trial) if "epoch_s" in row]


def _scale(config: Config, data: DataSpec) -> float:
    """Return the training images of a fold over those of a trial."""
    folded = replace(data, fold=0, folds=config.final.folds, train_size=None, valid_size=None, valid_folder=None, valid_digest=None)
    tried = replace(data, valid_folder=None, valid_digest=None)
    return len(split_of(folded).train) / len(split_of(tried).train)
