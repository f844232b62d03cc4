"""One run of a sweep from configuration to exit code: check and open, say what will run, run, say
what came of it.
"""

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from sqlalchemy import Connection

from pipeline.config import Config
from pipeline.configuration.overrides import Value
from pipeline.data import prepare
from pipeline.events import StudyEnded, StudyStarted
from pipeline.redact import redact
from pipeline.search import leaderboard
from pipeline.search.budget import StudyClock, calibrated
from pipeline.search.confirm import confirm, confirmed_lines, forget, keep_best, write_confirmed
from pipeline.search.coordinator import Coordinator, Usage
from pipeline.search.deterministic import Rounds, Shadow
from pipeline.search.fingerprint import code_version, fingerprint
from pipeline.search.fork import nothing_of_its_own, take_over
from pipeline.search.messages import closing_lines, next_step, plan_lines, resume_command
from pipeline.search.problem import Problem
from pipeline.search.queue import Ledger, StorageFailed, storage_errors
from pipeline.search.samplers import grid, make_pruner, make_sampler
from pipeline.search.space import searched
from pipeline.search.study import MACHINE, open_storage, open_study, quiet_optuna, repair
from pipeline.search.trial import Room
from pipeline.slots.owner import hold
from pipeline.slots.slot import Machine, Slot, SlotError
from pipeline.slots.stop import FAILED, SignalHandling, Stop
from pipeline.tracking.listeners import Listeners, LogListener, make_listeners
from pipeline.tracking.mlflow_sender import backlog
from pipeline.tracking.progress import ProgressListener


@dataclass
class Session:
    """What is open while a sweep runs."""

    config: Config
    problem: Problem
    study: optuna.Study
    resumed: bool
    ledger: Ledger
    stop: Stop
    clock: StudyClock
    sampler: BaseSampler
    pruner: BasePruner
    enqueued: list[dict[str, Value]]
    held: Connection | None  # keeps a study on a server ours


def make_problem(config: Config) -> tuple[Problem, list[str]]:
    """Return what is searched, checked as far as it can be before a trial, and remarks for the
    user. Raises InputError.
    """
    space, remarks = searched(config)
    problem = Problem(config, space, prepare(config.data, config.root))
    problem.check()
    return problem, remarks


def open_session(config: Config, problem: Problem, slots: int) -> Session:
    """Open the study, new or resumed. Raises InputError when it is another one, StorageFailed when
    its database does not answer.
    """
    quiet_optuna()
    space = problem.space
    remarks: list[str] = []
    sampler = make_sampler(config.sampler, config.study.seed, space)
    enqueued, notes = space.enqueued(config.study.enqueue)
    mark = fingerprint(config, space, problem.data.digest)
    storage = open_storage(config.paths, config.study.storage, slots)
    held = hold(storage.engine, config.study.name)
    study, resumed, more = open_study(
        config.paths, storage, problem.directions, mark, code_version()
    )
    pruner = make_pruner(config.pruner, config.train.epochs)
    if config.study.deterministic:  # its copies decide, see `rounds`
        study.sampler, study.pruner = RandomSampler(), NopPruner()
    else:
        study.sampler, study.pruner = sampler, pruner
    repair(study, config.paths.folder)
    if config.study.fork is not None and nothing_of_its_own(study):
        remarks.append(take_over(study, config, space, mark))
    for params in [] if config.study.deterministic else enqueued:
        study.enqueue_trial(params, skip_if_exists=True)
    for line in [*remarks, *notes, *more]:
        print(line)
    stop = Stop()
    total = config.budget.trials
    if config.sampler.name == "grid":
        total = min(total or len(grid(space)), len(grid(space)))
    ledger = Ledger(study, total, stop, config.budget.max_failed)
    clock = StudyClock(config.paths.folder / "clock.json", config.budget.minutes)
    return Session(
        config, problem, study, resumed, ledger, stop, clock, sampler, pruner, enqueued, held
    )


