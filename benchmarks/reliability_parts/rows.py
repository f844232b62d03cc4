"""A million rows to predict, as CSV and as an array that is mapped."""

from pathlib import Path

import numpy as np

from benchmarks.memory import write_rows
from benchmarks.reliability_parts.case import Case, Trial

ROWS_OF_ALL = 1_000_000
MOST_BYTES = 1_500_000_000
STUDY = ("study.name=smoke", "tracking=none")


def measure(trial: Trial) -> None:
    rows, root = trial.size(ROWS_OF_ALL, 10), f"root={trial.folder}/out"
    trial.step("a sweep for a bundle", (4, "trials"), "pipeline.sweep", "experiment=smoke",
               *STUDY, "slots.n=1", root)  # fmt: skip
    trial.step("its export", (1, "bundle"), "pipeline.export", *STUDY, "register=false",
               "onnx=false", root)  # fmt: skip
    table, array = trial.folder / "rows.csv", trial.folder / "rows.npy"
    write_rows(table, rows)
    np.save(array, np.random.default_rng(1).integers(0, 256, (rows, 8, 8), dtype=np.uint8))
    for path in (table, array):
        labels = trial.folder / f"labels_{path.suffix[1:]}.csv"
        asked = (f"input={path}", f"output={labels}", "study.name=smoke", root)
        ended = trial.step(f"predict {path.suffix}", (rows, "rows"), "pipeline.predict", *asked)
        most = f"predicting {path.suffix} stays below {MOST_BYTES / 1e9:g} GB"
        trial.check(most, holds=ended.peak < MOST_BYTES)
        trial.check(f"{path.suffix}: a label for each row", holds=lines_of(labels) == rows + 1)


def lines_of(path: Path) -> int:
    """Return how many lines a file has; 0 where there is none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


ROWS = Case(
    name="rows",
    title="A million rows to predict",
    about="Rows of 8x8 pixels, an id before each in the CSV, are labelled by a bundle of one net. "
    "A unit is a row.",
    measure=measure,
)
