"""What a run tells its listeners as it begins and ends, and what it prints: its plan, its results
and how to continue.
"""

import math
import statistics
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline.configuration import Config, again, command_of, given_of, override
from pipeline.events import State, StudyEnded, StudyStarted
from pipeline.redact import redact
from pipeline.reporting.table import TrialRow
from pipeline.search.fingerprint import code_version
from pipeline.search.leaderboard import table
from pipeline.search.problem import Job, Problem
from pipeline.search.queue import TrialQueue
from pipeline.slots.slot import Machine
from pipeline.slots.stop_request import FAILED, Stop
from pipeline.tracking.listeners import Listeners, LogListener, make_listeners
from pipeline.tracking.progress import ProgressListener
from pipeline.tracking.store import is_server, resolve_uri

# Typical share of the measured product speed that a whole step reaches; small nets reach less.
EFFICIENCY = 0.35
STEP_S = 0.0008  # Python overhead of a step, which is most of a small net's time
EPOCH_S = 0.01  # to send, save and report an epoch
TRIAL_S = 0.1  # to ask, compose and tell a trial
PASSES = 3  # forward, gradient of weights, gradient of inputs
RUN_BYTES = 250_000  # of a trial, in the study's and MLflow's databases and pictures
STORE_BYTES = 2_000_000  # of the empty databases


def run_tags(config: Config, data_digest: str, machine: Machine, command: str) -> dict[str, str]:
    """Return the tags of all runs of a command: code, machine, data, and the command line."""
    return {
        "code": code_version(),
        "kernels": machine.kernels,
        "processor": machine.processor,
        "blas": machine.blas,
        "numpy": machine.numpy,
        "data": config.data.name,
        "data_digest": data_digest,
        "command": again(config),
        "mlflow.source.name": f"pipeline.{command}",
    }


def study_started(config: Config, tags: dict[str, str], **differing: Any) -> StudyStarted:
    """Return the event of a run that begins now, from the configuration except for `differing`."""
    fields: dict[str, Any] = {
        "study": config.study.name,
        "folder": config.paths.folder,
        "note": config.study.note,
        "seed": config.study.seed,
        "resumed": False,
        "directions": ("maximize",),
        "tags": tags,
        "config_yaml": config.yaml,
        "time_s": time.time(),
    }
    return StudyStarted(**{**fields, **differing})


def study_ended(stop: Stop, **differing: Any) -> StudyEnded:
    """Return the event of a run that ends now, from its stop except for `differing`."""
    good = State.INTERRUPTED if stop.exit_code else State.COMPLETE
    fields: dict[str, Any] = {
        "state": State.FAIL if stop.exit_code == FAILED else good,
        "reason": stop.reason,
        "trials": {},
        "best_number": None,
        "outside_training": 0.0,
        "time_s": time.time(),
    }
    return StudyEnded(**{**fields, **differing})


def listeners_of(
    config: Config, folder: Path, stop: Stop, *, verbose: bool, past: Sequence[TrialRow] = ()
) -> Listeners:
    """Return a run's listeners: its log in `folder`, the terminal, and MLflow if configured.

    past: the trials that its study has already.
    """
    progress = ProgressListener(quiet=config.quiet, verbose=verbose, past=past)
    return make_listeners(config, folder, [LogListener(folder / "log.txt"), progress], stop)


def plan_lines(
    config: Config, problem: Problem, queue: TrialQueue, slots: int, machine: Machine
) -> list[str]:
    """Return the lines that say what will run."""
    left, jobs = queue.left, sample_jobs(problem)
    objective = " and ".join(problem.objectives)
    kernels = f" ({machine.kernels} kernels)" if machine.kernels else ""
    several = jobs[0].spec.nets
    judged = f"the mean {objective} of {several} nets" if several > 1 else objective
    epochs = f"at most {config.train.epochs} epochs each, by {judged}"
    lines = [
        f"study {config.study.name!r} in {config.paths.folder}: {_trials(config, queue)}, {epochs}",
        f"data {config.data.name}: {'x'.join(map(str, problem.data.image_shape))}, "
        f"{problem.training_images} training images; "
        f"searching {', '.join(problem.space.names)}",
        f"{slots} slot{'s' if slots > 1 else ''} on {machine.processor}, {machine.blas}{kernels}, "
        f"{config.sampler.name} sampler, {config.pruner.name} pruner",
    ]
    if queue.rule is not None and queue.rule.first >= config.train.epochs:
        lines.append(
            f"pruner {config.pruner.name}: no trial pauses, since the first look is after epoch "
            f"{queue.rule.first} and a trial has {config.train.epochs}"
        )
    seconds = statistics.fmean(epoch_seconds(job, problem.training_images, machine) for job in jobs)
    parameters = max(job.extra["parameters"] for job in jobs)
    trials = queue.total or 20
    nets = slots if queue.rule is None else max(slots, trials)  # whose checkpoints are kept
    state = 4 * parameters * 4 * jobs[0].spec.nets
    disk = STORE_BYTES + (left or 20) * RUN_BYTES + nets * 2 * state
    if left == 0:
        lines.append(f"about {disk / 1e6:.0f} MB on disk")
    elif left is not None:
        share = 1.0 if queue.rule is None else queue.rule.share(trials)
        whole = left * (share * config.train.epochs * seconds + TRIAL_S) / slots
        whole = min(whole, 60 * (config.budget.minutes or math.inf))
        pruned = "; pruning makes it less" if config.pruner.name != "none" and share == 1 else ""
        lines.append(
            f"estimate: about {_duration(whole)}{pruned}; about {disk / 1e6:.0f} MB on disk"
        )
    else:
        lines.append(
            f"estimate: about {_duration(seconds)} an epoch; about {disk / 1e6:.0f} MB on disk for "
            "each 20 trials"
        )
    return lines


