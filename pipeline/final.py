"""Train the best trials of a finished sweep again, longer and on folds, and join them into an ensemble; resumable at every epoch."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import joblib

from pipeline.artifacts import StudyPaths, writable_folder
from pipeline.config import Command, Config, command_line, compose
from pipeline.data import prepare
from pipeline.ensemble.build import build_ensemble, summary_lines, write_ensemble
from pipeline.ensemble.nets import Job, NetTrainer
from pipeline.ensemble.out_of_fold import labels_of, predict_members
from pipeline.ensemble.plan import Member, plan_members, study_base
from pipeline.ensemble.views import views_of
from pipeline.search.lock import OwnerLock
from pipeline.search.stop import SignalHandling, Stop
from pipeline.slots.base import Slot
from pipeline.slots.opening import open_slots
from pipeline.slots.orphans import reap_after

Say = Callable[[str], None]

FINAL = Command(
    name="final",
    about="Train the best trials of a finished sweep longer, on folds, and join them into an ensemble. The same command resumes.",
    examples=(
        "python -m pipeline.final study.name=mnist",
        "python -m pipeline.final study.name=mnist final.members=3 final.folds=3 final.epochs=20 ensemble=auto",
    ),
)


@dataclass(frozen=True)
class Prepared:
    """A study's configuration with this command's overrides on top, and its members."""

    config: Config
    members: Sequence[Member]


def main(config: Config) -> int:
    """Build the final models of the study that `config` names; return the exit code."""
    folder = writable_folder(config.paths.folder, "root")
    lock = OwnerLock(config.paths.owner)
    lock.acquire()
    try:
        reap_after(lock.previous, folder)
        planned = plan(config)
        slots = open_slots(planned.config, folder)
        try:
            return build(planned, slots, print)
        finally:
            for slot in slots:
                slot.close()
    finally:
        lock.release()


def plan(config: Config) -> Prepared:
    """Compose the study as it was run, with this command's overrides on top. Raises InputError where there is nothing to build from."""
    whole = compose([*study_base(config.paths), *config.overrides, f"root={config.root}", f"study.name={config.study.name}"], FINAL)
    return Prepared(whole, plan_members(whole, prepare(whole.data, whole.root), config.overrides))


def build(planned: Prepared, slots: Sequence[Slot], say: Say) -> int:
    """Train what is not trained yet, predict out of fold, choose the ensemble, write ensemble.json; return the exit code."""
    config, members = planned.config, planned.members
    stop = Stop()
    jobs = net_jobs(members, config.paths, config.final.statistics_batches)
    say(f"final: {len(members)} members x {config.final.folds} folds, {len(members[0].specs) * len(members)} nets, {len(slots)} at once")
    with SignalHandling(stop, say):
        NetTrainer(jobs, slots, stop, say, config.deadline.epoch_s).run()
    if stop.requested:
        say(f"final: {stop.reason}; the same command goes on where it stopped")
        return stop.exit_code
    _, height, width = members[0].specs[0].data.image_shape
    views = views_of(config.ensemble.views, (height, width))
    found = predict_members(members, config.paths, views, config.slots.n or joblib.cpu_count())
    content = build_ensemble(members, found, labels_of(members[0], found[0]), config.ensemble, views)
    write_ensemble(config.paths, content)
    for line in summary_lines(content):
        say(line)
    say(f"next: python -m pipeline.export study.name={config.study.name} root={config.root}")
    return 0


def net_jobs(members: Sequence[Member], paths: StudyPaths, statistics_batches: int) -> list[Job]:
    """Return one job a net, members in order, so that the best are finished first."""
    return [
        Job(f"{member.name} fold {fold + 1}/{len(member.specs)}", spec, member.net(paths, fold), member.overrides, statistics_batches)
        for member in members
        for fold, spec in enumerate(member.specs)
    ]


if __name__ == "__main__":
    sys.exit(command_line(FINAL, sys.argv[1:], main))