def run_tags(config: Config, data_digest: str, machine: Machine, command: str) -> dict[str, str]:
    """Return what marks all runs of a command: code, machine, data, and the line that was typed."""
    return {
        "code": code_version(),
        "kernels": machine.kernels,
        "processor": machine.processor,
        "blas": machine.blas,
        "numpy": machine.numpy,
        "data": config.data.name,
        "data_digest": data_digest,
        "command": redact(shlex.join(["python", "-m", f"pipeline.{command}", *config.overrides])),
        "mlflow.source.name": f"pipeline.{command}",
    }


def study_started(session: Session, slots: int, machine: Machine) -> StudyStarted:
    """Return the event of a run that begins, stamped now."""
    config = session.config
    return StudyStarted(
        study=config.study.name,
        folder=config.paths.folder,
        note=config.study.note,
        seed=config.study.seed,
        resumed=session.resumed,
        total=session.ledger.total,
        slots=slots,
        directions=session.problem.directions,
        tags=run_tags(config, session.problem.data.digest, machine, "sweep"),
        config_yaml=config.yaml,
        time_s=time.time(),
    )


def study_ended(session: Session, outside: float) -> StudyEnded:
    """Return the event of a run that ends; a database that fails now makes it a failure."""
    stop = session.stop
    state = {0: "COMPLETE", FAILED: "FAIL"}.get(stop.exit_code, "INTERRUPTED")
    try:
        counts = session.ledger.counts()
        best = leaderboard.best_number(session.study, session.config.paths)
    except StorageFailed as error:
        stop.request(str(error), FAILED)
        counts, best = {}, None
    return StudyEnded(
        state=state,
        reason=stop.reason,
        trials=counts,
        best_number=best,
        outside_training=outside,
        time_s=time.time(),
    )


# user attribute of a study: the last run has exported everything, with that many confirmed trials;
# -1: it has not
ENDED = "ended"


def run(config: Config, slots: Sequence[Slot]) -> int:
    """Run a sweep in `slots`; return the exit code. Raises InputError before the first trial for
    whatever the user gave wrong.
    """
    try:
        problem, remarks = make_problem(config)
        print(*remarks, sep="\n", end="\n" if remarks else "")
        if config.budget.trials is None:
            config, choice = calibrated(config, problem, slots)
            slots = slots[: choice.slots]
            print(choice.line(config.budget.minutes or 0.0))
            problem, _ = make_problem(config)
        session = open_session(config, problem, len(slots))
        if session.ledger.finished and _nothing_left(session):
            return _look(session)
        machine = slots[0].machine()
        if not config.quiet:
            print(*plan_lines(config, problem, session.ledger, len(slots), machine), sep="\n")
        return _run(session, slots, machine)
    except (
        BrokenPipeError
    ):  # the reader of our output has gone; the command line's frame knows what to do
        raise
    except (StorageFailed, SlotError, OSError) as error:
        _complain(f"{error}; when that is mended, the same command goes on")
        return FAILED


def _nothing_left(session: Session) -> bool:
    """Tell whether the last run ended well and confirmed what is asked for now; asking for no
    confirmation undoes none.
    """
    ended, wanted = session.study.user_attrs.get(ENDED, -1), session.config.study.confirm
    return bool(ended == wanted or (ended >= 0 and not wanted))


def _look(session: Session) -> int:
    """Show what a finished study holds; send MLflow what a dead server has missed."""
    config, stop = session.config, session.stop
    print(*_close(session, None), sep="\n")
    if config.tracking.name == "mlflow" and backlog(config.paths.folder):
        listeners = _listeners(config, stop)
        listeners.emit(study_ended(session, 0.0))
        listeners.close()
    return _end(session)


