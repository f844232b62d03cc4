"""Real trials: how many an hour with 1, 2 and n slots."""

import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import joblib

from benchmarks.sweep_parts.command import Run, run_sweep, warm_up
from benchmarks.sweep_parts.part import Part, Row


def measure(options: Namespace) -> list[Row]:
    """Run the sweep with equal trials for each number of slots, up and down again, after a short
    one for what is done only once.

    A drift of the machine's speed then affects all alike.
    """
    up = sorted({1, 2, joblib.cpu_count()})
    found: dict[int, list[Row]] = {count: [] for count in up}
    with tempfile.TemporaryDirectory() as root:
        warm_up(Path(root), options.data)
        for turn, count in enumerate([*up, *reversed(up)]):
            trials = options.trials * count
            sizes = (
                f"data={options.data}",
                f"slots.n={count}",
                f"budget.trials={trials}",
                f"train.epochs={options.epochs}",
            )
            found[count].append(row_of(run_sweep(Path(root), f"turn-{turn}", *sizes), count))
    rows = [means(turns) | {"slots": count} for count, turns in found.items()]
    for row in rows:
        row["efficiency"] = row["trials_per_hour"] / (
            row["slots"] * rows[0]["trials_per_hour"] / rows[0]["slots"]
        )
    return rows


def means(turns: Sequence[Row]) -> Row:
    """Return the mean of each figure."""
    return {key: fmean(row[key] for row in turns) for key in turns[0]}


def row_of(run: Run, slots: int) -> Row:
    """Return what a run of equal trials came to."""
    begin, ends = run.times("TrialStarted")[0], run.times("TrialEnded")
    epochs = [event["metrics"]["epoch_s"] for event in run.events if event["event"] == "EpochDone"]
    return {
        "slots": slots,
        "trials_per_hour": 3600 * len(ends) / (ends[-1] - begin),
        "outside_training": next(
            event["outside_training"] for event in run.events if event["event"] == "StudyEnded"
        ),
        "epoch_s": sum(epochs) / len(epochs),
        "coordinator_share": run.coordinator_s(begin, ends[-1])
        / (joblib.cpu_count() * (ends[-1] - begin)),
    }


REAL = Part(
    name="real",
    title="Real trials",
    about=(
        "Equal trials of report 5's net, from the first trial's begin to the last one's end; two "
        "runs each, in turns, means. "
        "Efficiency: trials an hour, divided by the slots times those of one slot. Outside "
        "training: the share that no epoch "
        "took of the time in which slots had a trial to train. Coordinator: its processor time, "
        "MLflow's included, as a share "
        "of all cores'; with a slot a core it comes out of training, but for what fits into pauses."
    ),
    measure=measure,
    columns={
        "slots": ("slots", "d"),
        "trials_per_hour": ("trials an hour", ",.0f"),
        "efficiency": ("efficiency", ".1%"),
        "outside_training": ("outside training", ".1%"),
        "epoch_s": ("mean epoch, s", ".3f"),
        "coordinator_share": ("coordinator", ".1%"),
    },
    drawn=("efficiency", "outside_training", "coordinator_share"),
    unit="share",
)
