"""Train the best trials of a finished sweep again, longer and on folds, and join them into an
ensemble; resumable at every epoch.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import joblib

from cnn_core.errors import InputError
from pipeline import journal
from pipeline.configuration import Command, Config, again, command_line, compose, going_on, override
from pipeline.configuration.termination import RunFailed
from pipeline.data import prepare
from pipeline.ensemble.assemble import best_net, spec_in
from pipeline.ensemble.build import build_ensemble, summary_lines
from pipeline.ensemble.candidates import candidates, stand_ins
from pipeline.ensemble.duration import images_an_epoch
from pipeline.ensemble.ends import Ends, read_ends
from pipeline.ensemble.final_time import FinalTime, measured
from pipeline.ensemble.nets import (
    FinalJobs,
    Net,
    Say,
    final_ended,
    final_started,
    is_trained,
    net_jobs,
    one_line_at_a_time,
    runs_folder,
)
from pipeline.ensemble.out_of_fold import labels_of, predict_members
from pipeline.ensemble.plan import Member, in_order, plan_members, views_for
from pipeline.ensemble.what_follows import check_final_time
from pipeline.files import writable_folder
from pipeline.records.ensemble_record import Ensemble, write_ensemble
from pipeline.redact import redact
from pipeline.search.fitting import fitted
from pipeline.search.runner import Runner, Usage
from pipeline.search.trial import Context
from pipeline.slots.pool import open_slots, owned
from pipeline.slots.slot import Slot, SlotError
from pipeline.slots.stop_request import FAILED, SignalHandling, Stop
from pipeline.tracking.listeners import LogListener, make_listeners

OF_TRIAL = 0.5  # of the images that a trial was trained on, what a net that replaces it must see
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
    """A study's configuration with this command's overrides on top, its members as they are asked
    for, what the user should know of how they were found, and what time has decided of their nets.
    """

    config: Config
    members: Sequence[Member]
    notes: Sequence[str]
    ends: Ends

    @property
    def decided(self) -> list[Member]:
        """The members that are trained, their nets with the ends that time allowed for."""
        return self.ends.decided(self.members)

    @property
    def runs(self) -> Path:
        """The folder of the journal: that of the nets as they were asked for."""
        asked = self.members[: self.ends.members]
        return runs_folder(self.config.paths, net_jobs(asked, self.config.paths))


def main(config: Config) -> int:
    """Build the final models of the study that `config` names; return the exit code."""
    folder, began = writable_folder(config.paths.folder, "root"), monotonic()
    with owned(folder):
        planned = plan(config)
        with open_slots(planned.config, folder) as slots:
            code = build(planned, slots, print, began - monotonic())
        if code == 0:
            print(f"next: {going_on(config, 'export', ('tracking', 'slots', 'blas'))}")
        return code


def plan(config: Config) -> FinalPlan:
    """Compose the study as it was run, with this command's overrides on top. Raises InputError
    where there is nothing to build from, or no time for it.
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
    check_final_time(whole)
    data = prepare(whole.data, whole.root)
    whole, _ = fitted(whole, data)
    found = stand_ins(whole, found)
    members = plan_members(whole, data, config.overrides, found)
    ends = read_ends(whole.paths, members, whole.final.minutes)
    return FinalPlan(whole, members, found.notes, ends)


def build(
    planned: FinalPlan,
    slots: Sequence[Slot],
    say: Say,
    carried_s: float = 0.0,
    *,
    swept: bool = False,
) -> int:
    """Train what is not trained yet, predict out of fold, choose the ensemble, write ensemble.json;
    return the exit code. `carried_s`: seconds that the search left or took of ``final.minutes``.
    Where these are too few for nets as good as the best trial's own, that one has to do for a sweep
    (`swept`), and else they are refused by an InputError. Raises RunFailed where it cannot go on.
    """
    config = planned.config
    stop, say = Stop(), one_line_at_a_time(say)
    for note in planned.notes:
        say(f"final: {note}")
    time = timed(planned, slots, carried_s)
    if time is not None and not _worth_it(planned, time, say, swept=swept):
        return 0
    members = planned.decided
    nets = net_jobs(members, config.paths)
    refits = (
        f" and {config.final.refit} on all images but the reserved" if config.final.refit else ""
    )
    say(
        f"final: {len(members)} members x {config.final.folds} folds{refits}, {len(nets)} nets, "
        f"{len(slots)} at once"
    )
    ensemble = train(planned, nets, slots, (stop, time), say)
    if time is not None:
        time.note("the ensemble is there" if not stop.requested else stop.reason)
    if stop.exit_code == FAILED:
        raise RunFailed(redact(f"final: {stop.reason}; once that is fixed, {again(config)}"))
    if stop.requested:
        say(f"final: {stop.reason}; resume with: {again(config)}")
        return stop.exit_code
    assert ensemble is not None
    for line in summary_lines(ensemble):
        say(line)
    return 0


