"""How many epochs the final nets can have: as asked, or fewer, so that all of them fit into the time given."""

import json
import statistics
from collections.abc import Sequence

import joblib

from cnn_core.data.splits import split_of
from cnn_core.spec import DataSpec
from pipeline.artifacts import TrialPaths, atomic_write_text
from pipeline.config import Config
from pipeline.search.record import read_history

FEWEST = 3  # epochs, however little time there is


def epochs_that_fit(config: Config, trials: Sequence[TrialPaths], tried: DataSpec, nets: Sequence[DataSpec]) -> int | None:
    """Return the epochs of every final net, None where each has twice its trial's.

    With ``final.minutes`` the time of an epoch is taken from the trials' own, scaled from the images of a trial (`tried`) to those of the
    `nets`, which come in the order of their training, for fixed members too; what was decided is kept in final/epochs.json, so that a
    restart decides the same.
    """
    final = config.final
    if final.minutes is None or final.epochs is None:
        return final.epochs
    kept = config.paths.final / "epochs.json"
    members = final.members + len(final.fixed)
    asked = {"members": members, "epochs": final.epochs, "minutes": final.minutes, "data": tried.digest}
    asked |= {"folds": final.folds, "refit": final.refit}
    if kept.exists():
        content = json.loads(kept.read_text())
        if content.get("asked") == asked:
            return int(content["epochs"])
    slots = config.slots.n or joblib.cpu_count()
    epoch_s = [seconds for trial in trials for seconds in _seconds(trial)]
    images = len(split_of(tried).train)
    scales = [len(split_of(net).train) / images for net in nets]
    epochs = fitting_epochs(epoch_s, scales, slots, final.minutes * 60, final.epochs)
    atomic_write_text(kept, json.dumps({"asked": asked, "epochs": epochs}) + "\n")
    return epochs


def fitting_epochs(epoch_s: Sequence[float], scales: Sequence[float], slots: int, seconds: float, most: int) -> int:
    """Return the epochs at which all nets, `slots` at once, take at most `seconds`; from FEWEST to `most`.

    epoch_s: seconds of epochs that were measured; scales: how many times longer each net's epoch is, in the order of their training.
    """
    if not epoch_s or not scales:
        return most
    return max(min(FEWEST, most), min(most, int(seconds / (longest_slot(scales, slots) * statistics.median(epoch_s)))))


def longest_slot(lengths: Sequence[float], slots: int) -> float:
    """Return when the last of `slots` ends, each of which takes the next job as soon as it is free."""
    ends = [0.0] * slots
    for length in lengths:
        first = ends.index(min(ends))
        ends[first] += length
    return max(ends)


def _seconds(trial: TrialPaths) -> list[float]:
    return [row["epoch_s"] for row in read_history(trial) if "epoch_s" in row]
