"""final/epochs.json: how many members a final training has, and with which step each of its nets
ends, as ``final.minutes`` decided; a restart goes on with what was decided.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cnn_core.spec import Spec
from pipeline.ensemble.plan import Member, in_order
from pipeline.files import StudyPaths, atomic_write_text
from pipeline.search.study_clock import StudyClock
from pipeline.structured_text import read_json


@dataclass
class Ends:
    """What was decided for one plan of nets; thread-safe."""

    paths: StudyPaths
    asked: Mapping[str, object]  # the nets' digests and the minutes: another plan decides anew
    members: int
    # "m1-t003/all0": epochs, then train.replanned
    nets: dict[str, list[int]] = field(default_factory=dict)
    kept: bool = False  # an earlier run's
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    def decide(self, net: str, spec: Spec) -> None:
        """Keep a net's end, in the file as well."""
        with self._lock:
            self.nets[net] = [spec.train.epochs, *spec.train.replanned]
            self.save()

    def clock(self, minutes: float) -> StudyClock:
        """Return the clock of this plan's time, over all its runs."""
        path = self.paths.final / "clock.json"
        if not self.kept:  # it counted another plan's
            path.unlink(missing_ok=True)
        return StudyClock(path, minutes)

    def save(self) -> None:
        """Write the file."""
        content = {"asked": self.asked, "members": self.members, "nets": self.nets}
        atomic_write_text(self.paths.final / "epochs.json", json.dumps(content) + "\n")

    def of(self, net: str, spec: Spec) -> Spec:
        """Return a net's spec as decided, as it is asked for where nothing was."""
        if net not in self.nets:
            return spec
        epochs, *replanned = self.nets[net]
        train = replace(spec.train, epochs=epochs, replanned=tuple(replanned))
        return replace(spec, train=train)

    def decided(self, members: Sequence[Member]) -> list[Member]:
        """Return the members that are trained, with their nets as decided."""
        return [
            replace(
                member,
                specs=self._all(f"{member.name}/fold", member.specs),
                refits=self._all(f"{member.name}/all", member.refits),
            )
            for member in members[: self.members]
        ]

    def _all(self, place: str, specs: Sequence[Spec]) -> tuple[Spec, ...]:
        return tuple(self.of(f"{place}{k}", spec) for k, spec in enumerate(specs))


def read_ends(paths: StudyPaths, members: Sequence[Member], minutes: float | None) -> Ends:
    """Return what was decided for these members as they are asked for; nothing, where no time is
    given or other nets were asked for.
    """
    nets = [net.spec.digest() for net in in_order(members)]
    ends = Ends(paths, {"nets": nets, "minutes": minutes}, len(members))
    if minutes is None:
        return ends
    try:
        content = read_json(paths.final / "epochs.json")
        if content["asked"] == ends.asked:
            found = {name: [int(n) for n in net] for name, net in content["nets"].items()}
            return replace(ends, kept=True, members=int(content["members"]), nets=found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        pass
    return ends
