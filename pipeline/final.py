"""Train the best trials of a finished sweep again, longer and on folds, and join them into an
ensemble; resumable at every epoch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import joblib

from pipeline.config import Command, Config, command_line, command_of, compose, override
from pipeline.data import prepare
from pipeline.ensemble.build import build_ensemble, summary_lines
from pipeline.ensemble.nets import NetTrainer
from pipeline.ensemble.out_of_fold import labels_of, predict_members
from pipeline.ensemble.plan import Member, in_order, plan_members, study_base, views_of
from pipeline.ensemble.telling import FinalRuns, Job, Say, one_line_at_a_time
from pipeline.files import StudyPaths, TrialPaths, writable_folder
from pipeline.records.ensemble_record import Ensemble, write_ensemble
from pipeline.slots.owner import OwnerLock, reap_after
from pipeline.slots.pool import open_slots
from pipeline.slots.slot import Slot
from pipeline.slots.stop import SignalHandling, Stop

FINAL = Command(
    name="final",
    about="Train the best trials of a finished sweep longer, on folds, and join them into an "
    "ensemble. The same command resumes.",
    examples=(
        "python -m pipeline.final study.name=mnist",
        "python -m pipeline.final study.name=mnist final.members=3 final.folds=3 final.epochs=20 "
        "ensemble=auto",
    ),
)


@dataclass(frozen=True)
class FinalPlan:
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


def plan(config: Config) -> FinalPlan:
    """Compose the study as it was run, with this command's overrides on top. Raises InputError
    where there is nothing to build from.
    """
    whole = compose(
        [
            *study_base(config.paths),
            *config.overrides,
            override("root", config.root),
            override("study.name", config.study.name),
        ],
        FINAL,
        quiet=config.quiet,
    )
    return FinalPlan(whole, plan_members(whole, prepare(whole.data, whole.root), config.overrides))


def build(planned: FinalPlan, slots: Sequence[Slot], say: Say) -> int:
    """Train what is not trained yet, predict out of fold, choose the ensemble, write ensemble.json;
    return the exit code.
    """
    config, members = planned.config, planned.members
    stop, say = Stop(), one_line_at_a_time(say)
    jobs = net_jobs(members, config.paths, config.final.statistics_batches)
    refits = (
        f" and {config.final.refit} on all images but the reserved" if config.final.refit else ""
    )
    say(
        f"final: {len(members)} members x {config.final.folds} folds{refits}, {len(jobs)} nets, "
        f"{len(slots)} at once"
    )
    with FinalRuns(config, jobs, slots, stop) as runs:
        with SignalHandling(stop, say):
            told = (lambda line: None) if config.quiet else say
            trainer = NetTrainer(jobs, slots, stop, told, runs.events, config.deadline.epoch_s)
            trainer.run()
        runs.outside = trainer.usage.outside(len(slots))
        if not stop.requested:
            runs.content = join(planned)
    if stop.requested:
        say(f"final: {stop.reason}; the same command goes on where it stopped")
        return stop.exit_code
    assert runs.content is not None
    for line in summary_lines(runs.content):
        say(line)
    say(f"next: {command_of('export', config.root, override('study.name', config.study.name))}")
    return 0


def join(planned: FinalPlan) -> Ensemble:
    """Predict out of fold with the folds' nets, choose the ensemble and write ensemble.json; return
    it.
    """
    config, members = planned.config, planned.members
    _, height, width = members[0].specs[0].data.image_shape
    views = views_of(config.ensemble.views, (height, width))
    found = predict_members(members, config.paths, views, config.slots.n or joblib.cpu_count())
    labels = labels_of(members[0], found[0])
    ensemble = build_ensemble(members, found, labels, config.ensemble, views)
    write_ensemble(config.paths.ensemble / "ensemble.json", ensemble)
    return ensemble


def net_jobs(members: Sequence[Member], paths: StudyPaths, statistics_batches: int) -> list[Job]:
    """Return one job a net, in the order of their training."""
    return [
        Job(
            number=number,
            member=net.member.name,
            part=net.part,
            spec=net.spec,
            paths=TrialPaths(net.member.folder(paths) / net.folder),
            overrides=net.overrides,
            statistics_batches=statistics_batches,
        )
        for number, net in enumerate(in_order(members))
    ]


if __name__ == "__main__":
    sys.exit(command_line(FINAL, sys.argv[1:], main))
