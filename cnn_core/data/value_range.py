"""What stands for white in pictures to predict: training's own value, unless their values certainly
have another range. NumPy alone: a bundle's predict.py holds this file.

A picture of 0 to 1 that is read as one of 0 to 255 is black, and the answer wrong: what is not
certain is refused.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.image_form import FULL_SCALES, full_scale_of
from cnn_core.errors import InputError

_DARK = 8  # brightest values below an eighth of white: another range, or pictures of the night?


class ValueRange:
    """The values of pictures, seen block by block, beside `trained`, training's value of white."""

    def __init__(self, trained: float) -> None:
        self.trained = trained
        self.largest = 0.0
        self.whole = True  # all values are whole numbers
        self.truth = True  # all are true or false
        self.pictures = self.beyond = 0  # pictures that show something; with values beyond training
        self.seen = self.first_beyond = 0  # pictures in all; the first of those, counted from 1

    def add(self, pictures: Iterable[NDArray[Any]]) -> None:
        """See pictures, (N, C, H, W) or one by one, of any numeric dtype; empty ones count not."""
        for picture in pictures:
            self.seen += 1
            if not picture.size:
                continue
            largest = float(picture.max())
            self.largest = max(self.largest, largest)
            self.truth = self.truth and picture.dtype.kind == "b"
            if picture.dtype.kind == "f" and self.whole:
                self.whole = bool((picture == np.rint(picture)).all())
            self.pictures += largest > 0
            if largest > self.trained:
                self.beyond += 1
                self.first_beyond = self.first_beyond or self.seen

    @property
    def settled(self) -> bool:
        """Tell whether no further picture changes the answer, unless to a refusal."""
        fits = self.trained / _DARK < self.largest <= self.trained
        return fits and not self.truth and (self.whole or self.largest > 1 or self.trained <= 1)

    def full_scale(self, where: str = "") -> float:
        """Return the value that stands for white. Raises InputError where it is not certain."""
        found, certain = self._judged()
        if certain:
            return found
        place = f" in {where}" if where else ""
        fractions = [1.0] if not self.whole and self.largest <= 1 else []
        scales = dict.fromkeys((self.trained, *fractions, full_scale_of(self.largest)))
        choices = " or ".join(f"full_scale={scale:.10g}" for scale in scales)
        seen = f"{self.largest:g} as the largest value of {self.pictures} pictures"
        if self.beyond:
            seen = (
                f"values up to {self.largest:g} in {self.beyond} of {self.pictures} pictures, "
                f"first in picture {self.first_beyond}"
            )
        raise InputError(
            f"pixels must be from 0 to {self.trained:g} as in training, got {seen}{place}; set "
            f"{choices}, the value that stands for white"
        )

    def _judged(self) -> tuple[float, bool]:
        """Return the value that may stand for white, and whether it certainly does."""
        if self.truth and self.pictures:
            return 1.0, True
        if not self.whole and self.largest <= 1 <= self.trained:
            return 1.0, self.largest > 0.5
        if self.largest <= self.trained:
            return self.trained, self.largest == 0 or self.largest > self.trained / _DARK
        # A few bright values among others are faults, not another range.
        scale = full_scale_of(self.largest)
        most = self.largest > scale / 2 and 2 * self.beyond >= self.pictures
        return scale, most and scale in FULL_SCALES