def _run(session: Session, slots: Sequence[Slot], machine: Machine) -> int:
    config, stop = session.config, session.stop
    with storage_errors():
        session.study.set_user_attr(ENDED, -1)
        session.study.set_user_attr(MACHINE, machine.fingerprint())
    if forget(config.paths) and not config.study.confirm:
        print(
            "the confirmation knew nothing of what is tried now; study.confirm=K does it again and "
            "keeps what it has trained"
        )
    listeners = _listeners(config, stop)
    usage = Usage()
    room = Room(
        session.problem,
        session.ledger,
        stop,
        listeners.emit,
        usage.trained,
        config.deadline.epoch_s,
        config.deadline.trial_s,
    )
    listeners.emit(study_started(session, len(slots), machine))
    with SignalHandling(stop, print):
        coordinator = make_coordinator(session, room, slots, usage)
        coordinator.run()
        outside = usage.outside(len(slots), session.ledger.idle_s)
        confirmed = _confirm(session, coordinator)
        lines = _close(session, outside)
        listeners.emit(study_ended(session, outside))
        listeners.close()
    tracking = listeners.tracking
    links = [] if tracking is None else [*tracking.links(config.study.name), tracking.cost()]
    print(*lines, *confirmed, *links, sep="\n")
    return _end(session)


def _listeners(config: Config, stop: Stop) -> Listeners:
    progress = ProgressListener(quiet=config.quiet, verbose=config.verbose)
    return make_listeners(
        config, config.paths.folder, [LogListener(config.paths.log), progress], stop
    )


def make_coordinator(
    session: Session, room: Room, slots: Sequence[Slot], usage: Usage
) -> Coordinator:
    """Return the coordinator that the configuration asks for."""
    config = session.config
    if not config.study.deterministic:
        return Coordinator(room, slots, config.paths, session.clock, usage)
    shadow = Shadow(
        room.problem.directions,
        config.study.name,
        session.sampler,
        session.pruner,
        session.enqueued,
    )
    return Rounds(
        room, slots, config.paths, session.clock, usage, size=config.study.round, shadow=shadow
    )


def _confirm(session: Session, coordinator: Coordinator) -> list[str]:
    """Run the best trials with fresh seeds, if asked to, and keep the weights of the best; return
    what to say of it.
    """
    config, stop = session.config, session.stop
    if stop.requested:
        if not (config.study.confirm and session.ledger.counted and stop.exit_code == 0):
            return []
        more = resume_command(
            config,
            f"budget.trials={session.ledger.counted}",
            f"budget.minutes={2 * (config.budget.minutes or 1):g}",
        )
        return [f"study.confirm: no time was left for it; this does it: {more}"]
    lines: list[str] = []
    with coordinator.guarded():
        rows = leaderboard.rank(session.study, session.problem.space)
        if config.study.confirm:
            confirmed = confirm(
                rows, config.study.confirm, coordinator.room, coordinator.slots, config.paths
            )
            if confirmed is None:
                return []
            write_confirmed(confirmed, config.paths)
            lines = confirmed_lines(confirmed)
            rows = _ranked(session)
        if config.tracking.keep_weights == "best" and rows and rows[0].state == "COMPLETE":
            keep_best(rows, coordinator.room, coordinator.slots, config.paths)
    return lines


def _ranked(session: Session) -> list[leaderboard.Row]:
    return leaderboard.rank(
        session.study, session.problem.space, leaderboard.confirmed_order(session.config.paths)
    )


def _close(session: Session, outside: float | None) -> list[str]:
    """Write the leaderboard; return the lines to show. What fails now changes the exit code, not
    the trials.
    """
    config, stop = session.config, session.stop
    try:
        with storage_errors():
            rows = _ranked(session)
            leaderboard.write(rows, session.problem.objectives, session.problem.base, config.paths)
            if stop.exit_code == 0 and outside is not None:
                session.study.set_user_attr(ENDED, config.study.confirm)
        return closing_lines(config, rows, session.problem, outside)
    except (StorageFailed, OSError) as error:
        stop.request(str(error), FAILED)
        return []


def _end(session: Session) -> int:
    """Say how the run ended and how to go on; return the exit code."""
    config, stop = session.config, session.stop
    if stop.exit_code == FAILED:
        _complain(
            f"{stop.reason}; when that is mended, this goes on where it stopped: "
            f"{resume_command(config)}"
        )
    else:
        print(next_step(config, session.ledger, stop))
    return stop.exit_code


def _complain(text: str) -> None:
    print(f"error: {redact(text)}", file=sys.stderr)
