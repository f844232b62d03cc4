"""Pictures of a trial's net, from its kept weights and the validation images: its confusion matrix,
its mistakes, the filters of its first layer.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Images, Labels
from cnn_core.checkpoint import Weights, load_weights
from cnn_core.repeats import nets_of
from cnn_core.spec import Spec
from cnn_core.training import predict_proba
from cnn_core.training_data import data_of
from pipeline.configuration import compose, spec_of
from pipeline.data import prepare
from pipeline.files import TrialPaths
from pipeline.picture_sheet import sheet_png
from pipeline.reporting.confusion_chart import confusion_matrix
from pipeline.reporting.svg import shortened, standalone
from pipeline.trial_folder import TrialFolder

_CAPTIONS = {
    "misclassified.png": "Misclassified validation images, the most confident first: true class, "
    "predicted class, confidence.",
    "first_layer.png": "Filters of the first layer, blue negative, red positive.",
}
_MOST_MISTAKES, _MOST_FILTERS, _COLUMNS = 40, 64, 8
_LONGEST = 6  # signs of a class's name in a caption


@dataclass(frozen=True)
class KeptNet:
    """A trial's net with its validation images."""

    spec: Spec
    weights: Weights
    images: Images
    labels: Labels
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class NetPictures:
    """The confusion matrix as a chart, the other pictures as PNG by file name."""

    confusion: str
    sheets: dict[str, bytes]

    def files(self) -> dict[str, bytes]:
        """File name -> content."""
        return {"confusion_matrix.svg": standalone(self.confusion).encode(), **self.sheets}

    def figures(self) -> list[str]:
        """Each picture as HTML."""
        found = [self.confusion]
        for name, png in self.sheets.items():
            uri = "data:image/png;base64," + base64.b64encode(png).decode()
            told = escape(_CAPTIONS[name])
            found.append(
                f'<figure class="picture"><img src="{uri}" alt="{told}">'
                f"<figcaption>{told}</figcaption></figure>"
            )
        return found


def open_kept(folder: Path) -> KeptNet:
    """The net of a trial whose weights were kept. Raises InputError or OSError where files are
    missing or damaged.
    """
    paths = TrialPaths(folder)
    stored = TrialFolder(paths).read()
    config = compose(stored.overrides)
    # Of several nets, the one whose weights are kept.
    spec = nets_of(spec_of(config, prepare(config.data, config.root), stored.seed))[0]
    weights, _ = load_weights(paths.weights)
    data = data_of(spec.data)
    images, labels = data.valid_images[data.valid], data.labels[data.valid]
    return KeptNet(spec, weights, images, labels, data.prepared.class_names)


def draw_net(folder: Path) -> NetPictures:
    """Draw the net of a trial whose weights were kept. Raises the same errors as `open_kept`."""
    net = open_kept(folder)
    chances = predict_proba(net.spec, net.weights.params, net.weights.buffers, net.images)
    names = net.class_names
    sheets = {"misclassified.png": misclassified(net.images, net.labels, chances, names)}
    named = net.weights.params.items()
    kernels = next(
        (array for name, array in named if name.endswith(".W") and array.ndim == 4), None
    )
    if kernels is not None:
        sheets["first_layer.png"] = first_layer_filters(kernels)
    confusion = confusion_matrix(net.labels, chances.argmax(axis=1), names)
    return NetPictures(confusion, {name: png for name, png in sheets.items() if png})


def misclassified(
    images: NDArray[np.uint8],
    truth: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    names: Sequence[str],
) -> bytes:
    """A PNG of the misclassified images, the most confident mistakes first, each with its true and
    its predicted class; empty where there are none.

    images: (N, C, H, W) uint8; probabilities: (N, classes).
    """
    predicted = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")][:_MOST_MISTAKES]
    if not len(wrong):
        return b""
    short = [shortened(name, _LONGEST) for name in names]
    captions = [f"{short[truth[n]]} > {short[predicted[n]]}  {sure[n]:.0%}" for n in wrong]
    zoom = -(-84 // images.shape[-1])
    return sheet_png(images[wrong], columns=_COLUMNS, zoom=zoom, captions=captions)


def first_layer_filters(weights: NDArray[np.floating]) -> bytes:
    """A PNG of a convolution's kernels (filters, channels, height, width), the mean over channels:
    blue negative, red positive, white zero.
    """
    kernels = weights[:_MOST_FILTERS].mean(axis=1)
    share = kernels / (np.abs(kernels).max() or 1.0)
    pale = 1.0 - np.abs(share)
    red, blue = np.where(share < 0, pale, 1.0), np.where(share > 0, pale, 1.0)
    pixels = np.round(255 * np.stack([red, pale, blue], axis=1)).astype(np.uint8)
    return sheet_png(pixels, columns=_COLUMNS, zoom=-(-70 // weights.shape[-1]))
