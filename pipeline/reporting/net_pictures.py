"""Pictures of a trial's net, drawn from its kept weights and the validation images: confusion,
filters, mistakes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from cnn_core.axes import Images, Labels
from cnn_core.caches import data_of
from cnn_core.checkpoint import load_weights
from cnn_core.spec import Spec
from cnn_core.state import Weights
from cnn_core.training import predict_proba
from pipeline.config import compose, spec_of
from pipeline.data import prepare
from pipeline.files import TrialPaths


@dataclass(frozen=True)
class KeptNet:
    """A trial's net with the images that validate it."""

    spec: Spec
    weights: Weights
    images: Images
    labels: Labels


def open_kept(folder: Path) -> KeptNet:
    """The net of a trial whose weights were kept. Raises InputError or OSError for what is missing
    or damaged.
    """
    paths = TrialPaths(folder)
    composed = yaml.safe_load(paths.overrides.read_text())
    config = compose(composed["overrides"])
    spec = spec_of(config, prepare(config.data, config.root), tuple(composed["seed"]))
    weights, _ = load_weights(paths.weights)
    data = data_of(spec.data)
    return KeptNet(spec, weights, data.valid_images[data.valid], data.labels[data.valid])


def net_artifacts(folder: Path) -> dict[str, Callable[[], bytes]]:
    """File name -> function drawing it, for a trial whose weights were kept; empty for others."""
    if not TrialPaths(folder).weights.is_file():
        return {}
    from pipeline.reporting import figures

    net = open_kept(folder)
    chances = predict_proba(net.spec, net.weights.params, net.weights.buffers, net.images)
    names = [str(index) for index in range(net.spec.data.classes)]
    pictures = {
        "pictures/confusion_matrix.png": lambda: figures.png(
            figures.confusion_matrix(net.labels, chances.argmax(axis=1), names)
        ),
        "pictures/misclassified.png": lambda: figures.png(
            figures.misclassified(net.images, net.labels, chances, names)
        ),
    }
    kernels = next(
        (
            array
            for name, array in net.weights.params.items()
            if name.endswith(".W") and array.ndim == 4
        ),
        None,
    )
    if kernels is not None:
        pictures["pictures/first_layer.png"] = lambda: figures.png(
            figures.first_layer_filters(kernels)
        )
    return pictures
