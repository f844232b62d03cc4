"""The state of a running sweep: its problem, checked, and its study, opened."""

from dataclasses import dataclass

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from sqlalchemy import Connection

from pipeline.configuration import Config
from pipeline.data import prepare
from pipeline.search.fingerprint import code_version, fingerprint
from pipeline.search.fork import nothing_of_its_own, take_over
from pipeline.search.open_study import (
    StudyCopies,
    open_storage,
    open_study,
    quiet_optuna,
    repair,
)
from pipeline.search.problem import Problem
from pipeline.search.queue import TrialQueue
from pipeline.search.same_trials import check_effects
from pipeline.search.samplers import grid, make_pruner, make_sampler
from pipeline.search.space import searched
from pipeline.search.study_clock import StudyClock
from pipeline.slots.owner_lock import hold
from pipeline.slots.stop import Stop


@dataclass
class Session:
    """The state of a running sweep."""

    problem: Problem
    study: optuna.Study
    resumed: bool
    queue: TrialQueue
    stop: Stop
    clock: StudyClock
    copies: StudyCopies  # they decide in deterministic mode
    held: Connection | None  # holds the lock of a study on a server

    @property
    def config(self) -> Config:
        return self.problem.config


def make_problem(config: Config) -> tuple[Problem, list[str]]:
    """Return the problem, checked as far as possible before a trial, and remarks for the user.
    Raises InputError.
    """
    space, remarks = searched(config)
    problem = Problem(config, space, prepare(config.data, config.root))
    problem.check()
    check_effects(problem)
    return problem, remarks


def open_session(problem: Problem, slots: int, clock: StudyClock) -> Session:
    """Open the study, new or resumed, whose time `clock` counts. Raises InputError if its
    fingerprint differs, StorageFailed if its database does not answer.
    """
    quiet_optuna()
    config, space = problem.config, problem.space
    sampler = make_sampler(config.sampler, config.study.seed, space)
    pruner = make_pruner(config.pruner, config.train.epochs)
    enqueued, notes = space.enqueued(config.study.enqueue)
    mark = fingerprint(config, space, problem.data.digest)
    storage = open_storage(config.paths, config.study.storage, slots)
    held = hold(storage.engine, config.study.name)
    study, resumed, more = open_study(
        config.paths, storage, problem.directions, mark, code_version()
    )
    deciding = (RandomSampler(), NopPruner()) if config.study.deterministic else (sampler, pruner)
    study.sampler, study.pruner = deciding  # in deterministic mode its copies decide
    repair(study, config.paths.folder)
    if config.study.fork is not None and nothing_of_its_own(study):
        notes = [take_over(study, config, space, mark), *notes]
    for params in [] if config.study.deterministic else enqueued:
        study.enqueue_trial(params, skip_if_exists=True)
    for line in [*notes, *more]:
        print(line)
    stop, total = Stop(), config.budget.trials
    if config.sampler.name == "grid":
        total = min(total or len(grid(space)), len(grid(space)))
    return Session(
        problem,
        study,
        resumed,
        TrialQueue(study, total, stop, config.budget.max_failed),
        stop,
        clock,
        StudyCopies(
            problem.directions, config.study.name, sampler, pruner, enqueued, config.study.round
        ),
        held,
    )
