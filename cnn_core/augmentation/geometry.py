"""The source coordinates of each output pixel: shift, rotation, scale, shear and perspective as one
projective map, and elastic deformation.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from cnn_core.augment_spec import AugmentSpec

Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Projection:
    """One projective map per image, as (N,) float32 arrays: the source coordinates of output pixel
    (y, x), counted from the centre.

    source_y = (yy * y + yx * x) / (1 + py * y + px * x) + ty
    source_x = (xy * y + xx * x) / (1 + py * y + px * x) + tx
    """

    yy: Float32
    yx: Float32
    xy: Float32
    xx: Float32
    ty: Float32
    tx: Float32
    py: Float32
    px: Float32


MILD = 1 / 3  # of the strength, for the images of `AugmentSpec.mild`


def draw_projections(
    spec: AugmentSpec,
    count: int,
    image_size: tuple[int, int],
    rng: Generator,
    mild: NDArray[np.bool_] | None = None,
) -> Projection:
    """Draw one map per image: rotation times shear divided by the zoom, then a shift, and
    perspective's denominator.
    """
    height, width = image_size
    uniform = rng.uniform(-1.0, 1.0, size=(7, count))
    if mild is not None:
        uniform[:, mild] *= MILD
    angle = np.deg2rad(spec.rotate) * uniform[0]
    zoom = 1.0 + spec.scale * uniform[1]
    shear = spec.shear * uniform[2]
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    values = {
        "yy": cos,
        "yx": sin + shear * cos,
        "xy": -sin,
        "xx": cos - shear * sin,
        "ty": spec.shift * height * uniform[3],
        "tx": spec.shift * width * uniform[4],
        # The size changes by `perspective` over half an image; below 0.5 the denominator stays
        # positive even with both axes at once.
        "py": spec.perspective * uniform[5] / max(height / 2, 1),
        "px": spec.perspective * uniform[6] / max(width / 2, 1),
    }
    return Projection(**{name: value.astype(np.float32) for name, value in values.items()})


def source_coordinates(
    projection: Projection, image_size: tuple[int, int]
) -> tuple[Float32, Float32]:
    """Return (source_y, source_x), each (H, W, N) float32, from the first pixel's centre."""
    height, width = image_size
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    y = (np.arange(height, dtype=np.float32) - np.float32(centre_y))[:, None, None]
    x = (np.arange(width, dtype=np.float32) - np.float32(centre_x))[None, :, None]
    p = projection
    if np.any(p.py) or np.any(p.px):
        inverse = np.float32(1) / (p.py * y + (1 + p.px * x))
        source_y = (p.yy * y + p.yx * x) * inverse
        source_x = (p.xy * y + p.xx * x) * inverse
        source_y += p.ty + np.float32(centre_y)
        source_x += p.tx + np.float32(centre_x)
        return source_y, source_x
    # Row and column parts are small; one addition makes the whole grid.
    source_y = (p.yy * y + (p.ty + np.float32(centre_y))) + p.yx * x
    source_x = (p.xy * y + (p.tx + np.float32(centre_x))) + p.xx * x
    return source_y, source_x


BANK_SIZE = 128  # fields kept: 128 x 128 pairs with two signs each, in 0.4 MB for 28x28 images
_BANK_SEED = 20031231


@lru_cache(maxsize=8)
def field_bank(image_size: tuple[int, int], sigma: float) -> Float32:
    """Return (H, W, BANK_SIZE) float32 fields with root mean square 1: white noise smoothed by a
    Gaussian of `sigma` pixels.

    The noise is smoothed on a canvas twice as large by its Fourier transform, exp(-2 (pi sigma
    f)^2), so that borders do not wrap. A pure function of its arguments. Source: Simard,
    Steinkraus, Platt, ICDAR 2003, which draws new fields for every image.
    """
    height, width = image_size
    canvas = (2 * height, 2 * width)
    noise = default_rng(SeedSequence((_BANK_SEED, height, width))).standard_normal(
        (BANK_SIZE, *canvas)
    )
    fy, fx = np.fft.fftfreq(canvas[0])[:, None], np.fft.rfftfreq(canvas[1])[None, :]
    low_pass = np.exp(-2.0 * (np.pi * sigma) ** 2 * (fy**2 + fx**2))
    low_pass[0, 0] = 0.0  # the mean displacement is what shift is for
    smooth = np.fft.irfft2(np.fft.rfft2(noise) * low_pass, s=canvas)[:, :height, :width]
    smooth /= np.sqrt(np.mean(smooth**2, axis=(1, 2), keepdims=True))
    bank = np.ascontiguousarray(smooth.transpose(1, 2, 0), dtype=np.float32)
    bank.flags.writeable = False
    return bank


def add_elastic(source_y: Float32, source_x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Add a smooth displacement to both (H, W, N) coordinate grids in place, each image with its
    own strength and sign.
    """
    height, width, count = source_y.shape
    bank = field_bank((height, width), spec.elastic_sigma * max(height, width))
    chosen = rng.integers(0, BANK_SIZE, size=(2, count))
    strength = rng.uniform(0.0, spec.elastic, size=(count,)).astype(np.float32)
    signs = 1 - 2 * rng.integers(0, 2, size=(2, count))
    for grid, side, which, sign in zip(
        (source_y, source_x), (height, width), chosen, signs, strict=True
    ):
        field = bank.take(which, axis=2)
        field *= strength * np.float32(side) * sign.astype(np.float32)
        grid += field
