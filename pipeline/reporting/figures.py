"""Pictures of one net: learning curves, confusion matrix, first-layer filters, misclassified
images.

Drawn with Matplotlib's object interface on the Agg canvas: no window system, no state shared
between threads.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from pipeline.reporting.colours import BLUE, GREY, INK, SKY


def new_figure(width: float, height: float, *, fit: bool = True) -> Figure:
    """A figure of that many inches on an Agg canvas; `fit` makes room for labels (and takes twice
    the time).
    """
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained" if fit else None)
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Axes, title: str = "", x: str = "", y: str = "") -> Axes:
    """Axes without a box: titled, labelled, a light grid behind."""
    axes.set_title(title, fontsize=10, loc="left", color=INK)
    axes.set_xlabel(x, fontsize=9, color=INK)
    axes.set_ylabel(y, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors="#444444", length=3)
    axes.grid(True, color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return axes


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def learning_curves(history: Mapping[int, Mapping[str, float]], title: str = "") -> Figure:
    """Loss and accuracy of training and validation over epochs.

    history: epoch (from 1) -> metrics. Values that are missing or not finite leave a gap.
    """
    figure = new_figure(7.2, 2.8, fit=False)
    figure.subplots_adjust(left=0.085, right=0.985, top=0.9, bottom=0.165, wspace=0.27)
    epochs = sorted(history)
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        plain(axes, title if what == "loss" else "", "epoch", what)
        drawn: list[float] = []
        for part, colour, style in (("train", SKY, "--"), ("valid", BLUE, "-")):
            values = [history[epoch].get(f"{part}_{what}", np.nan) for epoch in epochs]
            finite = [value for value in values if np.isfinite(value)]
            drawn += finite
            axes.plot(
                epochs,
                values,
                style,
                color=colour,
                linewidth=1.6,
                marker="o",
                markersize=3,
                label=_part_label(part, finite, what),
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if what == "loss" and drawn and min(drawn) > 0 and max(drawn) > 20 * min(drawn):
            axes.set_yscale("log")
        if what == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(fontsize=8, frameon=False)
    return figure


def _part_label(part: str, values: Sequence[float], what: str) -> str:
    name = {"train": "training", "valid": "validation"}[part]
    if not values:
        return name
    return f"{name} {values[-1]:.4f}" if what == "loss" else f"{name} {values[-1]:.2%}"


def confusion_matrix(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    names: Sequence[str],
    title: str = "",
) -> Figure:
    """Counts of true against predicted class; the colour shows mistakes alone, so that a good net's
    still stand out.
    """
    classes = len(names)
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (truth, predicted), 1)
    side = max(4.0, 0.42 * classes + 1.2)
    figure = new_figure(side, side)
    axes = plain(
        figure.subplots(),
        title or f"{int(counts.sum() - np.trace(counts))} of {counts.sum()} wrong",
        "predicted",
        "true class",
    )
    axes.grid(False)
    mistakes = counts.astype(float)
    np.fill_diagonal(mistakes, 0)
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1.0, mistakes.max() * 1.3))
    axes.set_xticks(range(classes), names)
    axes.set_yticks(range(classes), names)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = GREY if row == column else INK
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=7 if classes > 8 else 8,
                color=colour,
            )
    return figure


def first_layer_filters(weights: NDArray[np.floating], title: str = "") -> Figure:
    """The first convolution's kernels as pictures, blue negative, red positive.

    weights: (filters, channels, height, width), or (filters, channels * height * width) of a dense
    layer on square images.
    """
    kernels = weights.mean(axis=1) if weights.ndim == 4 else _square(weights)
    kernels = kernels[:64]
    columns = min(8, len(kernels))
    rows = -(-len(kernels) // columns)
    limit = float(np.abs(kernels).max()) or 1.0
    tiles = mosaic(kernels[..., None], columns, gap=1)[..., 0]
    axes = _sheet(
        0.75 * columns,
        0.75 * rows,
        title or f"first layer, {len(kernels)} of {len(weights)} filters",
    )
    axes.imshow(tiles, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal")
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure


def _sheet(width: float, height: float, title: str) -> Axes:
    """One pair of axes without marks for many small pictures (a pair for each would take ten times
    as long), a title above.
    """
    figure = new_figure(width, height + 0.35, fit=False)
    axes = figure.add_axes((0.0, 0.0, 1.0, height / (height + 0.35)))
    axes.axis("off")
    figure.suptitle(title, fontsize=9, color=INK, y=1 - 0.1 / (height + 0.35))
    return axes


def mosaic(
    pictures: NDArray[np.floating], columns: int, gap: int, below: int = 0
) -> NDArray[np.floating]:
    """Pictures (n, H, W, channels) side by side in rows, `gap` pixels of NaN around each and
    `below` more under it.
    """
    count, height, width, channels = pictures.shape
    step_y, step_x = height + gap + below, width + gap
    rows = max(1, -(-count // columns))
    tiles = np.full((rows * step_y + gap, columns * step_x + gap, channels), np.nan)
    for index, picture in enumerate(pictures):
        top, left = gap + index // columns * step_y, gap + index % columns * step_x
        tiles[top : top + height, left : left + width] = picture
    return tiles


def _square(weights: NDArray[np.floating]) -> NDArray[np.floating]:
    side = round(weights.shape[1] ** 0.5)
    if side * side != weights.shape[1]:
        raise ValueError(
            "first-layer filters: a dense layer's inputs must be a square image, got "
            f"{weights.shape[1]} inputs"
        )
    return weights.reshape(len(weights), side, side)


def misclassified(
    images: NDArray[np.uint8],
    truth: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    names: Sequence[str],
    most: int = 40,
) -> Figure:
    """The wrongly classified images, the most confident mistakes first, each with its true and its
    predicted class.

    images: (N, C, H, W) uint8; probabilities: (N, classes).
    """
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    wrong = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")]
    shown = wrong[:most]
    columns, (channels, height, width) = 8, images.shape[1:]
    below, gap = max(2, round(0.2 * height)), max(1, round(0.1 * width))
    pictures = images[shown].transpose(0, 2, 3, 1)[..., : 3 if channels >= 3 else 1]
    tiles = mosaic(pictures.astype(float), columns, gap, below)
    size = 0.95 * columns
    axes = _sheet(
        size,
        size * tiles.shape[0] / tiles.shape[1],
        f"{len(wrong)} of {len(truth)} wrong: true → predicted, confidence",
    )
    if tiles.shape[2] == 1:
        axes.imshow(tiles[..., 0], cmap="gray_r", vmin=0, vmax=255)
    else:
        axes.imshow(np.where(np.isnan(tiles), 255, tiles).astype(np.uint8))
    for index, n in enumerate(shown):
        row, column = divmod(index, columns)
        words = f"{names[truth[n]]} → {names[predicted[n]]}  {probabilities[n, predicted[n]]:.0%}"
        x = gap + column * (width + gap) + width / 2 - 0.5
        y = gap + row * (height + gap + below) + height + below / 2 - 0.5
        axes.text(x, y, words, ha="center", va="center", fontsize=7, color=INK)
    figure = axes.figure
    assert isinstance(figure, Figure)
    return figure
