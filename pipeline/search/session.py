"""One run of a sweep from configuration to exit code: check, open, say what will run, run, say what came of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna

from pipeline.config import Config
from pipeline.data import prepare
from pipeline.search import leaderboard
from pipeline.search.clock import StudyClock
from pipeline.search.closing import closing_lines
from pipeline.search.code_version import code_version
from pipeline.search.coordinator import Coordinator, Usage
from pipeline.search.events import Listener, StudyEnded, StudyStarted
from pipeline.search.fingerprint import fingerprint
from pipeline.search.grid import grid
from pipeline.search.ledger import Ledger, StorageFailed
from pipeline.search.listeners import Listeners, LogListener
from pipeline.search.plan import plan_lines
from pipeline.search.problem import Problem
from pipeline.search.pruners import make_pruner
from pipeline.search.samplers import make_sampler
from pipeline.search.space import searched
from pipeline.search.stop import FAILED, SignalHandling, Stop
from pipeline.search.study import open_storage, open_study, quiet_optuna, repair, storage_url
from pipeline.search.trial import Room
from pipeline.slots.base import Machine, Slot
from pipeline.tracking.mlflow import MlflowListener
from pipeline.tracking.progress import ProgressListener

Say = Callable[[str], None]


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


def run(config: Config, slots: Sequence[Slot], say: Say) -> int:
    """Run a sweep in `slots`; return the exit code. Raises InputError before the first trial for whatever the user gave wrong."""
    try:
        session = open_session(config, len(slots), say)
    except StorageFailed as error:
        say(f"error: {error}")
        return FAILED
    if session.ledger.finished:
        for line in closing_lines(config, session.study, session.problem, session.stop, None):
            say(line)
        return 0
    machine = slots[0].machine()
    for line in plan_lines(config, session.problem, session.ledger, len(slots), machine):
        say(line)
    return _run(session, slots, machine, say)


def open_session(config: Config, slots: int, say: Say) -> Session:
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
    study.sampler, study.pruner = sampler, make_pruner(config.pruner, config.train.epochs)
    repair(study)
    for params in enqueued:
        study.enqueue_trial(params, skip_if_exists=True)
    for line in [*remarks, *notes, *more]:
        say(line)
    stop = Stop()
    total = config.budget.trials
    if config.sampler.name == "grid":
        total = min(total or len(grid(space)), len(grid(space)))
    ledger = Ledger(study, total, stop, config.budget.max_failed)
    clock = StudyClock(config.paths.folder / "clock.json", config.budget.minutes)
    return Session(config, problem, study, resumed, ledger, stop, clock, code)


def _run(session: Session, slots: Sequence[Slot], machine: Machine, say: Say) -> int:
    config, stop = session.config, session.stop
    listeners, tracking = _listeners(config)
    usage = Usage()
    room = Room(session.problem, session.ledger, stop, listeners.emit, usage.trained, config.deadline.epoch_s, config.deadline.trial_s)
    listeners.emit(_started(session, len(slots), machine))
    with SignalHandling(stop, say):
        Coordinator(room, slots, config.paths, session.clock, usage).run()
        listeners.emit(_ended(session, usage.outside(len(slots))))
        lines = _close(session, usage.outside(len(slots)), tracking)
        listeners.close()
    for line in lines:
        say(line)
    if tracking is not None and tracking.problem:
        say(f"MLflow: {tracking.problem}; its runs are kept in {config.paths.folder / 'events.jsonl'} and sent at the next start")
    return stop.exit_code


def _listeners(config: Config) -> tuple[Listeners, MlflowListener | None]:
    tracking = None
    listeners: list[Listener] = [LogListener(config.paths.log), ProgressListener(quiet=config.quiet, verbose=config.verbose)]
    if config.tracking.name == "mlflow":
        tracking = MlflowListener(
            root=config.root,
            folder=config.paths.folder,
            uri=config.tracking.uri,
            experiment=config.tracking.experiment,
            figures=config.tracking.figures,
        )
        listeners.append(tracking)
    return Listeners(listeners), tracking


def _close(session: Session, outside: float, tracking: MlflowListener | None) -> list[str]:
    """Write the leaderboard and return the last lines; a database or disk that fails now changes the exit code, not the trials."""
    config = session.config
    try:
        rows = leaderboard.rank(session.study, session.problem.space)
        leaderboard.write(rows, session.problem.objectives, session.problem.base, config.paths)
        return closing_lines(config, session.study, session.problem, session.stop, outside)
    except (StorageFailed, OSError) as error:
        session.stop.request(str(error), FAILED)
        return [f"error: {session.stop.reason}"]


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
