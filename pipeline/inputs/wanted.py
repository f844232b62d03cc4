"""What every kind of input becomes: blocks of images of the model's size, with ids and, if any,
labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnn_core.axes import Images, Labels
from cnn_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Block:
    """Images read together: (n, C, H, W) uint8; ids as the input names them; labels (n,) int64 or
    None.
    """

    images: Images
    ids: tuple[str, ...]
    labels: Labels | None = None


class InputSource(Protocol):
    """An input that is read once, block by block. `count` is None where it is known only at the
    end.
    """

    count: int | None

    def blocks(self, size: int) -> Iterator[Block]:
        """Yield blocks of at most `size` images. Raises InputError at the first fault."""
        ...


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the model requires of its input."""

    image_shape: tuple[int, int, int]  # C, H, W
    classes: int
    label: str = "auto"  # auto | none | first | last: where a table holds labels

    @property
    def pixels(self) -> int:
        return int(np.prod(self.image_shape))


def numbered(start: int, count: int) -> tuple[str, ...]:
    """Return ids counted from 1, as the public digit contests do."""
    return tuple(str(n) for n in range(start + 1, start + count + 1))


def fit_images(values: NDArray[np.uint8], wanted: Wanted, where: str) -> Images:
    """Return (N, pixels), (N, H, W), (N, C, H, W) or (N, H, W, C) uint8 as (N, C, H, W). Raises
    InputError for another size.
    """
    channels, height, width = wanted.image_shape
    shape = values.shape[1:]
    if shape in ((wanted.pixels,), (channels, height, width)) or (
        channels == 1 and shape == (height, width)
    ):
        return values.reshape(-1, channels, height, width)
    if shape == (height, width, channels):
        return values.transpose(0, 3, 1, 2)
    size = f"{height}x{width}" + (f" with {channels} channels" if channels > 1 else "")
    raise InputError(
        f"images must have the model's size, {size}, got {'x'.join(map(str, shape))} in {where}"
    )


def check_labels(labels: NDArray[Any], wanted: Wanted, where: str) -> Labels:
    """Return the labels as int64. Raises InputError for one that is not a class."""
    wrong = np.flatnonzero((labels < 0) | (labels >= wanted.classes))
    if wrong.size:
        at = int(wrong[0])
        raise InputError(
            f"a label must be from 0 to {wanted.classes - 1}, got {int(labels[at])} at row "
            f"{at + 1} of {where}"
        )
    return labels.astype(np.int64)
