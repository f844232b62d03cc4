"""What tracking costs: the same sweep with MLflow and without, in turns."""

import tempfile
from argparse import Namespace
from pathlib import Path
from statistics import fmean

from benchmarks.sweep_parts.command import Run, run_sweep, warm_up
from benchmarks.sweep_parts.part import Part, Row

SLOTS = 2
# In this order, a drift of the machine's speed affects both alike.
TURNS = (
    "none",
    "mlflow",
    "mlflow",
    "none",
)


def measure(options: Namespace) -> list[Row]:
    """Run the sweep with equal trials alternately, after a short one that prepares the data and
    makes MLflow's store.
    """
    found: dict[str, list[Run]] = {"none": [], "mlflow": []}
    with tempfile.TemporaryDirectory() as root:
        warm_up(Path(root), options.data)
        for turn, name in enumerate(TURNS):
            sizes = (
                f"slots.n={SLOTS}",
                f"budget.trials={options.trials * SLOTS}",
                f"train.epochs={options.epochs}",
            )
            found[name].append(
                run_sweep(
                    Path(root), f"turn-{turn}", f"data={options.data}", f"tracking={name}", *sizes
                )
            )
    lengths = {name: [run.ended - run.given for run in runs] for name, runs in found.items()}
    return [
        {
            "tracking": name,
            "shortest_s": min(seconds),
            "longest_s": max(seconds),
            "cost": fmean(seconds) / fmean(lengths["none"]) - 1,
            "processor_s": fmean(run.processor[-1][1] for run in found[name]),
        }
        for name, seconds in lengths.items()
    ]


TRACKING = Part(
    name="tracking",
    title="Tracking",
    about=(
        "Equal trials of report 5's net in two slots, with MLflow and without, in turns, two runs "
        "each, from the command to its end. "
        "Cost: the mean length, divided by that without. Processor: the coordinator's time in all, "
        "MLflow's included."
    ),
    measure=measure,
    columns={
        "tracking": ("tracking", ""),
        "shortest_s": ("shorter run, s", ".1f"),
        "longest_s": ("longer run, s", ".1f"),
        "cost": ("cost", "+.1%"),
        "processor_s": ("processor, s", ".1f"),
    },
    drawn=("cost",),
    unit="share",
)
