"""Any picture of a digit brought into MNIST's form: white on black, in a box of 20 of 28 pixels,
its centre of mass in the middle.

Source: LeCun, Cortes, Burges, "The MNIST database": "size normalized to fit in a 20x20 pixel box
while preserving their aspect ratio ... centered in a 28x28 image by computing the center of mass of
the pixels, and translating the image so as to position this point at the center". The box grows
with the model's side. Detecting polarity and background is our addition: the background is the
border's median.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.inputs.wanted import Block, InputSource, Wanted

_INK = 0.2  # of the strongest ink: fainter pixels count as paper


def as_mnist(grey: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a grey picture (H, W) of either polarity as (size) uint8; all black where the picture
    shows nothing.
    """
    ink = ink_of(grey)
    rows, columns = (
        np.flatnonzero((ink > _INK).any(axis=1)),
        np.flatnonzero((ink > _INK).any(axis=0)),
    )
    height, width = size
    if not rows.size:
        return np.zeros(size, np.uint8)
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = round(min(size) * 20 / 28)
    scale = box / max(cut.shape)
    shape = tuple(max(1, round(side * scale)) for side in cut.shape)
    picture = Image.fromarray(cut.astype(np.float32), mode=None).resize(
        shape[::-1], Image.Resampling.LANCZOS
    )
    digit = np.clip(np.asarray(picture), 0.0, 1.0)
    digit /= max(float(digit.max()), 1e-6)
    canvas = np.zeros(size, np.float32)
    mass_y, mass_x = _centre_of_mass(digit)
    # The pixel grid's middle lies between pixels height / 2 - 1 and height / 2; MNIST's lies on
    # pixel height / 2.
    top = int(np.clip(round(height / 2 - mass_y), 0, height - shape[0]))
    left = int(np.clip(round(width / 2 - mass_x), 0, width - shape[1]))
    canvas[top : top + shape[0], left : left + shape[1]] = digit
    return np.rint(canvas * 255).astype(np.uint8)


def _centre_of_mass(digit: NDArray[np.float32]) -> tuple[float, float]:
    """Return row and column; SciPy has it too, but its import takes longer than everything else
    before the first worker starts.
    """
    rows, columns = digit.sum(axis=1, dtype=np.float64), digit.sum(axis=0, dtype=np.float64)
    whole = max(float(rows.sum()), 1e-12)
    return float(rows @ np.arange(rows.size)) / whole, float(
        columns @ np.arange(columns.size)
    ) / whole


def ink_of(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much ink each pixel holds, 0 to 1: the distance from the background, in the
    direction of the strokes.

    The background is the border's median; strokes are what differs from it most. A picture of one
    colour holds none.
    """
    x = grey.astype(np.float32)
    border = np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]])
    paper = float(np.median(border))
    distance = x - paper
    if -distance.min() > distance.max():
        distance = -distance
    strongest = (
        float(np.quantile(distance, 0.999)) if distance.size > 2000 else float(distance.max())
    )
    if strongest < 8:  # of 255: no visible stroke
        return np.zeros(grey.shape, np.float32)
    ink: NDArray[np.float32] = np.clip(distance / np.float32(strongest), 0.0, 1.0)
    return ink


class NormalizedSource:
    """Another source, each plane of each image passed through `as_mnist`."""

    def __init__(self, source: InputSource, wanted: Wanted) -> None:
        self.source, self.size = source, wanted.image_shape[1:]
        self.count = source.count

    def blocks(self, size: int) -> Iterator[Block]:
        for block in self.source.blocks(size):
            planes = [[as_mnist(plane, self.size) for plane in image] for image in block.images]
            yield replace(block, images=np.array(planes, np.uint8))
