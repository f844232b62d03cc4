"""Learning curves of many configurations of one space, recorded once: a table that searches are
replayed on. A row is one net: its configuration's number, its own, the searched values, and the
validation accuracy after each epoch, empty from where it diverged.
"""

import csv
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import measured_environment
from pipeline.configuration import SWEEP, Config, compose
from pipeline.configuration.overrides import Value
from pipeline.files import StudyPaths
from pipeline.reporting.table import load_table
from pipeline.search.space import Space, searched
from pipeline.search.translation import Params
from pipeline.trial_folder import TrialFolder

FOLDER = Path(__file__).parents[1] / "curves"
CONFIGURATIONS, SEEDS = 150, 3
RECORDED = {
    "digits": ("data=digits", "train.epochs=10"),
    "mnist": ("experiment=mnist", "space=mnist", "data.train_size=6000", "train.epochs=10"),
}
# Studies of other data, one net a trial, whose leaderboards a prior is made of.
PAST = {"fashion": ("data=fashion_mnist", *RECORDED["mnist"])}
PAST_TRIALS = 40


@dataclass(frozen=True)
class Curves:
    """The curves of a space: `values` (configurations, nets, epochs), nan from a divergence on."""

    name: str
    space: Space
    params: Sequence[Params]
    values: NDArray[np.float64]

    @property
    def epochs(self) -> int:
        return int(self.values.shape[2])

    @property
    def whole(self) -> int:
        """The epochs of all configurations, by one net each."""
        return len(self.params) * self.epochs

    @cached_property
    def final(self) -> NDArray[np.float64]:
        """The mean last value of each configuration's nets; -inf where one of them diverged."""
        means = self.values[:, :, -1].mean(axis=1)
        return np.where(np.isnan(means), -np.inf, means)


def settings_of(name: str, *more: str) -> Config:
    """Return the configuration of a recorded sweep, with more overrides."""
    return compose([*RECORDED[name], *more], SWEEP)


def words_of(name: str, root: Path) -> list[str]:
    """Return the overrides of the sweep that records; it resumes where it was interrupted."""
    return [
        *RECORDED[name],
        *("sampler=random", "pruner=none", "study.enqueue=[]", f"budget.trials={CONFIGURATIONS}"),
        *(f"study.seeds={SEEDS}", f"study.name=curves_{name}", f"root={root}", "tracking=none"),
    ]


def record(name: str, root: Path) -> Path:
    """Run the sweep and write its curves; return the file. Raises CalledProcessError."""
    _sweep(words_of(name, root))
    return write(name, StudyPaths(root, f"curves_{name}"), FOLDER / f"{name}.csv")


def record_past(name: str, root: Path) -> Path:
    """Sweep other data as a user would who wants each trial whole, and keep the leaderboard; return
    its file. Raises CalledProcessError.
    """
    study = f"past_{name}"
    words = [
        *(*PAST[name], "pruner=none", "study.enqueue=[]", f"budget.trials={PAST_TRIALS}"),
        *(f"study.name={study}", f"root={root}", "tracking=none"),
    ]
    _sweep(words)
    return shutil.copyfile(root / study / "leaderboard.csv", FOLDER / f"{name}_leaderboard.csv")


def _sweep(words: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pipeline.sweep", *words]
    subprocess.run(command, env=measured_environment(1), check=True)


def write(name: str, paths: StudyPaths, file: Path) -> Path:
    """Write the curves of a finished study."""
    space = searched(settings_of(name))[0]
    epochs = settings_of(name).train.epochs
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["configuration", "net", *space.names, *range(1, epochs + 1)])
        for trial in load_table(paths.folder, paths.name).trials:
            history = TrialFolder(paths.trial(trial.number)).history()
            chosen = [trial.suggested.get(key, "") for key in space.names]
            for net in range(1, SEEDS + 1):
                key = f"valid_accuracy/net{net}"
                curve = [f"{row[key]:.6g}" if row[key] >= 0 else "" for row in history]
                curve += [""] * (epochs - len(curve))
                writer.writerow([trial.number, net, *chosen, *curve])
    return file


def read(name: str, file: Path | None = None) -> Curves:
    """Read recorded curves. Raises OSError where there are none."""
    space = searched(settings_of(name))[0]
    with (file or FOLDER / f"{name}.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    epochs = sum(key.isdigit() for key in rows[0])
    firsts = [row for row in rows if row["net"] == "1"]
    values = [[float(row[str(e)] or "nan") for e in range(1, epochs + 1)] for row in rows]
    shape = (len(firsts), len(rows) // len(firsts), epochs)
    params = [
        {key: _typed(space, key, row[key]) for key in space.names if row[key]} for row in firsts
    ]
    return Curves(name, space, params, np.array(values).reshape(shape))


def write_results(curves: Curves, file: Path) -> Path:
    """Write the mean final values as a table of past results, which a prior of another space
    reads.
    """
    fixed = settings_of(curves.name).choices["model"]
    names = [*curves.space.names, *([] if "model" in curves.space.names else ["model"])]
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, ["objective", *names], lineterminator="\n")
        writer.writeheader()
        for params, value in zip(curves.params, curves.final, strict=True):
            if np.isfinite(value):
                writer.writerow({"objective": repr(float(value)), "model": fixed, **params})
    return file


def _typed(space: Space, key: str, text: str) -> Value:
    parameter = next(one for one in space.parameters if one.name == key)
    if parameter.kind in ("choice", "group"):
        return next(choice for choice in parameter.choices if str(choice) == text)
    return int(text) if parameter.kind == "int" else float(text)
