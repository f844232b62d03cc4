"""One net of a recipe: trained in this process and those that it forks, and timed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_core.checkpoint import TrainState, Weights
from cnn_core.epoch import Metrics
from cnn_core.spec import Spec
from cnn_core.training import selected_weights, train_epoch
from pipeline import evaluate
from pipeline.bundle.writing import write_bundle
from pipeline.configuration import compose, override, spec_of
from pipeline.data import prepare
from pipeline.ensemble.assemble import of_one_recipe
from pipeline.files import StudyPaths
from pipeline.records.manifest import BundleScores
from pipeline.structured_text import read_json


@dataclass(frozen=True)
class Trained:
    """A net after its last epoch. `seconds`: of its epochs, validation included."""

    seconds: float
    weights: Weights
    accuracy: float  # on validation images; nan without any


def spec_of_recipe(overrides: Sequence[str], root: Path, cores: int, *, whole: bool) -> Spec:
    """Return what the overrides compose, on as many of the cores as the recipe has parts of a
    batch; `whole`: all images train, and none validates.
    """
    config = compose([*overrides, override("root", root)])
    spec = spec_of(config, prepare(config.data, root), (0, 0))
    threads = min(cores, spec.train.shards)
    spec = replace(spec, train=replace(spec.train, threads=threads))
    return replace(spec, data=replace(spec.data, valid_fraction=0.0)) if whole else spec


def train(spec: Spec, seed: int) -> Trained:
    """Train one net with this seed."""
    spec = replace(spec, seed=(0, seed))
    state: TrainState | None = None
    seconds, metrics = 0.0, Metrics()
    while state is None or state.epoch < spec.train.epochs:
        state, metrics = train_epoch(spec, state)
        seconds += metrics["epoch_s"]
    accuracy = metrics.get("valid_accuracy", math.nan)
    return Trained(seconds, selected_weights(spec, state), accuracy)


def test_accuracies(
    overrides: Sequence[str], nets: Mapping[str, Weights], folder: Path, root: Path
) -> list[float]:
    """Return each net's accuracy on the test split, which `pipeline.evaluate` opens once for all
    and notes in `folder`.
    """
    whole = [*overrides, override("root", root)]
    bundle = of_one_recipe(StudyPaths(root, "records"), whole, nets, BundleScores())
    write_bundle(folder / "bundle", bundle)
    config = compose([override("root", root)], evaluate.COMMAND)
    code = evaluate.evaluate(config, folder / "bundle", folder / "evaluation")
    assert code == 0
    found: list[float] = read_json(folder / "evaluation" / "test.json")["member_accuracy"]
    return found
