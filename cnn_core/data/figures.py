"""Figures on a plain background: found, cut out, and brought into the form of a published set.
NumPy alone: a bundle's predict.py holds this file.

Source: LeCun, Cortes, Burges, "The MNIST database": digits in a box of 20 x 20 pixels with their
aspect ratio, their centre of mass in the middle of 28 x 28. The box grows with the side. Detecting
polarity and background is our addition: the background is the border's median.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.resampling_weights import Bytes, areas, lanczos

_INK = 0.2  # of the strongest ink: fainter pixels count as paper


def as_mnist(grey: Bytes, size: tuple[int, int]) -> Bytes:
    """Return a grey picture (H, W) of either polarity as (size) uint8: light on black, in a box of
    20/28 of the side, its centre of mass in the middle; all black where the picture shows nothing.
    """
    cut, (height, width) = _cut_out(grey), size
    if not cut.size:
        return np.zeros(size, np.uint8)
    scale = round(min(size) * 20 / 28) / max(cut.shape)
    tall, wide = (max(1, round(side * scale)) for side in cut.shape)
    figure = np.clip(lanczos(cut.shape[0], tall) @ cut @ lanczos(cut.shape[1], wide).T, 0, 1)
    figure /= max(float(figure.max()), 1e-6)
    canvas = np.zeros(size, np.float32)
    mass_y, mass_x = _centre_of_mass(figure)
    # The pixel grid's middle lies between pixels height / 2 - 1 and height / 2; MNIST's lies on
    # pixel height / 2.
    top = int(np.clip(round(height / 2 - mass_y), 0, height - tall))
    left = int(np.clip(round(width / 2 - mass_x), 0, width - wide))
    canvas[top : top + tall, left : left + wide] = figure
    result: Bytes = np.rint(canvas * 255).astype(np.uint8)
    return result


def fill_box(grey: Bytes, size: tuple[int, int]) -> Bytes:
    """Return a grey picture (H, W) in the form of 8x8 digits: the figure fills the height, each
    pixel counts the ink of its block.

    Source: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits": 32x32 bitmaps, ink
    counted in blocks of 4x4.
    """
    cut, (height, width) = _cut_out(grey), size
    if not cut.size:
        return np.zeros(size, np.uint8)
    fitting = min(width, max(2, round(cut.shape[1] * height / cut.shape[0])))
    figure = areas(cut.shape[0], height) @ cut @ areas(cut.shape[1], fitting).T
    canvas = np.zeros(size, np.float32)
    left = (width - fitting + 1) // 2
    canvas[:, left : left + fitting] = figure / max(float(figure.max()), 1e-6)
    result: Bytes = np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)
    return result


def _cut_out(grey: Bytes) -> NDArray[np.float32]:
    """Return the ink of the smallest box that holds the figure, (0, 0) where there is none."""
    ink = ink_of(grey)
    strong = ink > _INK
    rows, columns = np.flatnonzero(strong.any(axis=1)), np.flatnonzero(strong.any(axis=0))
    if not rows.size:
        return ink[:0, :0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def ink_of(grey: Bytes) -> NDArray[np.float32]:
    """Return how much ink each pixel holds, 0 to 1: the distance from the background, in the
    direction of the strokes.

    The background is the border's median; strokes are what differs from it most. A picture of one
    colour holds none.
    """
    x = grey.astype(np.float32)
    distance = x - border_median(grey)
    if -distance.min() > distance.max():
        distance = -distance
    strongest = (
        float(np.quantile(distance, 0.999)) if distance.size > 2000 else float(distance.max())
    )
    if strongest < 8:  # of 255: no visible stroke
        return np.zeros(grey.shape, np.float32)
    ink: NDArray[np.float32] = np.clip(distance / np.float32(strongest), 0.0, 1.0)
    return ink


def border_median(grey: Bytes) -> float:
    """Return the median of a plane's border, (H, W): its background."""
    return float(np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))


def border_medians(images: Bytes) -> NDArray[np.float64]:
    """Return the `border_median` of each of grey images, (N, 1, H, W), as (N,)."""
    grey = images[:, 0]
    edges = [grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]]
    return np.asarray(np.median(np.concatenate(edges, axis=1), axis=1), np.float64)


def background_of(images: Bytes) -> str:
    """Return "dark" or "light" where at least nine in ten of grey images, (N, 1, H, W), have a
    border of that kind; "" where they have not, or are coloured.
    """
    if not len(images) or images.shape[1] != 1:
        return ""
    light = float(np.mean(border_medians(images) > 127))
    return "light" if light >= 0.9 else "dark" if light <= 0.1 else ""


def _centre_of_mass(figure: NDArray[np.floating[Any]]) -> tuple[float, float]:
    rows, columns = figure.sum(axis=1, dtype=np.float64), figure.sum(axis=0, dtype=np.float64)
    whole = max(float(rows.sum()), 1e-12)
    middle_y = float(rows @ np.arange(rows.size)) / whole
    return middle_y, float(columns @ np.arange(columns.size)) / whole
