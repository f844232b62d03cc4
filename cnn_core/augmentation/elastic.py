"""Elastic deformation: smooth random displacement fields, drawn once and reused with random sign, strength and pairing."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from cnn_core.augmentation.spec import AugmentSpec

Float32 = NDArray[np.float32]

BANK_SIZE = 128  # fields kept: 128 x 128 pairs with two signs each, in 0.4 MB for 28x28 images
_BANK_SEED = 20031231


@lru_cache(maxsize=8)
def field_bank(image_size: tuple[int, int], sigma: float) -> Float32:
    """Return (H, W, BANK_SIZE) float32 fields with root mean square 1: white noise smoothed by a Gaussian of `sigma` pixels.

    The noise is smoothed on a canvas twice as large by its Fourier transform, exp(-2 (pi sigma f)^2), so that borders do not wrap.
    A pure function of its arguments. Source: Simard, Steinkraus, Platt, ICDAR 2003, which draws new fields for every image.
    """
    height, width = image_size
    canvas = (2 * height, 2 * width)
    noise = default_rng(SeedSequence((_BANK_SEED, height, width))).standard_normal((BANK_SIZE, *canvas))
    fy, fx = np.fft.fftfreq(canvas[0])[:, None], np.fft.rfftfreq(canvas[1])[None, :]
    low_pass = np.exp(-2.0 * (np.pi * sigma) ** 2 * (fy**2 + fx**2))
    low_pass[0, 0] = 0.0  # the mean displacement is what shift is for
    smooth = np.fft.irfft2(np.fft.rfft2(noise) * low_pass, s=canvas)[:, :height, :width]
    smooth /= np.sqrt(np.mean(smooth**2, axis=(1, 2), keepdims=True))
    bank = np.ascontiguousarray(smooth.transpose(1, 2, 0), dtype=np.float32)
    bank.flags.writeable = False
    return bank


def add_elastic(source_y: Float32, source_x: Float32, spec: AugmentSpec, rng: Generator) -> None:
    """Add to both (H, W, N) coordinate grids, in place, a smooth displacement of each image's own strength and sign."""
    height, width, count = source_y.shape
    bank = field_bank((height, width), spec.elastic_sigma * max(height, width))
    chosen = rng.integers(0, BANK_SIZE, size=(2, count))
    strength = rng.uniform(0.0, spec.elastic, size=(count,)).astype(np.float32)
    signs = 1 - 2 * rng.integers(0, 2, size=(2, count))
    for grid, side, which, sign in zip((source_y, source_x), (height, width), chosen, signs, strict=True):
        field = bank.take(which, axis=2)
        field *= strength * np.float32(side) * sign.astype(np.float32)
        grid += field
