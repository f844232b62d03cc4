"""Many slots: the coordinator's cost of an epoch with 1 to 64 slots that only sleep."""

import tempfile
import time
from argparse import Namespace
from pathlib import Path

import optuna

from benchmarks.sweep_parts.part import Part, Row
from benchmarks.sweep_parts.simulated import SimulatedSlot, simulated_session
from pipeline.search.run_sweep import jobs_of
from pipeline.search.runner import Runner, Usage
from pipeline.search.trial import Context

EPOCH_S, EPOCHS = 1.0, 4
# With fewer, the first one, which fills the caches of composing, would dominate.
FEWEST_TRIALS = 8


def measure(options: Namespace) -> list[Row]:
    """Run the coordinator with at least two trials per slot; its cost is its processor time."""
    _run(1, FEWEST_TRIALS, 0.0)  # one-time loading and compiling belongs to no row
    return [_run(count, max(2 * count, FEWEST_TRIALS), EPOCH_S) for count in options.slots]


def _run(count: int, trials: int, epoch_s: float) -> Row:
    with tempfile.TemporaryDirectory() as root:
        session = simulated_session(Path(root), trials=trials, epochs=EPOCHS)
        session.study.pruner = optuna.pruners.MedianPruner(n_startup_trials=10**6)
        usage = Usage()
        context = Context(session.stop, trained=usage.trained)
        jobs, log = jobs_of(session, context), session.config.paths.log
        slots = [SimulatedSlot(index, epoch_s) for index in range(count)]
        wall, cpu = time.monotonic(), time.process_time()
        Runner(jobs, slots, context, usage, log, session.clock).run()
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    return {
        "slots": count,
        "epoch_ms": 1e3 * cpu / (trials * EPOCHS),
        "outside_training": usage.outside(count, session.queue.idle_s),
        "over_ideal": wall / (-(-trials // count) * EPOCHS * EPOCH_S),
    }


SLOTS = Part(
    name="slots",
    title="Many slots",
    about=(
        f"The coordinator's processor time an epoch, with slots whose epochs are {EPOCH_S:g} s of "
        "sleep, a trial's own cost (asking, "
        f"composing, telling; a trial has {EPOCHS} epochs) in it. Last column: the whole run's "
        "time, divided by its epochs' alone."
    ),
    measure=measure,
    columns={
        "slots": ("slots", "d"),
        "epoch_ms": ("coordinator, ms an epoch", ".2f"),
        "outside_training": ("outside training", ".1%"),
        "over_ideal": ("time over the ideal", ".2f"),
    },
    drawn=("epoch_ms",),
    unit="ms",
)
