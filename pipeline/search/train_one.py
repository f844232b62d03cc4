"""`pipeline.train` from configuration to exit code: one configuration as a study of one trial, with
the same epochs, checkpoints, events and files as in a sweep.
"""

from collections.abc import Callable

import numpy as np

from cnn_core.architectures import build_model
from cnn_core.spec import DataSpec, Spec
from pipeline.configuration import Config
from pipeline.configuration.termination import RunFailed
from pipeline.events import State, TrialEnded
from pipeline.files import TrialPaths, atomic_write_text, writable_folder
from pipeline.redact import redact
from pipeline.reporting.course_charts import learning_curves
from pipeline.reporting.svg import standalone
from pipeline.search.fitting import fitted
from pipeline.search.messages import listeners_of, run_tags, study_ended, study_started
from pipeline.search.problem import Job, Problem
from pipeline.search.runner import JobList, Runner, Usage
from pipeline.search.space import Space
from pipeline.search.trial import Context
from pipeline.slots.pool import open_slots, owned
from pipeline.slots.slot import Slot
from pipeline.slots.stop_request import FAILED, SignalHandling, Stop
from pipeline.tracking.listeners import Listeners
from pipeline.trial_folder import TrialFolder

Say = Callable[[str], None]


def run(config: Config, data: DataSpec, number: int, say: Say) -> int:
    """Train the net that `config` describes in one slot; `number` chooses its random streams as a
    trial's number does. Return the exit code. Raises InputError before the first epoch.
    """
    config, fitting = fitted(config, data)
    for line in fitting:
        say(line)
    problem = Problem(config, Space(()), data)
    problem.check()
    job = problem.job(number, ())
    folder = TrialFolder(TrialPaths(config.paths.folder / "train" / job.spec.digest()[:12]))
    if (known := folder.result(job.spec)) is not None:
        place = folder.paths.folder
        say(
            f"{known.state} before: {_result(known)}; {place} holds it, and removing that trains "
            "again"
        )
        return 0 if known.state == State.COMPLETE else 1
    place = writable_folder(folder.paths.folder, "root")
    with owned(place), open_slots(config, place) as slots:
        if not config.quiet:
            _show_net(job.spec, say)
        stop = Stop()
        with SignalHandling(stop, say):
            listeners = listeners_of(config, place, stop, verbose=True)
            ended = train(problem, job, folder, slots[0], (stop, listeners))
    _draw(folder, job.name)
    files = ", ".join(sorted(p.name for p in place.iterdir() if not p.name.startswith(".")))
    if ended is None and stop.exit_code == FAILED:
        raise RunFailed(redact(f"{stop.reason}; once that is fixed, the same command resumes"))
    if ended is None:
        say(f"{State.INTERRUPTED}: {stop.reason}")
        return stop.exit_code
    say(f"{ended.state}: {_result(ended)} after {ended.epochs} epochs, {ended.duration_s:.1f} s")
    say(f"in {place}: {files}")
    return stop.exit_code or (0 if ended.state == State.COMPLETE else 1)


def train(
    problem: Problem,
    job: Job,
    folder: TrialFolder,
    slot: Slot,
    around: tuple[Stop, Listeners],
) -> TrialEnded | None:
    """Train in `slot`, from the last checkpoint if there is one, and keep the weights; tell and
    close the listeners. Return how the trial ended, None if the run itself failed.
    """
    (stop, listeners), config, place = around, problem.config, folder.paths.folder
    deadline = config.deadline
    context = Context(stop, listeners.emit, epoch_s=deadline.epoch_s, trial_s=deadline.trial_s)
    tags = run_tags(config, problem.data.digest, slot.machine(), "train")
    started = study_started(
        config,
        tags,
        study=f"{config.study.name} train {place.name}",
        folder=place,
        resumed=folder.paths.overrides.exists(),
        total=1,
        slots=1,
    )
    try:
        listeners.emit(started)
        jobs = JobList(context, [(job, folder)], problem.objectives, keep_weights=True)
        Runner(jobs, [slot], context, Usage(), place / "log.txt").run()
        ended = jobs.ends.get(place)
        if ended is None:
            listeners.emit(study_ended(stop))
            return None
        whole = ended.state in (State.FAIL, State.INTERRUPTED)
        listeners.emit(
            study_ended(
                stop,
                state=ended.state if whole else State.COMPLETE,
                reason=ended.reason,
                trials={ended.state: 1},
                best_number=job.number if ended.state == State.COMPLETE else None,
            )
        )
        return ended
    finally:
        listeners.close()


def _show_net(spec: Spec, say: Say) -> None:
    data, rng = spec.data, np.random.default_rng(0)
    say(build_model(spec.model, data.image_shape, data.classes, rng).summary())


def _result(ended: TrialEnded) -> str:
    return f"objective {ended.objective[0]:.4f}" if ended.objective else ended.reason


def _draw(folder: TrialFolder, name: str) -> None:
    history = dict(enumerate(folder.history(), 1))
    if history:
        path = folder.paths.folder / "learning_curves.svg"
        atomic_write_text(path, standalone(learning_curves(history, name)))