def sample_jobs(problem: Problem) -> list[Job]:
    """Return the cheap and the costly end of the space's first branch, composed."""
    corners = [next(iter(problem.space.corners(dearest=dearest))) for dearest in (False, True)]
    return [problem.job(0, corner) for corner in corners]


def epoch_seconds(job: Job, images: int, machine: Machine) -> float:
    """Return the estimated seconds of an epoch, from its multiply-adds and the machine's measured
    speed of matrix products.
    """
    train = job.spec.train
    seen = images if train.steps_per_epoch is None else train.steps_per_epoch * train.batch_size
    products_s = (
        2 * PASSES * job.extra["multiply_adds"] * seen / (EFFICIENCY * machine.gflops * 1e9)
    )
    return job.spec.nets * (products_s + seen / train.batch_size * STEP_S + EPOCH_S)


def _trials(config: Config, queue: TrialQueue) -> str:
    left = queue.left
    if left is None:
        return f"trials for {config.budget.minutes:g} minutes"
    limit = (
        "" if config.budget.minutes is None else f" in at most {config.budget.minutes:g} minutes"
    )
    if left == 0:
        return f"{'no trials to go' if queue.rule is None else 'paused trials to promote'}{limit}"
    return f"{left} trial{'s' if left != 1 else ''} to go{limit}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def closing_lines(
    problem: Problem,
    rows: Sequence[TrialRow],
    front: Collection[int],
    outside: float | None,
    said: Sequence[str] = (),
) -> list[str]:
    """Return the closing lines; `front` holds the numbers of the best trials, `outside` is the
    share of the slots' time outside training, None if nothing ran; `said` follows the best trial.
    """
    config = problem.config
    lines = ["", *table(rows, problem.objectives)]
    if front:
        best = [row for row in rows if row.number in front]
        words = "best trial" if len(problem.objectives) == 1 else "Pareto front: trials"
        numbers = ", ".join(str(row.number) for row in best)
        lines += ["", f"{words} {numbers}: {' '.join(best[0].overrides)}"]
        if (command := train_command(config, problem, best[0])) is not None:
            lines.append(f"train it alone: {command}")
    lines += said
    if outside is not None:
        lines.append(f"{outside:.1%} of the slots' time was spent outside training")
    if config.tracking.name == "mlflow":
        uri = resolve_uri(config.tracking.uri, config.root)
        lines.append(
            f"compare the runs: {f'open {redact(uri)}' if is_server(uri) else ui_command(config)}"
        )
    return lines


def ui_command(config: Config) -> str:
    """Return the command that shows the runs of this study's store."""
    where = given_of(config, ("tracking.uri", "tracking.experiment"))
    return redact(command_of("ui", config.root, *where))


def train_command(config: Config, problem: Problem, trial: TrialRow) -> str | None:
    """Return the command that trains a trial alone in its study's root, bit for bit the same; None
    for one that was not trained here.
    """
    if trial.foreign:
        return None
    where = given_of(config, ("blas", "tracking"))
    study = [override("study.name", config.study.name), override("study.seed", config.study.seed)]
    number = override("trial", trial.number)
    whole = [*problem.base, *trial.overrides, *where, *study, number]
    return redact(command_of("train", config.root, *whole))


def next_step(
    config: Config, stop: Stop, more: Sequence[str], enough: str = "", interrupted: int = 0
) -> str:
    """Return the line that says how to continue; `more` are the overrides that add trials, none
    where there are no others; `enough` is why the study ended before it had all of them, and
    `interrupted` how many of its trials it left as they were.
    """
    if stop.exit_code:
        return f"{stop.reason}; resume with: {again(config)}"
    done = stop.reason or enough or "the study has all its trials"
    if interrupted and not stop.reason:
        done += f", beside {interrupted} interrupted, which a larger budget.trials goes on with"
    add = f"; to add trials: {again(config, *more)}" if more else ", and its grid has no more"
    return f"{done}{add}; to start another study: study.name=NAME"
