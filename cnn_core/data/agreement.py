"""What all pictures of an input must have in common, since it is decided for all at once: their
depth, and their background. NumPy alone: a bundle's predict.py holds this file.
"""

from collections.abc import Collection, Iterable
from typing import Any

from numpy.typing import NDArray

from cnn_core.data.figures import border_medians
from cnn_core.data.image_form import ImageForm
from cnn_core.data.resampling_weights import Bytes
from cnn_core.errors import InputError

_FEW = 0.25  # of the pictures: fewer of the other background are figures that touch the border
_FEWEST = 2
_DARK, _LIGHT = 64, 191  # borders below or above are certainly dark or light


def check_depths(types: Collection[str], where: str = "") -> None:
    """Raise InputError for pictures of more than one type of values, such as uint8 and uint16: one
    value of white cannot stand for both.
    """
    if len(types) > 1:
        place = f" in {where}" if where else ""
        raise InputError(f"pictures must have one depth, got {' and '.join(sorted(types))}{place}")


class Agreement:
    """The pictures of an input, seen part by part, beside the form in which a net was trained.

    `separate`: each picture is encoded by itself, with a depth of its own.
    """

    def __init__(self, form: ImageForm, separate: bool, where: str = "") -> None:
        self.form, self.separate, self.where = form, separate, where
        self.depths: set[str] = set()
        self.seen = self.other = 0

    def add_depths(self, pictures: Iterable[NDArray[Any]]) -> None:
        """See pictures as they are read. Raises InputError as `check_depths` does."""
        if self.separate:
            self.depths |= {picture.dtype.name for picture in pictures if picture.size}
            check_depths(self.depths, self.where)

    def add_backgrounds(self, images: Bytes) -> None:
        """See images (N, C, H, W) in their form. Raises InputError where the training data had one
        background and a part of these have the other: they were not turned round one by one.
        """
        background = self.form.background
        if not background or len(images) == 0 or images.shape[1] != 1:
            return
        if self.form.normalize != "none":
            return
        # What lies between is neither: noise, fog, a photograph.
        borders = border_medians(images)
        other = borders > _LIGHT if background == "dark" else borders < _DARK
        self.seen += len(images)
        self.other += int(other.sum())
        if self.other >= _FEWEST and self.other > _FEW * self.seen:
            place = f" in {self.where}" if self.where else ""
            raise InputError(
                f"pictures must have one background, {background} as in training or all the other, "
                f"got {self.other} of {self.seen} that differ{place}"
            )
