"""One configuration as a study of one trial: epochs, checkpoints, events and files as in a sweep, and nothing searched."""

import time
from dataclasses import dataclass
from pathlib import Path

import optuna

from cnn_core.spec import DataSpec, Spec
from pipeline.artifacts import StudyPaths, TrialPaths
from pipeline.config import Config
from pipeline.search.events import Event, StudyEnded, StudyStarted
from pipeline.search.keep import keep_weights
from pipeline.search.ledger import Ledger
from pipeline.search.listeners import Listeners
from pipeline.search.problem import Problem, Work
from pipeline.search.record import Outcome, TrialRecord
from pipeline.search.space import Space
from pipeline.search.stop import Stop
from pipeline.search.study import quiet_optuna
from pipeline.search.study_events import run_tags
from pipeline.search.trial import Room, run_trial
from pipeline.slots.base import Slot


@dataclass(frozen=True)
class Single:
    """One composed configuration and where its files go: ``<root>/<study.name>/train/<digest of the spec>/``."""

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
    """Compose and check the one net; `number` chooses its random streams as a trial's number does. Raises InputError."""
    problem = Problem(config, Space(()), data)
    problem.check()
    work = problem.work(number, ())
    folder = StudyPaths(config.root, config.study.name).folder / "train" / work.spec.digest()[:12]
    return Single(problem, work, TrialPaths(folder))


def train_single(single: Single, slot: Slot, stop: Stop, listeners: Listeners) -> Outcome:
    """Train in `slot`, from the last checkpoint if there is one; tell the listeners and close them; keep the weights."""
    quiet_optuna()
    ledger = Ledger(optuna.create_study(direction="maximize"), 1, stop, max_failed=1)
    asked = ledger.ask(lambda trial: [])
    assert asked is not None
    deadline = single.problem.config.deadline
    room = Room(single.problem, ledger, stop, listeners.emit, lambda seconds: None, deadline.epoch_s, deadline.trial_s)
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
        state=state, reason=outcome.reason, trials={outcome.state: 1}, best_number=best, outside_training=0.0, time_s=time.time()
    )
    return [outcome.event(number, single.paths.folder), done]


def curve_path(paths: TrialPaths) -> Path:
    """Return where the picture of the learning curves goes."""
    return paths.folder / "learning_curves.png"
