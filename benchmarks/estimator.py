"""CNNClassifier against scikit-learn's MLPClassifier, both with their defaults, on one core: the
time until 97 % of validation images are right. ``python -m benchmarks.estimator``.

MNIST's training images alone: 10,000 of them validate, the test set stays closed. All get the same
rows, from 0 to 1, by `partial_fit` in the same parts; after each the validation accuracy is
measured, which is not timed. They take turns, part by part, in one process, so that the machine's
moods meet all alike. What counts is the processor's time; ratios are taken within each seed. The
rows are float64, as ``X / 255`` makes them; MLPClassifier runs on float32 rows as well, which
it computes in that precision.
"""

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.document import add_outputs, finish, markdown_table
from benchmarks.environment import kernels, restart_unpinned
from cnn_core.data.idx import read_idx_images, read_idx_labels
from cnn_core.estimator import CNNClassifier

GOAL = 0.97
PART = 2000  # images of a call of partial_fit
VALIDATE = 10_000
# Who, on rows of which precision.
RACERS: tuple[tuple[type[Any], type[Any]], ...] = (
    (CNNClassifier, np.float64),
    (MLPClassifier, np.float64),
    (MLPClassifier, np.float32),
)


@dataclass
class Run:
    """One classifier on its way to the goal."""

    who: str
    rows: type[Any]
    seed: int
    model: Any
    seconds: float = 0.0
    images: int = 0
    accuracy: float = 0.0

    def part(self, X: Any, y: Any) -> None:
        """Train on a part, timed."""
        began = time.process_time()
        self.model.partial_fit(X, y, classes=np.arange(10))
        self.seconds += time.process_time() - began
        self.images += len(X)


def race(X: Any, y: Any, seed: int, most: int) -> list[Run]:
    """Return all runs of one seed; each ends at the goal, or after `most` images. X: (N, features)
    uint8.
    """
    order = np.random.default_rng(seed).permutation(len(X))
    valid, train = order[:VALIDATE], order[VALIDATE:]
    runs = [Run(kind.__name__, rows, seed, kind(random_state=seed)) for kind, rows in RACERS]
    scaled = {rows: X[valid].astype(rows) / 255 for _, rows in RACERS}
    for at in range(0, most, PART):
        part = np.take(train, range(at, at + PART), mode="wrap")
        for run in (run for run in runs if run.accuracy < GOAL):
            run.part(X[part].astype(run.rows) / 255, y[part])
            run.accuracy = run.model.score(scaled[run.rows], y[valid])
    return runs


def section(runs: list[Run], command: str, machine: str) -> str:
    """Return the notes, the verdict and the table."""
    header = ("seed", "CNN, s", "MLP, s", "MLP float32, s", "images", "", "", "ratio", "float32")
    rows = [
        (
            str(three[0].seed),
            *(f"{run.seconds:.2f}" for run in three),
            *(f"{run.images:,}" for run in three),
            *(f"{run.seconds / three[0].seconds:.1f}" for run in three[1:]),
        )
        for three in by_seed(runs)
    ]
    return (
        f"`{command}`: {machine}. {GOAL:.0%} of {VALIDATE:,} validation images of MNIST's "
        "training set; both classifiers with their defaults, on one core, by turns, the same rows "
        f"from 0 to 1 in parts of {PART:,}; processor time without the measuring.\n\n"
        f"{verdict(runs)}\n\n{markdown_table(header, rows)}"
    )


def by_seed(runs: list[Run]) -> list[list[Run]]:
    """Return the runs of each seed."""
    step = len(RACERS)
    return [runs[at : at + step] for at in range(0, len(runs), step)]


def verdict(runs: list[Run]) -> str:
    """Return the sentence with the median ratios, each with its smallest and largest."""
    late = [run for run in runs if run.accuracy < GOAL]
    if late:
        return f"Not reached: {', '.join(f'{run.who} with seed {run.seed}' for run in late)}."
    said = []
    for who in range(1, len(RACERS)):
        ratios = [three[who].seconds / three[0].seconds for three in by_seed(runs)]
        said.append(f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    return (
        f"CNNClassifier is {said[0]} times as fast as MLPClassifier, and {said[1]} times where "
        f"that has float32 rows: medians of {len(by_seed(runs))} seeds, smallest and largest."
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimator", description=__doc__)
    data = Path(os.environ.get("CNN_DATA_DIR", "data")) / "mnist"
    parser.add_argument("--data", type=Path, default=data, help="folder of MNIST's files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--most", type=int, default=2_000_000, help="images at most, of each")
    add_outputs(parser)
    options = parser.parse_args(argv)
    restart_unpinned("benchmarks.estimator", 1)
    images = read_idx_images(options.data / "train-images-idx3-ubyte.gz")
    labels = read_idx_labels(options.data / "train-labels-idx1-ubyte.gz", 10)
    X = images.reshape(len(images), -1)
    runs: list[Run] = []
    for seed in range(options.seeds):
        for run in race(X, labels, seed, options.most):
            runs.append(run)
            print(
                f"seed {seed}  {run.who} {run.rows.__name__}{run.seconds:8.2f} s"
                f"{run.images:10,} images  {run.accuracy:.2%}",
                flush=True,
            )
    print(verdict(runs))
    rows = [{**vars(run), "model": str(run.model), "rows": run.rows.__name__} for run in runs]
    machine = f"{os.cpu_count()} cores, BLAS kernels {kernels()}"
    finish(
        "benchmarks.estimator",
        options,
        argv,
        rows,
        "CNNClassifier and MLPClassifier",
        lambda command: section(runs, command, machine),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
