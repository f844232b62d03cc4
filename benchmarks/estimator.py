"""CNNClassifier against scikit-learn's MLPClassifier, both with their defaults, on one core: the
time until 97 % of validation images are right. ``python -m benchmarks.estimator``.

MNIST's training images alone: 10,000 of them validate, the test set stays closed. Both get the same
rows (float32, 0 to 1) by `partial_fit` in the same parts; after each the validation accuracy is
measured, which is not timed. They take turns, part by part, in one process, so that the machine's
moods meet both alike. What counts is the processor's time; the ratio is taken within each seed.
"""

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass, field
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
KINDS = {"CNNClassifier": CNNClassifier, "MLPClassifier": MLPClassifier}


@dataclass
class Run:
    """One classifier on its way to the goal."""

    who: str
    seed: int
    model: Any = field(repr=False)
    seconds: float = 0.0
    images: int = 0
    accuracy: float = 0.0

    def part(self, X: Any, y: Any, X_valid: Any, y_valid: Any) -> None:
        """Train on a part, timed, and measure, not timed."""
        began = time.process_time()
        self.model.partial_fit(X, y, classes=np.arange(10))
        self.seconds += time.process_time() - began
        self.images += len(X)
        self.accuracy = self.model.score(X_valid, y_valid)


def race(X: Any, y: Any, seed: int, most: int) -> list[Run]:
    """Return both classifiers' runs of one seed; each ends at the goal, or after `most` images."""
    order = np.random.default_rng(seed).permutation(len(X))
    valid, train = order[:VALIDATE], order[VALIDATE:]
    runs = [Run(who, seed, kind(random_state=seed)) for who, kind in KINDS.items()]
    for at in range(0, most, PART):
        part = np.take(train, range(at, at + PART), mode="wrap")
        for run in runs:
            if run.accuracy < GOAL:
                run.part(X[part], y[part], X[valid], y[valid])
        if all(run.accuracy >= GOAL for run in runs):
            break
    return runs


def section(runs: list[Run], command: str, machine: str) -> str:
    """Return the notes and the table; a ratio's spread is from the smallest to the largest."""
    pairs = list(zip(runs[::2], runs[1::2], strict=True))
    rows = [
        (
            str(cnn.seed),
            *(f"{run.seconds:.2f}" for run in (cnn, mlp)),
            *(f"{run.images:,}" for run in (cnn, mlp)),
            f"{mlp.seconds / cnn.seconds:.1f}",
        )
        for cnn, mlp in pairs
    ]
    header = ("seed", "CNN, s", "MLP, s", "CNN, images", "MLP, images", "ratio")
    return (
        f"`{command}`: {machine}. {GOAL:.0%} of {VALIDATE:,} validation images of MNIST's "
        "training set; both classifiers with their defaults, on one core, by turns, the same "
        f"float32 rows in parts of {PART:,}; processor time without the measuring.\n\n"
        f"{verdict(runs)}\n\n{markdown_table(header, rows)}"
    )


def verdict(runs: list[Run]) -> str:
    """Return the sentence with the median ratio."""
    late = [run for run in runs if run.accuracy < GOAL]
    if late:
        return f"Not reached: {', '.join(f'{run.who} with seed {run.seed}' for run in late)}."
    ratios = [mlp.seconds / cnn.seconds for cnn, mlp in zip(runs[::2], runs[1::2], strict=True)]
    return (
        f"CNNClassifier is {statistics.median(ratios):.1f} times as fast (median of "
        f"{len(ratios)} seeds, {min(ratios):.1f} to {max(ratios):.1f})."
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
    X = images.reshape(len(images), -1).astype(np.float32) / 255
    runs: list[Run] = []
    for seed in range(options.seeds):
        for run in race(X, labels, seed, options.most):
            runs.append(run)
            print(
                f"seed {seed}  {run.who:14}{run.seconds:8.2f} s{run.images:10,} images  "
                f"{run.accuracy:.2%}",
                flush=True,
            )
    print(verdict(runs))
    rows = [{k: v for k, v in vars(run).items() if k != "model"} for run in runs]
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
