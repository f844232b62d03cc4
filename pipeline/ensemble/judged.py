"""Which images an ensemble is judged on, and how much each counts: ordinary ones, the proxy's, or both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cnn_core.axes import Labels
from pipeline.ensemble.combine import Counts, Probabilities
from pipeline.ensemble.out_of_fold import OutOfFold


@dataclass(frozen=True)
class Judged:
    """The sets of images that an ensemble is judged on, clean and, where there is one, the proxy: the same images in the same order."""

    labels: Labels  # (N,)
    shares: Mapping[str, float]  # how much each set counts
    main: str  # the set that stands for the images to be labelled: the proxy unless it counts nothing

    def side_by_side(self, sets: Mapping[str, Probabilities]) -> tuple[Probabilities, Labels, Counts]:
        """Return all sets, one after the other along N: predictions, labels, and how much each image counts."""
        stacked = np.concatenate([sets[name] for name in self.shares], axis=-2)
        copies, counts = len(self.shares), np.repeat(list(self.shares.values()), len(self.labels))
        return stacked, np.tile(self.labels, copies), counts

    def apart(self, joined: Probabilities) -> dict[str, Probabilities]:
        """Return the sets of (sets x N, classes) by their names."""
        return dict(zip(self.shares, np.split(joined, len(self.shares)), strict=True))


def judged_on(found: Sequence[OutOfFold], labels: Labels, ordinary: float) -> Judged:
    """Return the sets that `found` has: with a proxy, clean images count `ordinary` and the proxy's the rest."""
    if all(one.proxy is not None for one in found):
        return Judged(labels, {"clean": ordinary, "proxy": 1 - ordinary}, "proxy" if ordinary < 1 else "clean")
    return Judged(labels, {"clean": 1.0}, "clean")
