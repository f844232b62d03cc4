"""A whole small chain on the embedded digits: sweep, final models, export."""

from pathlib import Path

from pipeline import export, final, sweep
from pipeline.configuration import SWEEP, command_line

SWEEP_ARGUMENTS = (
    "experiment=smoke",
    "study.name=small",
    "budget.trials=2",
    "tracking=none",
    "slots.n=2",
    "data.reserve=200",
    "data.valid_images=proxy",
    "augment=shift",
)
FINAL_ARGUMENTS = (
    "study.name=small",
    "final.members=2",
    "final.folds=2",
    "final.refit=2",
    "final.epochs=3",
    "ensemble=uniform",
    "ensemble.views=2",
    "tracking=none",
)


def run_sweep(root: Path) -> None:
    """Run the sweep alone."""
    assert command_line(SWEEP, [*SWEEP_ARGUMENTS, f"root={root}"], sweep.main) == 0


def make_final_study(root: Path) -> Path:
    """Run the chain below `root` and return it."""
    run_sweep(root)
    assert command_line(final.FINAL, [*FINAL_ARGUMENTS, f"root={root}"], final.main) == 0
    assert (
        command_line(
            export.COMMAND, ["study.name=small", "tracking=none", f"root={root}"], export.main
        )
        == 0
    )
    return root
