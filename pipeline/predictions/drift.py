"""Signs of drift that need no labels: images differ from those that a model, or its folds' nets,
was judged on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.records.manifest import Expected

_SHOWN = 10  # classes named in a line


@dataclass
class Drift:
    """Running sums of what can be seen without labels, compared with what out-of-fold predictions
    looked like.
    """

    expected: Expected
    names: Sequence[str] = ()  # of the classes, by number; empty: 0, 1, 2, ...
    count: int = 0
    agreed: int = 0
    confidence: float = 0.0
    classes: dict[int, int] = field(default_factory=dict)

    def add(self, members: NDArray[np.floating[Any]], joined: NDArray[np.floating[Any]]) -> None:
        """Count one block: members (M, n, classes), joined (n, classes)."""
        votes = members.argmax(axis=2)
        self.count += votes.shape[1]
        self.agreed += int((votes == votes[0]).all(axis=0).sum())
        self.confidence += float(joined.max(axis=1).sum())
        for label, number in zip(
            *np.unique(joined.argmax(axis=1), return_counts=True), strict=True
        ):
            self.classes[int(label)] = self.classes.get(int(label), 0) + int(number)

    def lines(self, members: int) -> list[str]:
        """Return what was seen, in one line; of many classes, the most frequent."""
        if not self.count:
            return []
        agreement = (
            f"all {members} members agree on {self.agreed / self.count:.1%}, "
            if members > 1
            else ""
        )
        shown = sorted(self.classes)
        if len(shown) > _SHOWN:
            shown = sorted(shown, key=lambda k: -self.classes[k])[:_SHOWN]
        shares = " ".join(f"{self._name(k)}:{self.classes[k] / self.count:.1%}" for k in shown)
        more = (
            f" and {len(self.classes) - len(shown)} more" if len(shown) < len(self.classes) else ""
        )
        return [
            f"{self.count} images; {agreement}mean confidence {self.confidence / self.count:.1%}; "
            f"classes {shares}{more}"
        ]

    def _name(self, k: int) -> str:
        return self.names[k] if self.names else str(k)

    def warnings(self) -> list[str]:
        """Return a sentence for each sign that these images differ from those that the model was
        judged on.
        """
        usual_share = np.array(self.expected.class_share or ())
        if not usual_share.size or self.count < 50:
            return []
        found = []
        for name, value, usual in (
            ("agreement", self.agreed / self.count, self.expected.agreement or 0.0),
            ("confidence", self.confidence / self.count, self.expected.confidence or 0.0),
        ):
            # Five points, and twice as many doubtful images as usual: both, so that neither tiny
            # nor noisy differences warn.
            if value < usual - 0.05 and 1 - value > 2 * (1 - usual):
                found.append(
                    f"drift: {name} is {value:.1%}, {usual:.1%} on the training set's own images; "
                    "expect a lower score"
                )
        share = np.array([self.classes.get(k, 0) / self.count for k in range(usual_share.size)])
        spread = np.sqrt(usual_share * (1 - usual_share) / self.count)
        odd = np.flatnonzero(np.abs(share - usual_share) > 0.05 + 4 * spread)
        if odd.size:
            most = odd[np.argsort(-np.abs(share - usual_share)[odd], kind="stable")][:_SHOWN]
            shown = ", ".join(
                f"{self._name(k)}: {share[k]:.1%} instead of {usual_share[k]:.1%}"
                for k in sorted(most)
            )
            more = f" and {odd.size - most.size} more" if most.size < odd.size else ""
            found.append(f"drift: the balance of classes differs from training ({shown}{more})")
        return found
