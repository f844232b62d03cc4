"""One look at all that an input holds, before its form is decided: sizes, colours, the range of
values, labels.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_core.data.agreement import check_depths
from cnn_core.data.figures import border_median
from cnn_core.data.image_form import ImageForm, as_bytes, full_scale_of
from cnn_core.errors import InputError
from pipeline.configuration.data_settings import FileSettings
from pipeline.inputs import InputSource

BLOCK = 512  # pictures looked at together
_SHOWN = 4
# Of the full scale: lossy files of grey pictures hold planes that differ by a few levels.
_TINT = 1 / 16


@dataclass
class Survey:
    """What was seen of `count` pictures."""

    count: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)  # (H, W)
    channels: Counter[int] = field(default_factory=Counter)
    depths: set[str] = field(default_factory=set)  # types of values
    coloured: bool = False  # a picture's planes differ visibly
    largest: float = 0.0
    labels: list[str] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)  # indices of pictures without a pixel

    def add(self, pictures: NDArray[Any]) -> None:
        """Count pictures of one size, (n, C, H, W)."""
        count, channels, height, width = pictures.shape
        self.count += count
        self.sizes[height, width] += count
        self.channels[channels] += count
        self.depths.add(pictures.dtype.name)
        self.largest = max(self.largest, float(pictures.max()))
        if not self.coloured and channels == 3:
            apart = np.ptp(pictures, axis=1).max()
            self.coloured = bool(apart > _TINT * full_scale_of(float(pictures.max())))


def survey_of(source: InputSource, where: str) -> Survey:
    """Return what one pass over the source sees. Raises InputError at its first fault, and where
    pictures that are encoded one by one have not one depth.
    """
    found = Survey()
    for block in source.blocks(BLOCK):
        if block.labels is not None:
            found.labels += block.labels
        if isinstance(block.pictures, np.ndarray):
            found.add(block.pictures)
            continue
        for picture in block.pictures:
            if picture.size:
                found.add(picture[None])
            else:
                found.damaged.append(found.count)
                found.count += 1
    if source.separate:
        check_depths(found.depths, where)
    return found


def form_of(survey: Survey, settings: FileSettings, where: str) -> ImageForm:
    """Return the form that the settings ask for, or that the pictures have in common. Raises
    InputError where they have none.
    """
    _check_settings(settings)
    height, width = _size(survey, settings, where)
    one_size = len(survey.sizes) == 1 and len(survey.channels) == 1
    source = (next(iter(survey.channels)), *next(iter(survey.sizes))) if one_size else ()
    channels = _channels(survey, settings, where)
    return ImageForm(
        channels=channels,
        height=height,
        width=width,
        source=() if source == (channels, height, width) else source,
        full_scale=full_scale_of(survey.largest),
        normalize=settings.normalize,
    )


def _check_settings(settings: FileSettings) -> None:
    if settings.size and len(settings.size) != 2:
        raise InputError(f"data.size: must be [height, width], got {settings.size}")
    if settings.normalize == "mnist" and settings.colour == "rgb":
        raise InputError("data.normalize: mnist needs grey pictures, got data.colour=rgb")


def _size(survey: Survey, settings: FileSettings, where: str) -> tuple[int, int]:
    if settings.size:
        return settings.size[0], settings.size[1]
    if len(survey.sizes) == 1:
        return next(iter(survey.sizes))
    shown = ", ".join(f"{h}x{w} ({n})" for (h, w), n in survey.sizes.most_common(_SHOWN))
    more = f" and {len(survey.sizes) - _SHOWN} more" if len(survey.sizes) > _SHOWN else ""
    raise InputError(
        "images must have one size, or data.size=[height,width] resizes them, got "
        f"{shown}{more} in {where}"
    )


def _channels(survey: Survey, settings: FileSettings, where: str) -> int:
    """Return 1 or 3 as the settings or the pictures say, or the number that arrays have."""
    if settings.colour == "grey" or settings.normalize == "mnist":
        return 1
    if settings.colour == "rgb":
        return 3
    if survey.channels.keys() <= {1, 3}:
        return 3 if survey.coloured else 1
    if len(survey.channels) > 1:
        raise InputError(
            f"images must have as many channels each, got {sorted(survey.channels)} in {where}"
        )
    return next(iter(survey.channels))


def with_polarity(form: ImageForm, source: InputSource) -> ImageForm:
    """Return the form that makes most grey pictures light on dark; colours stay as they are."""
    if form.channels != 1 or form.normalize == "mnist":
        return form
    light, count = 0, 0
    for block in source.blocks(BLOCK):
        for picture in block.pictures:
            if picture.size:
                light += border_median(as_bytes(picture[0], form.full_scale)) > 127
                count += 1
    return replace(form, invert=True) if light > count / 2 else form
