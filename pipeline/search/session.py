"""Everything that is open while a sweep runs: checked first, then opened."""

from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from sqlalchemy import Connection

from pipeline.config import Config
from pipeline.configuration.overrides import Value
from pipeline.data import prepare
from pipeline.search.clock import StudyClock
from pipeline.search.code_version import code_version
from pipeline.search.fingerprint import fingerprint
from pipeline.search.fork import nothing_of_its_own, take_over
from pipeline.search.grid import grid
from pipeline.search.ledger import Ledger
from pipeline.search.problem import Problem
from pipeline.search.pruners import make_pruner
from pipeline.search.samplers import make_sampler
from pipeline.search.server_lock import hold
from pipeline.search.space import searched
from pipeline.search.stop import Stop
from pipeline.search.study import open_storage, open_study, quiet_optuna, repair


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
    """Return what is searched, checked as far as it can be before a trial, and remarks for the user. Raises InputError."""
    space, remarks = searched(config)
    problem = Problem(config, space, prepare(config.data, config.root))
    problem.check()
    return problem, remarks


def open_session(config: Config, problem: Problem, slots: int) -> Session:
    """Open the study, new or resumed. Raises InputError when it is another one, StorageFailed when its database does not answer."""
    quiet_optuna()
    space = problem.space
    remarks: list[str] = []
    sampler = make_sampler(config.sampler, config.study.seed, space)
    enqueued, notes = space.enqueued(config.study.enqueue)
    mark = fingerprint(config, space, problem.data.digest)
    storage = open_storage(config.paths, config.study.storage, slots)
    held = hold(storage.engine, config.study.name)
    study, resumed, more = open_study(config.paths, storage, problem.directions, mark, code_version())
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
    return Session(config, problem, study, resumed, ledger, stop, clock, sampler, pruner, enqueued, held)
