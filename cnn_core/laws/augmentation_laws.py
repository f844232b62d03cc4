"""Laws of an augmentation: what comes out is an image, a function of the stream alone."""

import numpy as np
from numpy.testing import assert_array_equal

from cnn_core.augmentation import AugmentSpec, augment
from cnn_core.axes import Images
from cnn_core.laws.hold import hold


def pictures(count: int = 40, channels: int = 1) -> Images:
    """Return smooth random figures, (count, channels, 12, 12) uint8, black outside."""
    y, x = np.mgrid[-1:1:12j, -1:1:12j]
    shifts = np.random.default_rng(9).uniform(-0.3, 0.3, (2, count, channels, 1, 1))
    distance = (y - shifts[0]) ** 2 + (x - shifts[1]) ** 2
    figures: Images = np.rint(255 * np.exp(-6 * distance) * (distance < 0.5)).astype(np.uint8)
    return figures


def the_result_is_finite_and_in_range(spec: AugmentSpec) -> None:
    """Of one image and of many, grey and in colour; the images themselves are unchanged."""
    for count, channels in ((1, 1), (17, 1), (1, 3), (17, 3)):
        images = pictures(count, channels)
        before = images.copy()
        out = np.full((channels, 12, 12, count), np.nan, np.float32)
        got = augment(images, spec, np.random.default_rng(0), out)
        hold(got is out, "the given array must be written")
        hold(np.isfinite(out).all(), "every value must be finite")
        hold(out.min() >= 0 and out.max() <= 1, "every value must lie from black to white")
        assert_array_equal(images, before)


def the_same_stream_gives_the_same_bits(spec: AugmentSpec) -> None:
    """And another stream others: all randomness comes from the generator that is handed in."""
    first, again, other = (
        augment(pictures(), spec, np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert_array_equal(first, again)
    hold((first != other).any(), "another stream must give other images")


AUGMENTATION_LAWS = (the_result_is_finite_and_in_range, the_same_stream_gives_the_same_bits)
