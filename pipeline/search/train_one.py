"""One configuration as a study of one trial: epochs, checkpoints, events and files as in a sweep,
and nothing searched.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from cnn_core.architectures import build_model
from cnn_core.spec import DataSpec, Spec
from pipeline.config import Config
from pipeline.events import Event, StudyEnded, StudyStarted
from pipeline.files import StudyPaths, TrialPaths, atomic_write_text, writable_folder
from pipeline.reporting.course_charts import learning_curves
from pipeline.reporting.svg import standalone
from pipeline.search.problem import Problem, Work
from pipeline.search.queue import Ledger
from pipeline.search.run_sweep import run_tags
from pipeline.search.space import Space
from pipeline.search.study import quiet_optuna
from pipeline.search.trial import Room, run_trial
from pipeline.search.trial_folder import Outcome, TrialRecord, keep_weights, read_history
from pipeline.slots.owner import OwnerLock, reap_after
from pipeline.slots.pool import open_slots
from pipeline.slots.slot import Slot
from pipeline.slots.stop import SignalHandling, Stop
from pipeline.tracking.listeners import Listeners, LogListener, make_listeners
from pipeline.tracking.progress import ProgressListener


@dataclass(frozen=True)
class Single:
    """One composed configuration and where its files go: ``<root>/<study.name>/train/<digest of the
    spec>/``.
    """

    problem: Problem
    work: Work
    paths: TrialPaths

    @property
    def spec(self) -> Spec:
        return self.work.spec

    def finished(self) -> Outcome | None:
        """Return how it ended, if it was trained before."""
        return TrialRecord(self.paths).result(self.spec)


def compose_single(config: Config, data: DataSpec, number: int) -> Single:
    """Compose and check the one net; `number` chooses its random streams as a trial's number does.
    Raises InputError.
    """
    problem = Problem(config, Space(()), data)
    problem.check()
    work = problem.work(number, ())
    folder = StudyPaths(config.root, config.study.name).folder / "train" / work.spec.digest()[:12]
    return Single(problem, work, TrialPaths(folder))


def train_single(single: Single, slot: Slot, stop: Stop, listeners: Listeners) -> Outcome:
    """Train in `slot`, from the last checkpoint if there is one; tell the listeners and close them;
    keep the weights.
    """
    quiet_optuna()
    ledger = Ledger(optuna.create_study(direction="maximize"), 1, stop, max_failed=1)
    asked = ledger.ask(lambda trial: [])
    assert asked is not None
    deadline = single.problem.config.deadline
    room = Room(
        single.problem,
        ledger,
        stop,
        listeners.emit,
        lambda seconds: None,
        deadline.epoch_s,
        deadline.trial_s,
    )
    record = TrialRecord(single.paths)
    try:
        listeners.emit(_started(single, slot, resumed=record.paths.overrides.exists()))
        record.begin(single.work.number, single.work.seed, single.problem.base)
        outcome = run_trial(asked[0], single.work, record, slot, room)
        if outcome.state == "COMPLETE":
            keep_weights(single.work, record, outcome)
        if outcome.state != "INTERRUPTED":
            record.write_result(outcome, single.spec)
            record.finish()
        for event in _ended(single, outcome):
            listeners.emit(event)
    finally:
        listeners.close()
    return outcome


def _started(single: Single, slot: Slot, *, resumed: bool) -> StudyStarted:
    config = single.problem.config
    return StudyStarted(
        study=f"{config.study.name} train {single.paths.folder.name}",
        folder=single.paths.folder,
        note=config.study.note,
        seed=config.study.seed,
        resumed=resumed,
        total=1,
        slots=1,
        directions=("maximize",),
        tags=run_tags(config, single.problem.data.digest, slot.machine(), "train"),
        config_yaml=config.yaml,
        time_s=time.time(),
    )


def _ended(single: Single, outcome: Outcome) -> list[Event]:
    number = single.work.number
    state = {"FAIL": "FAIL", "INTERRUPTED": "INTERRUPTED"}.get(outcome.state, "COMPLETE")
    best = number if outcome.state == "COMPLETE" else None
    done = StudyEnded(
        state=state,
        reason=outcome.reason,
        trials={outcome.state: 1},
        best_number=best,
        outside_training=0.0,
        time_s=time.time(),
    )
    return [outcome.event(number, single.paths.folder), done]


def curve_path(paths: TrialPaths) -> Path:
    """Return where the picture of the learning curves goes."""
    return paths.folder / "learning_curves.svg"


Say = Callable[[str], None]


def run(config: Config, data: DataSpec, number: int, say: Say) -> int:
    """Train the net that `config` describes in one slot; return the exit code. Raises InputError
    before the first epoch.
    """
    single = compose_single(config, data, number)
    known = single.finished()
    if known is not None:
        say(
            f"{known.state} before: {_result(known)}; {single.paths.folder} holds it, and removing "
            "that trains again"
        )
        return 0 if known.state == "COMPLETE" else 1
    folder = writable_folder(single.paths.folder, "root")
    lock = OwnerLock(folder / "owner.json")
    lock.acquire()
    try:
        reap_after(lock.previous, folder)
        slots = open_slots(config, folder)
        try:
            if not config.quiet:
                _show_net(single, say)
            stop = Stop()
            with SignalHandling(stop, say):
                progress = ProgressListener(quiet=config.quiet, verbose=True)
                listeners = make_listeners(
                    config, folder, [LogListener(folder / "log.txt"), progress], stop
                )
                outcome = train_single(single, slots[0], stop, listeners)
        finally:
            for slot in slots:
                slot.close()
    finally:
        lock.release()
    _draw(single)
    files = ", ".join(
        sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    )
    say(
        f"{outcome.state}: {_result(outcome)} after {outcome.epochs} epochs, "
        f"{outcome.duration_s:.1f} s"
    )
    say(f"in {folder}: {files}")
    return stop.exit_code or (0 if outcome.state == "COMPLETE" else 1)


def _show_net(single: Single, say: Say) -> None:
    data = single.spec.data
    say(
        build_model(
            single.spec.model, data.image_shape, data.classes, np.random.default_rng(0)
        ).summary()
    )


def _result(outcome: Outcome) -> str:
    return f"objective {outcome.values[0]:.4f}" if outcome.values else outcome.reason


def _draw(single: Single) -> None:
    history = dict(enumerate(read_history(single.paths), 1))
    if history:
        atomic_write_text(
            curve_path(single.paths), standalone(learning_curves(history, single.work.name))
        )
