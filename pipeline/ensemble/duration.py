"""How many epochs the final nets can have: as configured, or fewer, so that all of them fit into
the given time.
"""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import joblib

from cnn_core.data.splits import split_of
from cnn_core.spec import Spec
from pipeline.configuration import Config
from pipeline.files import TrialPaths, atomic_write_text
from pipeline.search.problem import costs_of
from pipeline.trial_folder import TrialFolder

FEWEST = 3  # epochs, however little time there is


def epochs_that_fit(
    config: Config, tried: Iterable[tuple[TrialPaths, Spec]], nets: Sequence[Spec]
) -> int | None:
    """Return the epochs of every net that predicts, None where each gets twice its trial's; folds'
    nets that are only scored get a share of them.

    With ``final.minutes`` an epoch's time is estimated from the trials' epochs, scaled by images
    and multiply-adds to the `nets`, which come in training order. The decision is kept in
    final/epochs.json, so that a restart decides the same, even with other slots: with another
    number of epochs the nets would have to be trained again.
    """
    final = config.final
    if final.minutes is None or final.epochs is None:
        return final.epochs
    kept = config.paths.final / "epochs.json"
    asked = {"nets": [net.digest() for net in nets], "minutes": final.minutes}
    if kept.exists():
        content = json.loads(kept.read_text())
        if content.get("asked") == asked:
            return int(content["epochs"])
    # A net with fewer epochs than final.epochs, such as a fold's, counts as that share of one.
    expected = [
        seconds * net.train.epochs / final.epochs
        for seconds, net in zip(expected_s(tried, nets), nets, strict=False)
    ]
    if not expected:
        return final.epochs
    epochs = fitting_epochs(
        expected, config.slots.n or joblib.cpu_count(), final.minutes * 60, final.epochs
    )
    atomic_write_text(kept, json.dumps({"asked": asked, "epochs": epochs}) + "\n")
    return epochs


def expected_s(tried: Iterable[tuple[TrialPaths, Spec]], nets: Sequence[Spec]) -> list[float]:
    """Return how long an epoch of each net should take, empty where no trial's epoch was timed.

    The estimate comes from the trials with the most similar nets, scaled by images and
    multiply-adds: of the same architecture and kernel, if any, since a kernel of 3 is convolved by
    another algorithm, and of those the nearest in multiply-adds, since a wide net does more of them
    per second.
    """
    timed = [_timed(paths, spec) for paths, spec in tried if _seconds(paths)]
    return [_expected_image_s(timed, net) * images_an_epoch(net) for net in nets] if timed else []


@dataclass(frozen=True)
class Timed:
    """A trial: its net's architecture and kernel, its multiply-adds, and the seconds an image took
    in its median epoch.
    """

    kind: tuple[str, int]
    multiply_adds: float
    image_s: float


def _timed(paths: TrialPaths, spec: Spec) -> Timed:
    return Timed(
        _kind(spec), multiply_adds(spec), statistics.median(_seconds(paths)) / images_an_epoch(spec)
    )


def _expected_image_s(timed: Sequence[Timed], net: Spec) -> float:
    work = multiply_adds(net)
    alike = [one for one in timed if one.kind == _kind(net)] or timed
    distance = min(abs(math.log(one.multiply_adds / work)) for one in alike)
    nearest = [one for one in alike if abs(math.log(one.multiply_adds / work)) == distance]
    return statistics.median(one.image_s * work / one.multiply_adds for one in nearest)


def multiply_adds(spec: Spec) -> float:
    """Return the multiply-adds of one image's forward pass."""
    return costs_of(spec)["multiply_adds"]


def work_of(spec: Spec) -> float:
    """Return the multiply-adds of an epoch's forward passes."""
    return multiply_adds(spec) * images_an_epoch(spec)


def _kind(spec: Spec) -> tuple[str, int]:
    return spec.model.name, spec.model.kernel


def images_an_epoch(spec: Spec) -> int:
    """Return how many images an epoch trains on."""
    steps = spec.train.steps_per_epoch
    return len(split_of(spec.data).train) if steps is None else steps * spec.train.batch_size


def fitting_epochs(epoch_s: Sequence[float], slots: int, seconds: float, most: int) -> int:
    """Return how many epochs all nets, `slots` at once, can have in `seconds`; from FEWEST to
    `most`.

    epoch_s: how long an epoch of each net takes, in training order; empty where unknown.
    """
    if not epoch_s:
        return most
    return max(min(FEWEST, most), min(most, int(seconds / longest_slot(epoch_s, slots))))


def longest_slot(lengths: Sequence[float], slots: int) -> float:
    """Return when the last of `slots` ends, each taking the next job as soon as it is free."""
    ends = [0.0] * slots
    for length in lengths:
        first = ends.index(min(ends))
        ends[first] += length
    return max(ends)


def _seconds(trial: TrialPaths) -> list[float]:
    # A row that a crash lost is known only by its place: it has 0 s.
    return [row["epoch_s"] for row in TrialFolder(trial).history() if row.get("epoch_s", 0.0) > 0]
