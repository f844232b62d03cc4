"""One run of a sweep from configuration to exit code: check, open, print the plan, run, print the
results.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

from pipeline.configuration import Config, again
from pipeline.configuration.overrides import override
from pipeline.configuration.termination import RunFailed, refused_by_system
from pipeline.data import prepare
from pipeline.events import State, StudyEnded
from pipeline.picture_sheet import write_contact_sheet
from pipeline.redact import redact
from pipeline.reporting.best_trials import front_of
from pipeline.reporting.prospect import outlook, used_seconds
from pipeline.reporting.table import table_of
from pipeline.reporting.warm_start import help_of_prior
from pipeline.search import leaderboard
from pipeline.search.budget import calibrated
from pipeline.search.confirm import (
    UNKEPT,
    confirm,
    confirmed_lines,
    forgetting,
    keep_best,
    no_time,
    write_confirmed,
)
from pipeline.search.deterministic import LockstepJobs
from pipeline.search.fingerprint import BASE
from pipeline.search.fitting import Pace, fitted
from pipeline.search.messages import (
    closing_lines,
    listeners_of,
    next_step,
    plan_lines,
    run_tags,
    study_ended,
    study_started,
)
from pipeline.search.open_study import MACHINE
from pipeline.search.problem import Problem
from pipeline.search.promotion_rounds import PromotionRounds
from pipeline.search.runner import Runner, Usage
from pipeline.search.search_jobs import SearchJobs
from pipeline.search.search_time import SearchTime, timed
from pipeline.search.session import Session, make_problem, open_session
from pipeline.search.storage_errors import StorageFailed, storage_errors
from pipeline.search.study_clock import StudyClock
from pipeline.search.trial import OUT_OF_TIME, Context
from pipeline.slots.slot import Machine, Slot, SlotError
from pipeline.slots.stop_request import FAILED, SignalHandling
from pipeline.tracking.mlflow_sender import backlog

# User attribute of a study: how many trials its last run was to confirm, if it ended well; 0 where
# it has confirmed none, -1 where the run did not end, or not with the best trial's weights.
ENDED = "ended"
NOTHING_TRAINED = f"{OUT_OF_TIME} before a trial had an epoch"


def run(
    config: Config,
    slots: Sequence[Slot],
    began: float | None = None,
    check: Callable[[Problem], None] = lambda problem: None,
) -> int:
    """Run a sweep in `slots`, which began at `began` by the monotonic clock; return the exit code.
    `check` refuses a problem whose results what follows could not use.

    Raises InputError, before the first trial, for any mistake in the user's input; RunFailed where
    it cannot go on.
    """
    try:
        say = None if config.quiet else print
        machine, data = slots[0].machine(), prepare(config.data, config.root, say)
        clock = StudyClock(config.paths.folder / "clock.json", config.budget.minutes, began)
        pace, given = Pace.of(machine.gflops, len(slots)), config.overrides
        config, fitting = fitted(config, data, pace, slots)
        problem, remarks = make_problem(config)
        check(problem)
        print(*fitting, *remarks, sep="\n", end="\n" if fitting or remarks else "")
        plan = None
        if config.budget.minutes is not None:
            fixed = any(text.startswith("train.epochs=") for text in given)
            config, plan = calibrated(config, problem, slots, clock, fixed=fixed)
            problem, _ = make_problem(config)
        time, slots = timed(config, clock, slots, plan)
        with closing(open_session(problem, len(slots), clock)) as session:
            if session.queue.finished and _nothing_left(session):
                return _look(session)
            if not config.quiet:
                print(*plan_lines(config, problem, session.queue, len(slots), machine), sep="\n")
            write_contact_sheet(config.paths.folder, problem.data)
            return _run(session, slots, machine, time)
    except (StorageFailed, SlotError, OSError) as error:
        what = refused_by_system(error) if isinstance(error, OSError) else error
        raise RunFailed(redact(f"{what}; once that is fixed, the same command resumes")) from error


def _nothing_left(session: Session) -> bool:
    """Tell whether the last run ended well and confirmed as many trials as are wanted now; wanting
    no confirmation does not undo one.
    """
    ended, wanted = session.study.user_attrs.get(ENDED, -1), session.config.study.confirm
    return bool(ended == wanted or (ended >= 0 and not wanted))


def _look(session: Session) -> int:
    """Show a finished study's results; send MLflow what it missed while its server was down."""
    config = session.config
    print(*_close(session, None), sep="\n")
    if config.tracking.name == "mlflow" and backlog(config.paths.folder):
        listeners = listeners_of(config, config.paths.folder, session.stop, verbose=config.verbose)
        listeners.emit(_ended(session, 0.0))
        listeners.close()
    return _end(session)


