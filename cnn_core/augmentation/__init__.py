"""Data augmentation: random transforms of training images, all geometry composed into one
resampling per batch, then pixel transforms.

>>> spec = AugmentSpec(rotate=15, shift=0.1)
>>> augment(images, spec, rng, out)  # (N, C, H, W) uint8 -> (C, H, W, N) float32 in [0, 1]
"""

from collections.abc import Callable
from dataclasses import make_dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cnn_core.augment_spec import AugmentSpec
from cnn_core.augmentation.geometry import add_elastic, draw_projections, source_coordinates
from cnn_core.augmentation.pixels import (
    add_noise,
    add_specks,
    blur,
    change_colour,
    change_contrast,
    change_strokes,
    cut_out,
)
from cnn_core.augmentation.resampling import resample
from cnn_core.axes import Images
from cnn_core.field_checks import setting

__all__ = ["OWN_STEPS", "AugmentSpec", "augment", "augment_type"]

# In this order: a stroke is drawn and photographed before specks and noise fall on the picture. The
# last entry says whether all channels of an image change together, or each by its own draws.
_PIXEL_STEPS = (
    ("strokes", change_strokes, False),
    ("blur", blur, False),
    ("contrast", change_contrast, True),
    ("colour", change_colour, True),
    ("specks", add_specks, False),
    ("cutout", cut_out, True),
    ("noise", add_noise, False),
)
# The changes of pixels that plug-ins have added, by the name of their strength, from 0 (off) to 1:
# functions of images (C, H, W, N) float32 from 0 to 255, which they change in place, the strength
# and a generator. They come last.
OWN_STEPS: dict[str, Callable[[NDArray[np.float32], float, Generator], object]] = {}


def augment_type() -> type[AugmentSpec]:
    """Return AugmentSpec with a strength for each change that plug-ins have added."""
    return _augment_type(tuple(OWN_STEPS)) if OWN_STEPS else AugmentSpec


@lru_cache
def _augment_type(own: tuple[str, ...]) -> type[AugmentSpec]:
    about = ((OWN_STEPS[name].__doc__ or name).strip().partition("\n")[0] for name in own)
    strengths = [
        (name, float, setting(0.0, words, low=0, high=1))
        for name, words in zip(own, about, strict=True)
    ]
    return make_dataclass(
        "OwnAugmentSpec",
        strengths,
        bases=(AugmentSpec,),
        namespace={"own": own},
        frozen=True,
        kw_only=True,
    )


def _own_step(name: str) -> Callable[[NDArray[np.float32], AugmentSpec, Generator], object]:
    return lambda x, spec, rng: OWN_STEPS[name](x, getattr(spec, name), rng)


def augment(
    images: Images, spec: AugmentSpec, rng: Generator, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return the batch, randomly transformed and scaled to [0, 1], in the net's layout.

    images: (N, C, H, W) uint8, unchanged; out: (C, H, W, N) float32, written to if given. All
    randomness comes from `rng`; how much is drawn depends on the spec and the draws alone, so the
    result is a pure function of the generator's state.
    """
    count, channels, height, width = images.shape
    if out is None:
        out = np.empty((channels, height, width, count), np.float32)
    mild = np.less(rng.random(count), spec.mild) if spec.mild > 0 else None
    if spec.flip > 0:
        images = _mirrored(images, np.less(rng.random(count), spec.flip))
    if spec.geometric:
        _move(images, spec, rng, mild, out)
    else:
        np.copyto(out, images.transpose(1, 2, 3, 0))
    known = (*_PIXEL_STEPS, *((name, _own_step(name), True) for name in spec.own))
    steps = [entry[1:] for entry in known if getattr(spec, entry[0]) > 0]
    if steps:
        chosen = None if mild is None else np.flatnonzero(~mild)
        part = out if chosen is None else out[..., chosen]
        for step, together in steps:
            for channels in [part] if together else np.split(part, len(part)):
                step(channels if together else channels[0], spec, rng)
        if chosen is not None:
            out[..., chosen] = part
        np.clip(out, 0.0, 255.0, out=out)
    out *= np.float32(1 / 255)
    return out


def _mirrored(images: Images, chosen: NDArray[np.bool_]) -> Images:
    """Return the batch with the chosen images' left and right exchanged."""
    images = images.copy()
    images[chosen] = images[chosen][..., ::-1]
    return images


def _move(
    images: Images,
    spec: AugmentSpec,
    rng: Generator,
    mild: NDArray[np.bool_] | None,
    out: NDArray[np.float32],
) -> None:
    """Resample the images by geometry drawn from the spec and write them to `out`; values stay 0 to
    255.
    """
    count, size = len(images), images.shape[2:]
    source_y, source_x = source_coordinates(draw_projections(spec, count, size, rng, mild), size)
    if spec.elastic > 0:
        add_elastic(source_y, source_x, spec, rng)
    nearest = np.less(rng.random(count), spec.nearest) if spec.nearest > 0 else None
    if nearest is not None and mild is not None:
        nearest &= ~mild
    resample(images, source_y, source_x, nearest, out)
