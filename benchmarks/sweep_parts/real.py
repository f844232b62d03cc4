"""Real trials: how many an hour with 1, 2 and n slots."""

import tempfile
from argparse import Namespace
from pathlib import Path

import joblib

from benchmarks.sweep_parts.command import run_sweep, times
from benchmarks.sweep_parts.part import Part, Row


def measure(options: Namespace) -> list[Row]:
    """Run the sweep with equal trials, once for each number of slots."""
    rows: list[Row] = []
    for count in sorted({1, 2, joblib.cpu_count()}):
        with tempfile.TemporaryDirectory() as root:
            trials = options.trials * count
            sizes = (f"data={options.data}", f"slots.n={count}", f"budget.trials={trials}", f"train.epochs={options.epochs}")
            _, events = run_sweep(Path(root), "bench", *sizes)
        ends = times(events, "TrialEnded")
        epochs = [event["metrics"]["epoch_s"] for event in events if event["event"] == "EpochDone"]
        rows.append(
            {
                "slots": count,
                "trials_per_hour": 3600 * len(ends) / (ends[-1] - times(events, "TrialStarted")[0]),
                "outside_training": next(event["outside_training"] for event in events if event["event"] == "StudyEnded"),
                "epoch_s": sum(epochs) / len(epochs),
            }
        )
    for row in rows:
        row["efficiency"] = row["trials_per_hour"] / (row["slots"] * rows[0]["trials_per_hour"] / rows[0]["slots"])
    return rows


REAL = Part(
    name="real",
    title="Real trials",
    about=(
        "Equal trials of report 5's net, from the first trial's begin to the last one's end. Efficiency: trials an hour, divided by the "
        "slots times those of one slot. Outside training: the share of the slots' time that no epoch took."
    ),
    measure=measure,
    columns={
        "slots": ("slots", "d"),
        "trials_per_hour": ("trials an hour", ",.0f"),
        "efficiency": ("efficiency", ".1%"),
        "outside_training": ("outside training", ".1%"),
        "epoch_s": ("mean epoch, s", ".3f"),
    },
    drawn=("efficiency", "outside_training"),
    unit="share",
)
