"""The start: from the command to the first epoch."""

import shutil
import tempfile
from argparse import Namespace
from pathlib import Path

from benchmarks.sweep_parts.command import run_sweep, warm_up
from benchmarks.sweep_parts.part import Part, Row


def measure(options: Namespace) -> list[Row]:
    """Run two short sweeps: the first has to prepare the data, the second finds them."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as root:
        warm_up(Path(root), options.data)
        shutil.rmtree(Path(root) / "prepared")
        for name in ("first", "second"):
            run = run_sweep(
                Path(root), name, f"data={options.data}", "budget.trials=1", "train.epochs=1"
            )
            begun, done = run.times("TrialStarted")[0], run.times("EpochDone")[0]
            rows.append(
                {"sweep": name, "begin_s": begun - run.given, "epoch_done_s": done - run.given}
            )
    return rows


START = Part(
    name="start",
    title="Start",
    about=(
        "Seconds from the command until the first epoch runs and until it has ended; "
        "the first sweep of a root prepares the data, too."
    ),
    measure=measure,
    columns={
        "sweep": ("sweep of a root", ""),
        "begin_s": ("first epoch begins, s", ".2f"),
        "epoch_done_s": ("first epoch has ended, s", ".2f"),
    },
    drawn=("begin_s", "epoch_done_s"),
    unit="s",
)