def _run(session: Session, slots: Sequence[Slot], machine: Machine, time: SearchTime | None) -> int:
    config, stop, problem = session.config, session.stop, session.problem
    with storage_errors():
        session.study.set_user_attr(ENDED, -1)
        session.study.set_user_attr(MACHINE, machine.fingerprint())
        session.study.set_user_attr(BASE, list(problem.base))
    if any(redact(text) != text for text in problem.base) and config.paths.study_db.exists():
        config.paths.study_db.chmod(0o600)
    with storage_errors():
        past = table_of(session.study, config.paths.folder).trials
    listeners = listeners_of(config, config.paths.folder, stop, verbose=config.verbose, past=past)
    usage, limits, clock = Usage(), config.deadline, session.clock
    clock.following = listeners.left_s
    if time is not None:
        time.check(session, listeners.close)
    say = (lambda line: None) if config.study.confirm else print
    emit = forgetting(listeners.emit, config.paths, say)
    context = Context(stop, emit, usage.trained, limits.epoch_s, limits.trial_s, clock.cut_s)
    listeners.emit(
        study_started(
            config,
            run_tags(config, problem.data.digest, machine, "sweep"),
            resumed=session.resumed,
            total=session.queue.total,
            slots=len(slots),
            directions=problem.directions,
        )
    )
    with SignalHandling(stop, print):
        jobs = jobs_of(session, context, time)
        runner = Runner(jobs, slots, context, usage, config.paths.log, clock)
        runner.run()
        if not (stop.requested or session.queue.finished):
            stop.request("the slots have ended before the trials did", FAILED)
        if not stop.requested:
            with runner.guarded():
                jobs.tell_paused()
        if time is not None:
            with runner.guarded():
                time.note(_outcome(session), used_up=stop.reason == OUT_OF_TIME)
        _check_begun(session)
        outside = usage.outside(len(slots), session.queue.idle_s)
        confirmed: list[str] = []
        ended = -1
        with runner.guarded():
            confirmed, ended = _confirm(session, context, slots)
        lines = _close(session, outside, ended)
        listeners.emit(_ended(session, outside))
        listeners.close(clock.end_s())
        if stop.reason == OUT_OF_TIME:
            with runner.guarded():
                clock.use_up()
    tracking = listeners.tracking
    links = [] if tracking is None else [*tracking.links(config.study.name), tracking.cost()]
    print(*lines, *confirmed, *links, sep="\n")
    return _end(session)


def _check_begun(session: Session) -> None:
    """Let a run fail whose time was used up before any trial had an epoch, unless final models are
    made of what stands in.
    """
    late = session.stop.reason == OUT_OF_TIME and not session.begun
    if late and not session.config.final.after_sweep:
        session.stop.request(NOTHING_TRAINED, FAILED)


def _outcome(session: Session) -> str:
    """Return what came of a search's time."""
    counts = session.queue.counts()
    ended = ", ".join(f"{count} {state.lower()}" for state, count in sorted(counts.items()))
    return f"{ended or 'no trial'}; {session.stop.reason or 'all trials are done'}"


def jobs_of(session: Session, context: Context, time: SearchTime | None = None) -> SearchJobs:
    """Return the source of trials: rounds in lockstep in deterministic mode, else one by one."""
    problem, queue, study = session.problem, session.queue, session.config.study
    paths = session.config.paths
    if study.deterministic:
        rounds = LockstepJobs if queue.rule is None else PromotionRounds
        return rounds(context, problem, queue, paths, session.copies)
    return SearchJobs(context, problem, queue, paths, time)


