"""One net of a recipe: trained in this process and those that it forks, and timed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_core.checkpoint import Weights
from cnn_core.spec import Spec
from cnn_core.training import fit, selected_weights
from pipeline.configuration import compose, override, spec_of
from pipeline.data import prepare


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
    spec, seconds = replace(spec, seed=(0, seed)), list[float]()
    state = fit(spec, on_epoch=lambda _, metrics: seconds.append(metrics["epoch_s"]))
    accuracy = state.history[-1].get("valid_accuracy", math.nan)
    return Trained(sum(seconds), selected_weights(spec, state), accuracy)
