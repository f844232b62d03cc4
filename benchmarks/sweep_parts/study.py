"""A growing study: the coordinator's cost of a trial and of an epoch when it already holds 10 to
10,000 trials.
"""

import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from benchmarks.sweep_parts.part import Part, Row
from benchmarks.sweep_parts.simulated import simulated_session
from pipeline.events import State, TrialEnded
from pipeline.search.queue import TrialQueue
from pipeline.search.samplers import PerTrialSampler
from pipeline.search.session import Session
from pipeline.slots.stop_request import Stop

MEASURED = 10  # trials at each size
SAMPLING = ("before_trial", "infer_relative_search_space", "sample_relative", "sample_independent")


def measure(options: Namespace) -> list[Row]:
    """Fill one study to each size in turn, and measure asking, reporting and telling there."""
    rows: list[Row] = []
    sizes = sorted(options.sizes)
    with tempfile.TemporaryDirectory() as root:
        session = simulated_session(Path(root), trials=max(sizes) + MEASURED * len(sizes))
        for size in sizes:
            fill(session, size - len(session.study.get_trials(deepcopy=False)))
            rows.append({"trials": size, **_costs(session)})
    return rows


def _costs(session: Session) -> Row:
    """Return milliseconds of asking and telling, the sampler's share of them, and of reporting an
    epoch: medians.
    """
    ledger = TrialQueue(session.study, None, Stop(), MEASURED)
    trials: list[float] = []
    samplers: list[float] = []
    reports: list[float] = []
    for _ in range(MEASURED):
        with sampling_timed() as sampler_s:
            trial_s: list[float] = []
            trial, _ = timed(trial_s, lambda: ledger.ask(session.problem.suggest))
            for epoch in (1, 2, 3):
                timed(reports, lambda: ledger.report(trial, epoch, 0.5 + 0.1 * epoch))  # noqa: B023 - called at once
            timed(trial_s, lambda: ledger.tell(trial, _complete(trial.number)))  # noqa: B023
        trials.append(sum(trial_s))
        samplers.append(sum(sampler_s))
    return {
        key: 1e3 * statistics.median(s)
        for key, s in (("trial_ms", trials), ("sampler_ms", samplers), ("epoch_ms", reports))
    }


def _complete(number: int) -> TrialEnded:
    """Return the result of a trial that reached 0.9."""
    return TrialEnded(
        number=number,
        state=State.COMPLETE,
        reason="",
        objective=(0.9,),
        epochs=3,
        duration_s=0.0,
        folder=Path(),
        time_s=0.0,
    )


@contextmanager
def sampling_timed() -> Iterator[list[float]]:
    """Collect the seconds spent in the sampler's methods, from outside."""
    seconds: list[float] = []
    originals = {name: getattr(PerTrialSampler, name) for name in SAMPLING}

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: timed(seconds, lambda: original(*arguments))

    for name, original in originals.items():
        setattr(PerTrialSampler, name, watched(original))
    try:
        yield seconds
    finally:
        for name, original in originals.items():
            setattr(PerTrialSampler, name, original)


def timed(seconds: list[float], call: Callable[[], Any]) -> Any:
    """Return ``call()`` and append how long it took."""
    started = time.perf_counter()
    result = call()
    seconds.append(time.perf_counter() - started)
    return result


def fill(session: Session, count: int) -> None:
    """Add that many complete trials to the study, drawn at random."""
    rng = np.random.default_rng(count)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=count))
    for _ in range(count):
        trial = drawn.ask()
        session.problem.suggest(trial)
        values = {epoch: float(rng.random()) for epoch in (1, 2, 3)}
        session.study.add_trial(
            create_trial(
                state=TrialState.COMPLETE,
                value=values[3],
                params=trial.params,
                distributions=trial.distributions,
                intermediate_values=values,
            )
        )


STUDY = Part(
    name="study",
    title="A growing study",
    about=(
        "Milliseconds of the coordinator for a trial (asking and telling), the sampler's share of "
        "them, and for an epoch (reporting, and "
        f"whether to prune), by the trials that the study holds already; medians of {MEASURED}."
    ),
    measure=measure,
    columns={
        "trials": ("trials in the study", ",d"),
        "trial_ms": ("a trial, ms", ",.1f"),
        "sampler_ms": ("of which the sampler, ms", ",.1f"),
        "epoch_ms": ("an epoch, ms", ".2f"),
    },
    drawn=("trial_ms", "sampler_ms"),
    unit="ms",
)