def _confirm(session: Session, context: Context, slots: Sequence[Slot]) -> tuple[list[str], int]:
    """Confirm the best trials with fresh seeds if configured, and keep the best one's weights;
    return lines for the user, and what ENDED is where the run ends well.
    """
    config, stop, clock = session.config, session.stop, session.clock
    count, space, lines = config.study.confirm, session.problem.space, []
    if count and not stop.exit_code:
        rows = leaderboard.rank(session.study, space, config.paths, searched=True)
        confirmed = confirm(rows, session.problem, context, slots, count, clock)
        count = count if confirmed else 0
        if confirmed is None:
            lines = [no_time(config, session.queue.counted, clock.used_s)]
        else:
            lines = confirmed_lines(confirmed)
            write_confirmed(confirmed, config.paths)
    if stop.exit_code:
        return [], -1
    rows = leaderboard.rank(session.study, space, config.paths)
    if keep_best(rows, session.problem, context, slots, clock) or not stop.requested:
        return lines, count
    late = no_time(config, session.queue.counted, clock.used_s, UNKEPT)
    return [*lines, late], -1


def _ended(session: Session, outside: float) -> StudyEnded:
    """Return the event of a run that ends; a database that fails now makes it a failure."""
    try:
        counts = session.queue.counts()
        best = leaderboard.best_number(session.study, session.config.paths)
    except StorageFailed as error:
        session.stop.request(str(error), FAILED)
        counts, best = {}, None
    ended = study_ended(session.stop, trials=counts, best_number=best, outside_training=outside)
    return ended if ended.reason else replace(ended, reason=session.queue.enough)


def _close(session: Session, outside: float | None, ended: int = -1) -> list[str]:
    """Write the leaderboard, and of a run that has ended well what it has confirmed; return the
    lines to show. A failure here changes the exit code, not the trials.
    """
    problem, stop, paths = session.problem, session.stop, session.config.paths
    try:
        with storage_errors():
            rows = leaderboard.rank(session.study, problem.space, paths)
            leaderboard.write(rows, problem.objectives, problem.base, paths)
            if stop.exit_code == 0 and outside is not None:
                session.study.set_user_attr(ENDED, ended)
            table = table_of(session.study, paths.folder)
        more = outlook(table, problem.validation_images, used_seconds(paths.folder))
        said = [line for line in (help_of_prior(table), more.replace("±", "+-")) if line]
        return closing_lines(problem, rows, front_of(table), outside, said)
    except (StorageFailed, OSError) as error:
        stop.request(str(error), FAILED)
        return []


def _end(session: Session) -> int:
    """Say how the run ended and how to continue; return the exit code. Raises RunFailed."""
    config, stop = session.config, session.stop
    if stop.reason == NOTHING_TRAINED:
        raise RunFailed(redact(f"{stop.reason}; resume with: {again(config, *_more(session))}"))
    if stop.exit_code == FAILED:
        on = f"resume with: {again(config)}"
        raise RunFailed(redact(f"{stop.reason}; once that is fixed, {on}"))
    interrupted = session.queue.counts().get(State.INTERRUPTED, 0)
    print(next_step(config, stop, _more(session), session.queue.enough, interrupted))
    return stop.exit_code


def _more(session: Session) -> list[str]:
    """Return the overrides that add trials: twice as many as there are, or all that a grid has, or
    twice the time; none where a grid has no more.
    """
    config, queue, used_s = session.config, session.queue, session.clock.used_s
    if queue.enough:
        return ["budget.gain=null", override("budget.trials", 2 * queue.counted)]
    if queue.total is None or session.stop.reason:
        minutes = math.ceil(2 * max(config.budget.minutes or 1, used_s / 60))
        return [override("budget.minutes", minutes)]
    trials = 2 * max(queue.total, queue.counted)
    if queue.most is not None:
        trials = min(trials, queue.most)
        if queue.counted >= trials:
            return []
    return [override("budget.trials", trials)]
