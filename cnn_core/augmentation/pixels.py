"""Pixel transforms after the resampling: strokes, blur, contrast, colour, specks, cutout, noise.
All in place on float32, of one channel (H, W, N) or, where channels change together, (C, H, W, N).

Each function draws random numbers for every image, even those it leaves unchanged, so that one
image's draws do not depend on another's.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from cnn_core.augment_spec import AugmentSpec

Float32 = NDArray[np.float32]


def _strengths(probability: float, highest: float, count: int, rng: Generator) -> Float32:
    """Return (N,) strengths uniform in [0, highest], 0 for the images that are not chosen."""
    chosen, strength = rng.random((2, count))
    return np.where(chosen < probability, highest * strength, 0.0).astype(np.float32)


def change_strokes(x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Thicken or thin the strokes: blend with the maximum (dilation) or the minimum (erosion) over
    a plus of five pixels.
    """
    count = x.shape[-1]
    strength = _strengths(spec.strokes, spec.stroke_strength, count, rng)
    thicker = rng.random(count) < 0.5
    for extreme, chosen in ((np.maximum, thicker), (np.minimum, ~thicker)):
        which = np.flatnonzero(chosen & (strength > 0))
        if which.size:
            part = x[..., which]
            changed = part.copy()
            extreme(changed[1:], part[:-1], out=changed[1:])
            extreme(changed[:-1], part[1:], out=changed[:-1])
            extreme(changed[:, 1:], part[:, :-1], out=changed[:, 1:])
            extreme(changed[:, :-1], part[:, 1:], out=changed[:, :-1])
            changed -= part
            changed *= strength[which]
            part += changed
            x[..., which] = part


def blur(x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Smooth along both axes with the kernel (s, 4 - 2 s, s) / 4 with s the strength: at 1 the
    binomial (1, 2, 1) / 4.
    """
    strength = _strengths(spec.blur, spec.blur_strength, x.shape[-1], rng)
    which = np.flatnonzero(strength)
    if not which.size:
        return
    part: Float32 = x[..., which]
    quarter = strength[which] / 4
    for _ in range(2):  # along the first axis, then, transposed, along the second
        smooth = part * np.subtract(1, 2 * quarter, dtype=np.float32)
        neighbours = part * quarter
        smooth[1:] += neighbours[:-1]
        smooth[:-1] += neighbours[1:]
        part = smooth.swapaxes(0, 1)
    x[..., which] = part


def change_contrast(x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Multiply each image, all channels alike, by a factor in [1 - c, 1 + c]."""
    x *= (1.0 + rng.uniform(-spec.contrast, spec.contrast, (x.shape[-1],))).astype(np.float32)


def change_colour(x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Multiply each channel of an image, x (C, H, W, N), by a factor of its own in [1 - c, 1 +
    c].
    """
    channels, _, _, count = x.shape
    factors = 1.0 + rng.uniform(-spec.colour, spec.colour, (channels, 1, 1, count))
    x *= factors.astype(np.float32)


def add_specks(x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Set a random share of single pixels to a random grey between half and full white."""
    height, width, count = x.shape
    share = _strengths(spec.specks, spec.speck_share, count, rng)
    per_image = rng.binomial(height * width, share)
    where = rng.integers(0, height * width, size=int(per_image.sum()))
    x.reshape(height * width, count)[where, np.repeat(np.arange(count), per_image)] = rng.uniform(
        127.5, 255.0, where.size
    )


def cut_out(x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Blacken one square of each chosen image in all channels, centred anywhere, cut at the border
    (DeVries, Taylor 2017, arXiv:1708.04552).
    """
    height, width, count = x.shape[-3:]
    size = _strengths(spec.cutout, spec.cutout_size, count, rng)
    centre_y, centre_x = rng.random((2, count), dtype=np.float32)
    rows = (
        np.abs(np.arange(height, dtype=np.float32)[:, None] + 0.5 - centre_y * height)
        < size * height / 2
    )
    columns = (
        np.abs(np.arange(width, dtype=np.float32)[:, None] + 0.5 - centre_x * width)
        < size * width / 2
    )
    if rows.any() and columns.any():
        x *= ~(rows[:, None, :] & columns[None, :, :])


def add_noise(x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Add Gaussian noise with a standard deviation drawn for each image."""
    deviation = rng.uniform(0.0, 255.0 * spec.noise, (x.shape[-1],)).astype(np.float32)
    noise = rng.standard_normal(x.shape, dtype=np.float32)
    noise *= deviation
    x += noise
