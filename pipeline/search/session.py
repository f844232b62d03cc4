"""One run of a sweep from configuration to exit code: check, open, say what will run, run, say what came of it."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler

from pipeline.config import Config, redact
from pipeline.data import prepare
from pipeline.search import leaderboard
from pipeline.search.clock import StudyClock
from pipeline.search.closing import closing_lines, next_step, resume_command
from pipeline.search.code_version import code_version
from pipeline.search.coordinator import Coordinator, Usage
from pipeline.search.distributions import Value
from pipeline.search.events import StudyEnded, StudyStarted
from pipeline.search.fingerprint import fingerprint
from pipeline.search.fork import take_over
from pipeline.search.grid import grid
from pipeline.search.ledger import Ledger, StorageFailed, storage_errors
from pipeline.search.listeners import is_behind, make_listeners
from pipeline.search.plan import plan_lines
from pipeline.search.problem import Problem
from pipeline.search.pruners import make_pruner
from pipeline.search.rounds import Rounds
from pipeline.search.samplers import make_sampler
from pipeline.search.shadow import Shadow
from pipeline.search.space import searched
from pipeline.search.stop import FAILED, SignalHandling, Stop
from pipeline.search.study import MACHINE, open_storage, open_study, quiet_optuna, repair, storage_url
from pipeline.search.trial import Room
from pipeline.slots.base import Machine, Slot, SlotError
from pipeline.tracking.mlflow import MlflowListener

ENDED = "ended"  # user attribute: the last run has exported everything


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
    code: str
    sampler: BaseSampler
    pruner: BasePruner
    enqueued: list[dict[str, Value]]


def run(config: Config, slots: Sequence[Slot]) -> int:
    """Run a sweep in `slots`; return the exit code. Raises InputError before the first trial for whatever the user gave wrong."""
    try:
        session = open_session(config, len(slots))
        if session.ledger.finished and session.study.user_attrs.get(ENDED):
            return _look(session)
        machine = slots[0].machine()
        for line in plan_lines(config, session.problem, session.ledger, len(slots), machine):
            print(line)
        return _run(session, slots, machine)
    except (StorageFailed, SlotError, OSError) as error:
        _complain(f"{error}; when that is mended, the same command goes on")
        return FAILED


def _look(session: Session) -> int:
    """Show what a finished study holds; send MLflow what a dead server has missed."""
    config = session.config
    lines, _ = _close(session, None)
    print(*lines, sep="\n")
    if config.tracking.name == "mlflow" and is_behind(config.paths.folder):
        listeners, tracking = make_listeners(config)
        listeners.emit(_ended(session, 0.0))
        listeners.close()
        _warn_tracking(config, tracking)
    return 0


def open_session(config: Config, slots: int) -> Session:
    """Check everything that can be checked and open the study."""
    quiet_optuna()
    space, remarks = searched(config)
    problem = Problem(config, space, prepare(config.data, config.root))
    problem.check()
    sampler = make_sampler(config.sampler, config.study.seed, space)
    enqueued, notes = space.enqueued(config.study.enqueue)
    code = code_version()
    mark = fingerprint(config, space, problem.data.digest)
    storage = open_storage(storage_url(config.paths, config.study.storage), slots)
    study, resumed, more = open_study(config.paths, storage, problem.directions, mark, code)
    pruner = make_pruner(config.pruner, config.train.epochs)
    if config.study.deterministic:  # its copies decide, see `rounds`
        study.sampler, study.pruner = RandomSampler(), NopPruner()
    else:
        study.sampler, study.pruner = sampler, pruner
    repair(study, config.paths.folder)
    if config.study.fork is not None and not resumed:
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
    return Session(config, problem, study, resumed, ledger, stop, clock, code, sampler, pruner, enqueued)


def _run(session: Session, slots: Sequence[Slot], machine: Machine) -> int:
    config, stop = session.config, session.stop
    with storage_errors():
        session.study.set_user_attr(ENDED, False)
        session.study.set_user_attr(MACHINE, machine.fingerprint())
    listeners, tracking = make_listeners(config)
    usage = Usage()
    room = Room(session.problem, session.ledger, stop, listeners.emit, usage.trained, config.deadline.epoch_s, config.deadline.trial_s)
    listeners.emit(_started(session, len(slots), machine))
    with SignalHandling(stop, print):
        make_coordinator(session, room, slots, usage).run()
        outside = usage.outside(len(slots))
        lines, error = _close(session, outside)
        listeners.emit(_ended(session, outside))
        listeners.close()
    print(*lines, sep="\n")
    if error:
        _complain(error)
    _warn_tracking(config, tracking)
    return stop.exit_code


def make_coordinator(session: Session, room: Room, slots: Sequence[Slot], usage: Usage) -> Coordinator:
    """Return the coordinator that the configuration asks for."""
    config = session.config
    if not config.study.deterministic:
        return Coordinator(room, slots, config.paths, session.clock, usage)
    shadow = Shadow(room.problem.directions, config.study.name, session.sampler, session.pruner, session.enqueued)
    return Rounds(room, slots, config.paths, session.clock, usage, size=config.study.round, shadow=shadow)


def _close(session: Session, outside: float | None) -> tuple[list[str], str]:
    """Write the leaderboard; return the last lines and what went wrong. What fails now changes the exit code, not the trials."""
    config, stop = session.config, session.stop
    lines: list[str] = []
    try:
        with storage_errors():
            rows = leaderboard.rank(session.study, session.problem.space)
            leaderboard.write(rows, session.problem.objectives, session.problem.base, config.paths)
            session.study.set_user_attr(ENDED, stop.exit_code == 0)
        lines = closing_lines(config, rows, session.problem, outside)
    except (StorageFailed, OSError) as error:
        stop.request(str(error), FAILED)
    if stop.exit_code == FAILED:
        return lines, f"{stop.reason}; when that is mended, this goes on where it stopped: {resume_command(config)}"
    return [*lines, next_step(config, session.ledger, stop)], ""


def _complain(text: str) -> None:
    print(f"error: {redact(text)}", file=sys.stderr)


def _warn_tracking(config: Config, tracking: MlflowListener | None) -> None:
    if tracking is not None and tracking.problem:
        kept = config.paths.folder / "events.jsonl"
        print(f"MLflow: {tracking.problem}; the runs are kept in {kept} and sent at the next start", file=sys.stderr)


def _started(session: Session, slots: int, machine: Machine) -> StudyStarted:
    config = session.config
    tags = {
        "code": session.code,
        "kernels": machine.kernels,
        "processor": machine.processor,
        "blas": machine.blas,
        "numpy": machine.numpy,
        "data": config.data.name,
        "data_digest": session.problem.data.digest,
        "command": "python -m pipeline.sweep " + " ".join(config.overrides),
    }
    return StudyStarted(
        study=config.study.name,
        folder=config.paths.folder,
        note=config.study.note,
        seed=config.study.seed,
        resumed=session.resumed,
        total=session.ledger.total,
        slots=slots,
        directions=session.problem.directions,
        tags=tags,
        config_yaml=config.yaml,
        time_s=time.time(),
    )


def _ended(session: Session, outside: float) -> StudyEnded:
    stop = session.stop
    state = {0: "COMPLETE", FAILED: "FAIL"}.get(stop.exit_code, "INTERRUPTED")
    try:
        counts = session.ledger.counts()
        best = leaderboard.best_trials(session.study)
    except StorageFailed as error:
        stop.request(str(error), FAILED)
        counts, best = {}, []
    return StudyEnded(
        state=state,
        reason=stop.reason,
        trials=counts,
        best_number=best[0].number if best else None,
        outside_training=outside,
        time_s=time.time(),
    )
