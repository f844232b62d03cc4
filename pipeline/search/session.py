"""The state of a running sweep: its problem, checked, and its study, opened."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import RDBStorage
from sqlalchemy import Connection

from cnn_core.errors import InputError
from pipeline.configuration import Config
from pipeline.configuration.overrides import Value
from pipeline.configuration.sampler_settings import AutoSettings
from pipeline.data import prepare
from pipeline.redact import shown
from pipeline.search.auto_sampler import CHOICE, AutoSampler, choose_samplers, chosen_before
from pipeline.search.fingerprint import code_version, fingerprint
from pipeline.search.fork import nothing_of_its_own, take_over
from pipeline.search.gain import GainRule
from pipeline.search.grid_sampler import Grid
from pipeline.search.open_round import keep_deciding
from pipeline.search.open_study import open_storage, open_study, quiet_optuna, repair
from pipeline.search.prior import PRIOR, Prior, read_prior
from pipeline.search.prior_sampler import PriorSampler
from pipeline.search.problem import Problem
from pipeline.search.promotion import rule_of
from pipeline.search.pruners import make_pruner
from pipeline.search.queue import TrialQueue
from pipeline.search.same_trials import check_effects
from pipeline.search.samplers import make_sampler
from pipeline.search.space import Space, searched
from pipeline.search.storage import holds
from pipeline.search.storage_errors import storage_errors
from pipeline.search.study_clock import StudyClock
from pipeline.search.study_copies import StudyCopies
from pipeline.slots.owner_lock import hold
from pipeline.slots.stop_request import Stop


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
    storage: RDBStorage  # the study's database
    held: Connection | None  # holds the lock of a study on a server

    @property
    def config(self) -> Config:
        return self.problem.config

    @property
    def begun(self) -> bool:
        """Tell whether a trial has an epoch, or was taken over from another study."""
        return bool(self.queue.counted) or any(self.config.paths.trials.glob("*/history.csv"))

    def take_back(self) -> None:
        """Remove the study from its database: this run has made it, and nothing was begun."""
        with storage_errors():
            optuna.delete_study(study_name=self.study.study_name, storage=self.storage)

    def close(self) -> None:
        """Let go of the study and its database: the process may live on."""
        if self.held is not None:
            self.held.close()
        self.storage.engine.dispose()


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
    fingerprint differs, or what decides trials that did not end; StorageFailed if its database does
    not answer.
    """
    quiet_optuna()
    config, space = problem.config, problem.space
    automatic = config.sampler.name == "auto"
    sampler = None if automatic else make_sampler(config.sampler, config.study.seed, space)
    pruner = make_pruner(config.pruner, config.train.epochs)
    enqueued, notes = space.enqueued(config.study.enqueue)
    mark = fingerprint(config, space, problem.data.digest)
    begin = _begin(config, space)
    storage = open_storage(config.paths, config.study.storage, slots)
    held = hold(storage.engine, config.study.name)
    study, resumed, more = open_study(
        config.paths, storage, problem.directions, mark, code_version(), begin
    )
    keep_deciding(study, config)
    if sampler is None:
        sampler, line = _auto(study, problem)
        more = [line, *more]
    if (prior := _prior(study, enqueued, space)) is not None:
        sampler = PriorSampler(sampler, prior, space, config.study.seed, config.sampler.startup)
        enqueued = [*enqueued, *(params for params, _ in prior.first)]
        more = [*([] if resumed else prior.lines), *more]
    deciding = (RandomSampler(), NopPruner()) if config.study.deterministic else (sampler, pruner)
    study.sampler, study.pruner = deciding  # in deterministic mode its copies decide
    repair(study, config.paths.folder)
    if config.study.fork is not None and nothing_of_its_own(study):
        notes = [take_over(study, config, space, mark), *notes]
    for params in [] if config.study.deterministic else enqueued:
        study.enqueue_trial(params, skip_if_exists=True)
    for line in [*notes, *more]:
        print(line)
    stop, rule = Stop(), rule_of(config.pruner, config.train.epochs)
    queue = TrialQueue(study, config.budget.trials, stop, config.budget.max_failed, rule)
    queue.most = _most(queue, problem, enqueued)
    if config.budget.gain is not None:  # or every trial would look at all before it for nothing
        queue.may_end = GainRule.of(problem).reason
    queue.end_early(at_rest=True)
    return Session(
        problem,
        study,
        resumed,
        queue,
        stop,
        clock,
        StudyCopies(
            problem.directions, config.study.name, sampler, pruner, enqueued, config.study.round
        ),
        storage,
        held,
    )


def _begin(config: Config, space: Space) -> Callable[[], dict[str, Any]]:
    """Return what gives a new study what it takes from others. Where it certainly is new that is
    read at once, so that a refusal leaves no database behind.
    """
    if not config.study.prior:
        return dict
    new = config.study.storage is None and not config.paths.study_db.exists()
    known = read_prior(config, space) if new else None
    return lambda: {PRIOR: (known or read_prior(config, space)).stored()}


def _auto(study: optuna.Study, problem: Problem) -> tuple[BaseSampler, str]:
    """Return the study's automatic sampler, chosen once for all its runs, and a line about it."""
    config, settings = problem.config, cast(AutoSettings, problem.config.sampler)
    choice = chosen_before(study)
    if choice is None:
        choice = choose_samplers(problem.space, len(problem.objectives))
        study.set_user_attr(CHOICE, [choice.first, choice.then, choice.reason])
    sampler = AutoSampler(choice, settings.startup_trials, config.study.seed, problem.space)
    return sampler, choice.line(config.budget.trials)


def _prior(study: optuna.Study, enqueued: Sequence[dict[str, Value]], space: Space) -> Prior | None:
    """Return what the study took from others, without what the user enqueued anyway. Raises
    InputError where it holds what is not of the space.
    """
    if PRIOR not in study.user_attrs:
        return None
    prior, distributions = Prior.of(study.user_attrs[PRIOR]), space.distributions()
    for params, _ in (*prior.first, *prior.evidence):
        for name, value in params.items():
            if name not in distributions or not holds(distributions[name], value):
                raise InputError(
                    f"study {study.study_name!r}: its prior must hold values of its space, got "
                    f"{shown(f'{name}={value!r}')[:200]}"
                )
    return replace(prior, first=[pair for pair in prior.first if pair[0] not in enqueued])


def _most(queue: TrialQueue, problem: Problem, enqueued: Sequence[dict[str, Value]]) -> int | None:
    """Return how many trials of the study can count: on a grid those until no point is free."""
    config = problem.config
    if config.sampler.name != "grid":
        return None
    first = enqueued if config.study.deterministic else []  # else they are in the study
    trials = queue.study.get_trials(deepcopy=False)
    return queue.counted + Grid(problem.space).to_come(trials, first)
