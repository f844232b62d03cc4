"""Retraining a stored trial to check that it reproduces its metrics."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnn_core.errors import InputError
from pipeline.configuration import Config, compose, spec_of
from pipeline.data import prepare
from pipeline.events import State, TrialEnded
from pipeline.files import TrialPaths
from pipeline.search.leaderboard import best_number
from pipeline.search.open_study import MACHINE, read_study
from pipeline.search.problem import Job
from pipeline.search.runner import JobList, Runner, Usage
from pipeline.search.trial import Context, Training
from pipeline.slots.pool import open_slots
from pipeline.slots.slot import Slot
from pipeline.slots.stop_request import Stop
from pipeline.trial_folder import StoredTrial, TrialFolder

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
            rule = "trial: must be given for a study without a complete trial"
            raise InputError(f"{rule}, got null ({config.paths.name!r})")
    job, stored = stored_job(config, number)
    with open_slots(config, config.paths.folder, count=1) as slots:
        machine, kept = slots[0].machine().fingerprint(), study.user_attrs.get(MACHINE, {})
        differing = {key: old for key, old in kept.items() if old != machine.get(key)}
        tolerance = config.arguments.tolerance if differing else 0.0
        for key, old in differing.items():
            new = machine.get(key)
            print(
                f"{key} was {old}, is {new}: metrics are compared to {tolerance:g}, not to the bit"
            )
        return _compare(job, stored, slots, tolerance)


def stored_job(config: Config, number: int) -> tuple[Job, StoredTrial]:
    """Return a trial as a job composed from its stored overrides, and the stored trial.

    Raises InputError if its files are missing.
    """
    paths = config.paths.trial(number)
    folder = TrialFolder(paths)
    if not paths.overrides.exists() or not folder.history():
        rule = "trial: must be one that has trained an epoch"
        raise InputError(f"{rule}, got {number} (nothing in {paths.folder})")
    stored = folder.read()
    tried = compose(stored.overrides)
    spec = spec_of(tried, prepare(tried.data, config.root), stored.seed)
    job = Job(
        number=number,
        name=f"trial {number}",
        seed=stored.seed,
        overrides=stored.overrides,
        spec=spec,
        params={},
    )
    return job, stored


class Comparison(JobList):
    """Retrains one trial for its stored epochs, comparing each with the stored one."""

    def __init__(
        self, context: Context, job: Job, folder: TrialFolder, stored: StoredTrial, tolerance: float
    ) -> None:
        super().__init__(context, [(job, folder)])
        self.stored, self.tolerance = stored, tolerance
        self.different = 0

    def judge(self, training: Training, epoch: int, slot: Slot) -> TrialEnded | None:
        lines = unlike(self.stored.history[epoch - 1], training.rows[epoch - 1], self.tolerance)
        self.different += bool(lines)
        print(f"trial {self.stored.number} epoch {epoch}: {'DIFFERENT' if lines else 'same'}")
        print(*lines, sep="\n", end="\n" if lines else "")
        return training.end(State.COMPLETE) if epoch == len(self.stored.history) else None

    def complete(self, training: Training, slot: Slot) -> TrialEnded:
        return training.end(State.COMPLETE)


def _compare(job: Job, stored: StoredTrial, slots: Sequence[Slot], tolerance: float) -> int:
    number, epochs, context = stored.number, len(stored.history), Context(Stop())
    with tempfile.TemporaryDirectory(prefix="replay-", ignore_cleanup_errors=True) as name:
        folder = TrialFolder(TrialPaths(Path(name)))
        comparison = Comparison(context, job, folder, stored, tolerance)
        Runner(comparison, slots, context, Usage(), Path(name) / "log.txt").run()
    ends = [end for end in comparison.ends.values() if end.state == State.FAIL]
    if context.stop.requested or ends:
        print(f"trial {number}: {context.stop.reason or ends[0].reason}")
        return 1
    if comparison.different:
        print(f"trial {number}: {comparison.different} of {epochs} epochs differ")
        return 1
    words = "to the bit" if tolerance == 0 else f"to {tolerance:g}"
    print(f"trial {number}: {epochs} epochs are the same {words}")
    return 0


def unlike(stored: Mapping[str, float], again: Mapping[str, float], tolerance: float) -> list[str]:
    """Return a line for each metric that differs."""
    return [
        f"  {name}: stored {stored.get(name)!r}, again {again.get(name)!r}"
        for name in sorted({*stored, *again} - {*NOT_COMPARED})
        if not _same(stored.get(name), again.get(name), tolerance)
    ]


def _same(stored: float | None, again: float | None, tolerance: float) -> bool:
    if stored is None or again is None:
        return stored is again
    if math.isnan(stored) or math.isnan(again):
        return math.isnan(stored) and math.isnan(again)
    return stored == again or abs(stored - again) <= tolerance * max(1.0, abs(stored))
