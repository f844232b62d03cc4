"""Train the best trials of a finished sweep again, longer and on folds, and join them into an
ensemble; resumable at every epoch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import joblib

from pipeline import journal
from pipeline.configuration import Command, Config, again, command_line, compose, going_on, override
from pipeline.data import prepare
from pipeline.ensemble.build import build_ensemble, summary_lines
from pipeline.ensemble.candidates import candidates, stand_ins
from pipeline.ensemble.nets import (
    FinalJobs,
    Net,
    Say,
    final_ended,
    final_started,
    net_jobs,
    one_line_at_a_time,
    runs_folder,
)
from pipeline.ensemble.out_of_fold import labels_of, predict_members
from pipeline.ensemble.plan import Member, mirrored, plan_members, views_of
from pipeline.files import writable_folder
from pipeline.records.ensemble_record import Ensemble, write_ensemble
from pipeline.redact import redact
from pipeline.search.fitting import fitted
from pipeline.search.runner import Runner, Usage
from pipeline.search.trial import Context
from pipeline.slots.pool import open_slots, owned
from pipeline.slots.slot import Slot
from pipeline.slots.stop_request import FAILED, SignalHandling, Stop
from pipeline.tracking.listeners import LogListener, make_listeners

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
    """A study's configuration with this command's overrides on top, its members, and what the user
    should know of how they were found.
    """

    config: Config
    members: Sequence[Member]
    notes: Sequence[str] = ()


def main(config: Config) -> int:
    """Build the final models of the study that `config` names; return the exit code."""
    folder = writable_folder(config.paths.folder, "root")
    with owned(folder):
        planned = plan(config)
        with open_slots(planned.config, folder) as slots:
            code = build(planned, slots, print)
        if code == 0:
            print(f"next: {going_on(config, 'export', ('tracking', 'slots', 'blas'))}")
        return code


def plan(config: Config) -> FinalPlan:
    """Compose the study as it was run, with this command's overrides on top. Raises InputError
    where there is nothing to build from.
    """
    found = candidates(config)
    whole = compose(
        [
            *(found.trials[0].overrides if found.trials else found.base),
            *config.overrides,
            override("root", config.root),
            override("study.name", config.study.name),
        ],
        FINAL,
        quiet=config.quiet,
    )
    whole = replace(whole, invocation=config.invocation)
    data = prepare(whole.data, whole.root)
    whole, _ = fitted(whole, data)
    found = stand_ins(whole, found)
    return FinalPlan(whole, plan_members(whole, data, config.overrides, found), found.notes)


def build(planned: FinalPlan, slots: Sequence[Slot], say: Say) -> int:
    """Train what is not trained yet, predict out of fold, choose the ensemble, write ensemble.json;
    return the exit code.
    """
    config, members = planned.config, planned.members
    stop, say = Stop(), one_line_at_a_time(say)
    for note in planned.notes:
        say(f"final: {note}")
    nets = net_jobs(members, config.paths)
    refits = (
        f" and {config.final.refit} on all images but the reserved" if config.final.refit else ""
    )
    say(
        f"final: {len(members)} members x {config.final.folds} folds{refits}, {len(nets)} nets, "
        f"{len(slots)} at once"
    )
    ensemble = train(planned, nets, slots, stop, say)
    if stop.requested:
        say(f"final: {stop.reason}; resume with: {again(config)}")
        return stop.exit_code
    assert ensemble is not None
    for line in summary_lines(ensemble):
        say(line)
    return 0


def train(
    planned: FinalPlan, nets: Sequence[Net], slots: Sequence[Slot], stop: Stop, say: Say
) -> Ensemble | None:
    """Train the missing nets, then join them; return the ensemble, None where the run stopped.
    Listeners see a study whose trials are the nets.
    """
    config, folder = planned.config, runs_folder(planned.config.paths, nets)
    folder.mkdir(parents=True, exist_ok=True)
    known = journal.read_all(folder)
    listeners = make_listeners(config, folder, [LogListener(config.paths.log)], stop)
    started, ensemble = final_started(config, nets, slots), None
    listeners.emit(started)
    usage, told = Usage(), (lambda line: None) if config.quiet else say
    context = Context(stop, listeners.emit, usage.trained, config.deadline.epoch_s)
    batches = config.final.statistics_batches
    jobs = FinalJobs(context, nets, told, batches, known, len(slots))
    try:
        with SignalHandling(stop, say):
            jobs.tell_done()
            Runner(jobs, slots, context, usage, config.paths.log).run()
        if not stop.requested:
            ensemble = join(planned)
            write_ensemble(folder / "ensemble.json", ensemble)
        return ensemble
    except BaseException as error:
        stop.request(redact(str(error)), FAILED)
        raise
    finally:
        listeners.emit(final_ended(stop, jobs.counts, usage.outside(len(slots)), ensemble))
        listeners.close()


def join(planned: FinalPlan) -> Ensemble:
    """Predict out of fold with the folds' nets, choose the ensemble and write ensemble.json; return
    it.
    """
    config, members = planned.config, planned.members
    _, height, width = members[0].specs[0].data.image_shape
    views = views_of(config.ensemble.views, (height, width))
    if config.ensemble.mirror and all(m.specs[0].augment.get("flip", 0.0) for m in members):
        views = mirrored(views)
    found = predict_members(members, config.paths, views, config.slots.n or joblib.cpu_count())
    labels = labels_of(members[0], found[0])
    ensemble = build_ensemble(
        members, found, labels, config.ensemble, views, (config.study.objective, config.study.top_k)
    )
    write_ensemble(config.paths.ensemble / "ensemble.json", ensemble)
    return ensemble


if __name__ == "__main__":
    sys.exit(command_line(FINAL, sys.argv[1:], main))
