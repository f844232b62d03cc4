"""What deterministic mode costs: its rounds train epoch by epoch, so slots wait for the slowest;
free slots wait at the very end alone.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.reporting.table import StudyTable


@dataclass(frozen=True)
class Lockstep:
    """The epochs of a study, by the clock: as its rounds trained them, and as slots would have that
    do not wait for one another.
    """

    slots: int
    trained_s: float  # of all slots together
    lockstep_s: float
    free_s: float

    @property
    def waiting(self) -> float:
        """Share of the slots' time that was waiting for the others of a round."""
        return 1.0 - self.trained_s / (self.slots * self.lockstep_s)

    def line(self) -> str:
        """Return the cost in words."""
        more = self.lockstep_s / self.free_s - 1.0
        return (
            "Deterministic mode cost time: its rounds wait for their slowest epoch, so "
            f"{self.slots} slots stood still for "
            f"{self.waiting:.0%} of their time; the same epochs took {self.lockstep_s:.1f} s, "
            "without waiting for one another "
            f"{self.free_s:.1f} s ({more:.0%} more)."
        )


def lockstep(table: StudyTable) -> Lockstep | None:
    """Measure a study from its epochs' durations; None for one that was not deterministic, or whose
    journal does not tell durations.
    """
    slots = table.started.slots if table.started is not None else 0
    rounds: dict[int, list[list[float]]] = {}
    for trial in table.trials:
        if trial.round is not None:
            seconds = [row.get("epoch_s", 0.0) for _, row in sorted(trial.history.items())]
            rounds.setdefault(trial.round, []).append(seconds)
    trials = [seconds for members in rounds.values() for seconds in members]
    trained_s = sum(map(sum, trials))
    if not slots or trained_s == 0.0:
        return None
    return Lockstep(
        slots,
        trained_s,
        sum(round_s(members, slots) for members in rounds.values()),
        makespan(map(sum, trials), slots),
    )


def round_s(members: Sequence[Sequence[float]], slots: int) -> float:
    """Return the seconds of a round: for each epoch those of the trials that still live, in
    whichever slot is idle.
    """
    epochs = max(map(len, members), default=0)
    return sum(
        makespan((member[epoch] for member in members if epoch < len(member)), slots)
        for epoch in range(epochs)
    )


def makespan(jobs: Iterable[float], slots: int) -> float:
    """Return when the last job ends if each slot takes the next one as soon as it is idle."""
    ends = [0.0] * slots
    for seconds in jobs:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)