def timed(planned: FinalPlan, slots: Sequence[Slot], carried_s: float) -> FinalTime | None:
    """Return what plans how long the missing nets train with ``final.minutes``, after leaving out
    members that there is no time for.
    """
    config, ends = planned.config, planned.ends
    decided = in_order(planned.decided)
    jobs = net_jobs(planned.decided, config.paths)
    missing = {net.key for net, one in zip(decided, jobs, strict=True) if not is_trained(*one)}
    if config.final.minutes is None or not missing:
        return None
    clock = ends.clock(config.final.minutes + carried_s / 60)
    members = planned.members[: ends.members]
    asked = [net for net in in_order(members) if net.key in missing]
    try:
        return measured(config, slots, (clock, ends), members, asked)
    except SlotError as error:
        raise InputError(f"final.minutes: needs a few batches to be timed, got {error}") from error


def _worth_it(planned: FinalPlan, time: FinalTime, say: Say, *, swept: bool) -> bool:
    """Say what the time is planned for; tell whether new nets see OF_TRIAL at least of the images
    that the study's best one was trained on, or were begun before. Raises InputError where they do
    not, and no sweep (`swept`) has just found that net.
    """
    paths, minutes = planned.config.paths, planned.config.final.minutes
    seen, had, best = time.epochs * images_an_epoch(planned.members[0].specs[0]), 0, None
    with suppress(InputError):  # no trial is complete, or its weights were not kept
        best, _ = best_net(paths, planned.config.study.storage)
        had = len(best.history) * images_an_epoch(spec_in(paths, best.overrides))
    if best is None or planned.ends.nets or seen >= OF_TRIAL * had:
        say(f"final: {minutes:g} minutes: {time.plan}")
        return True
    rule = (
        f"final.minutes: must let a net see {OF_TRIAL:.0%} at least of the {had:,} images that "
        f"the net of trial {best.number} was trained on, got {minutes:g} for {seen:,.0f} of them"
    )
    time.note(f"no new nets, but that of trial {best.number}", rule)
    if not swept:
        raise InputError(rule)
    older = (paths.ensemble / "ensemble.json").exists()
    say(f"final: {rule}: the result is {'the ensemble of before' if older else 'that net'}")
    return False


def train(
    planned: FinalPlan,
    nets: Sequence[Net],
    slots: Sequence[Slot],
    controls: tuple[Stop, FinalTime | None],
    say: Say,
) -> Ensemble | None:
    """Train the missing nets, then join them; return the ensemble, None where the run stopped.
    Listeners see a study whose trials are the nets.
    """
    config, folder = planned.config, planned.runs
    stop, time = controls
    folder.mkdir(parents=True, exist_ok=True)
    known = journal.read_all(folder)
    listeners = make_listeners(config, folder, [LogListener(config.paths.log)], stop)
    started, ensemble = final_started(config, nets, slots, folder), None
    listeners.emit(started)
    usage, told = Usage(), (lambda line: None) if config.quiet else say
    context = Context(stop, listeners.emit, usage.trained, config.deadline.epoch_s)
    batches = config.final.statistics_batches
    jobs = FinalJobs(context, nets, told, batches, known, len(slots))
    jobs.time = time
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
        listeners.close(None if time is None else time.closing_s())


def join(planned: FinalPlan) -> Ensemble:
    """Predict out of fold with the folds' nets, choose the ensemble and write ensemble.json; return
    it.
    """
    config, members = planned.config, planned.decided
    views = views_for(config, members)
    found = predict_members(members, config.paths, views, config.slots.n or joblib.cpu_count())
    labels = labels_of(members[0], found[0])
    ensemble = build_ensemble(
        members, found, labels, config.ensemble, views, (config.study.objective, config.study.top_k)
    )
    write_ensemble(config.paths.ensemble / "ensemble.json", ensemble)
    return ensemble


if __name__ == "__main__":
    sys.exit(command_line(FINAL, sys.argv[1:], main))
