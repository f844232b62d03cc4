"""How many epochs the final nets can have: as asked, or fewer, so that all of them fit into the time given."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import joblib

from cnn_core.data.splits import split_of
from cnn_core.spec import Spec
from pipeline.artifacts import TrialPaths, atomic_write_text
from pipeline.config import Config
from pipeline.search.problem import model_cost
from pipeline.search.record import read_history

FEWEST = 3  # epochs, however little time there is


def epochs_that_fit(config: Config, tried: Iterable[tuple[TrialPaths, Spec]], nets: Sequence[Spec]) -> int | None:
    """Return the epochs of every final net, None where each has twice its trial's.

    With ``final.minutes`` the time of an epoch is taken from the trials' own, scaled by images and multiply-adds to those of the `nets`,
    which come in the order of their training; what was decided is kept in final/epochs.json, so that a restart decides the same.
    """
    final = config.final
    if final.minutes is None or final.epochs is None:
        return final.epochs
    kept = config.paths.final / "epochs.json"
    limits = {"folds": final.folds, "refit": final.refit, "epochs": final.epochs, "minutes": final.minutes}
    asked = {"nets": len(nets), "data": nets[0].data.digest, **limits}
    if kept.exists():
        content = json.loads(kept.read_text())
        if content.get("asked") == asked:
            return int(content["epochs"])
    epochs = fitting_epochs(expected_s(tried, nets), config.slots.n or joblib.cpu_count(), final.minutes * 60, final.epochs)
    atomic_write_text(kept, json.dumps({"asked": asked, "epochs": epochs}) + "\n")
    return epochs


def expected_s(tried: Iterable[tuple[TrialPaths, Spec]], nets: Sequence[Spec]) -> list[float]:
    """Return how long an epoch of each net should take; empty where no trial's epoch was timed.

    It is taken from the trials whose nets are most like it, scaled by images and multiply-adds: of the same kernel, if any, since a kernel
    of 3 is convolved by another algorithm, and then of the nearest width, since a wide net does more multiply-adds in a second.
    """
    timed = [Timed(spec.model.kernel, multiply_adds(spec), s / _images(spec)) for paths, spec in tried for s in _seconds(paths)]
    return [_expected_image_s(timed, net) * _images(net) for net in nets] if timed else []


@dataclass(frozen=True)
class Timed:
    """An epoch of a trial: its net's kernel and multiply-adds, and the seconds an image took."""

    kernel: int
    multiply_adds: float
    image_s: float


def _expected_image_s(timed: Sequence[Timed], net: Spec) -> float:
    work = multiply_adds(net)
    alike = [one for one in timed if one.kernel == net.model.kernel] or timed
    distance = min(abs(math.log(one.multiply_adds / work)) for one in alike)
    nearest = [one for one in alike if abs(math.log(one.multiply_adds / work)) == distance]
    return statistics.median(one.image_s * work / one.multiply_adds for one in nearest)


def multiply_adds(spec: Spec) -> float:
    """Return the multiply-adds of one image's forward pass."""
    return model_cost(spec.model, spec.data.image_shape, spec.data.classes)["multiply_adds"]


def _images(spec: Spec) -> int:
    return len(split_of(spec.data).train)


def fitting_epochs(epoch_s: Sequence[float], slots: int, seconds: float, most: int) -> int:
    """Return the epochs at which all nets, `slots` at once, take at most `seconds`; from FEWEST to `most`.

    epoch_s: how long an epoch of each net takes, in the order of their training; empty where nobody knows.
    """
    if not epoch_s:
        return most
    return max(min(FEWEST, most), min(most, int(seconds / longest_slot(epoch_s, slots))))


def longest_slot(lengths: Sequence[float], slots: int) -> float:
    """Return when the last of `slots` ends, each of which takes the next job as soon as it is free."""
    ends = [0.0] * slots
    for length in lengths:
        first = ends.index(min(ends))
        ends[first] += length
    return max(ends)


def _seconds(trial: TrialPaths) -> list[float]:
    return [row["epoch_s"] for row in read_history(trial) if "epoch_s" in row]
