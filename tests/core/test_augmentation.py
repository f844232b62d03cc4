"""Augmentation as a whole and each change of pixels, against SciPy or by hand."""

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.ndimage import convolve1d, grey_dilation, grey_erosion

from cnn_core.augmentation import AugmentSpec, augment
from cnn_core.augmentation.geometry import BANK_SIZE, Float32, field_bank
from cnn_core.augmentation.pixels import (
    add_noise,
    add_specks,
    blur,
    change_contrast,
    change_strokes,
    cut_out,
)
from cnn_core.errors import InputError
from cnn_core.laws.augmentation_laws import AUGMENTATION_LAWS

ALL_ON = AugmentSpec(
    shift=0.1, rotate=20, scale=0.2, shear=0.2, perspective=0.2, elastic=0.03, nearest=0.5,
    strokes=0.5, blur=0.5, specks=0.5, cutout=0.5, contrast=0.3, noise=0.1,
)  # fmt: skip
PLUS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def _batch(count: int = 20, channels: int = 1, side: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def _pixels(count: int = 40, side: int = 10) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (side, side, count)).astype(np.float32)


def test_without_transforms_it_is_the_scaling_and_draws_nothing() -> None:
    images = _batch(channels=3)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(
        augment(images, AugmentSpec(), rng), images.transpose(1, 2, 3, 0) / 255, atol=1e-6
    )
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("law", AUGMENTATION_LAWS, ids=lambda law: law.__name__)
def test_all_transforms_together_keep_the_laws(law: Callable[[AugmentSpec], None]) -> None:
    law(ALL_ON)


def test_another_stream_changes_most_of_a_picture() -> None:
    first, other = (augment(_batch(), ALL_ON, np.random.default_rng(seed)) for seed in (7, 8))
    assert np.mean(first != other) > 0.5


def test_each_image_gets_its_own_change() -> None:
    images = np.repeat(_batch(1), 50, axis=0)
    out = augment(images, AugmentSpec(rotate=20), np.random.default_rng(0))
    assert len({out[..., n].tobytes() for n in range(50)}) == 50


@pytest.mark.parametrize(
    "name",
    [f.name for f in fields(AugmentSpec) if f.default == 0.0 and f.name not in ("nearest", "mild")],
)
def test_every_strength_alone_changes_images(name: str) -> None:
    images = _batch()
    value = 20.0 if name == "rotate" else 0.1 if name == "elastic" else 0.45
    plain = augment(images, AugmentSpec(), np.random.default_rng(0))
    assert (
        np.abs(
            augment(images, AugmentSpec(**{name: value}), np.random.default_rng(0)) - plain
        ).max()
        > 0.01
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rotate", -1.0),
        ("shift", 0.6),
        ("noise", float("nan")),
        ("blur", 1.5),
        ("elastic", "much"),
        ("cutout", True),
    ],
)
def test_a_strength_out_of_range_is_refused_with_rule_and_value(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"augment\.{name}: must be .*, got {value!r}"):
        AugmentSpec(**{name: value})  # type: ignore[arg-type]


def test_mild_images_move_a_third_and_keep_their_pixels() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.uint8) * 6, (2000, 1, 40, 40)).copy()
    out = (
        augment(ramp, AugmentSpec(shift=0.15, noise=0.5, mild=0.4), np.random.default_rng(0))[0]
        * 255
        / 6
    )
    inside = out[10:-10, 10:-10]
    # A shifted ramp is the ramp plus a constant; noise makes it rough.
    rough = np.abs(np.diff(inside, axis=1) - 1).max(axis=(0, 1)) > 0.05
    assert np.mean(~rough) == pytest.approx(0.4, abs=0.05)
    moved = np.abs(inside[..., ~rough].mean(axis=(0, 1)) - np.arange(40)[10:-10].mean())
    assert (
        1.8 < np.quantile(moved, 0.99) <= 0.15 * 40 / 3 + 0.01
    )  # a few of the others have next to no noise


def test_elastic_fields_have_unit_strength_and_are_smooth() -> None:
    bank = field_bank((28, 28), 4.76)
    assert bank.shape == (28, 28, BANK_SIZE)
    np.testing.assert_allclose(np.sqrt(np.mean(bank**2, axis=(0, 1))), 1.0, atol=1e-5)
    step = np.diff(bank, axis=0)
    # White noise smoothed by sigma has slope 1 / (sqrt 2 sigma) times its strength: 0.149 here.
    assert np.sqrt(np.mean(step**2)) == pytest.approx(1 / (np.sqrt(2) * 4.76), rel=0.15)


def test_elastic_displaces_by_no_more_than_its_strength() -> None:
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8) * 9, (1000, 1, 28, 28)).copy()
    moved = (
        augment(ramp, AugmentSpec(elastic=0.03), np.random.default_rng(0))[0] * 255 / 9
        - np.arange(28)[None, :, None]
    )
    strength = np.sqrt(np.mean(moved[5:-5, 5:-5] ** 2, axis=(0, 1)))
    # Uniform strengths up to 0.03 x 28 = 0.84 pixels: half of it on average.
    assert strength.mean() == pytest.approx(0.42, rel=0.15)


def test_strokes_blend_with_scipy_dilation_or_erosion() -> None:
    x = _pixels()
    changed = x.copy()
    change_strokes(changed, AugmentSpec(strokes=1.0), np.random.default_rng(0))
    thicker = 0
    for n in range(x.shape[-1]):
        dilated = (
            grey_dilation(x[..., n], footprint=PLUS, mode="constant", cval=-np.inf) - x[..., n]
        )
        eroded = grey_erosion(x[..., n], footprint=PLUS, mode="constant", cval=np.inf) - x[..., n]
        step = changed[..., n] - x[..., n]
        target = dilated if step.sum() > 0 else eroded
        thicker += int(step.sum() > 0)
        share = step.sum() / target.sum()
        assert 0 <= share <= 1
        np.testing.assert_allclose(step, share * target, atol=1e-3)
    assert 10 <= thicker <= 30


def test_full_blur_is_the_binomial_kernel_of_scipy() -> None:
    x = _pixels()
    got = x.copy()
    blur(got, AugmentSpec(blur=1.0), np.random.default_rng(0))
    strength = np.random.default_rng(0).random((2, x.shape[-1]))[1]
    for n, s in enumerate(strength):
        want = x[..., n]
        for axis in (0, 1):
            want = convolve1d(want, [s / 4, 1 - s / 2, s / 4], axis=axis, mode="constant")
        np.testing.assert_allclose(got[..., n], want, atol=1e-3)


def test_probabilities_choose_that_share_of_images() -> None:
    x = _pixels(2000, 6)
    for step, name in (
        (blur, "blur"),
        (change_strokes, "strokes"),
        (add_specks, "specks"),
        (cut_out, "cutout"),
    ):
        changed = x.copy()
        step(
            changed,
            replace(AugmentSpec(speck_share=0.4, cutout_size=1.0), **{name: 0.3}),
            np.random.default_rng(2),
        )
        share = np.mean(np.any(changed != x, axis=(0, 1)))
        assert 0.2 < share <= 0.34, name


def test_cutout_blackens_one_rectangle_within_its_size() -> None:
    x = np.ones((20, 20, 300), np.float32)
    cut_out(x, AugmentSpec(cutout=1.0, cutout_size=0.5), np.random.default_rng(0))
    for n in range(300):
        rows, columns = (
            np.flatnonzero((x[..., n] == 0).any(axis=1)),
            np.flatnonzero((x[..., n] == 0).any(axis=0)),
        )
        assert (
            np.sum(x[..., n] == 0) == rows.size * columns.size
            and max(rows.size, columns.size) <= 10
        )
    assert (x == 0).any()


def test_specks_are_bright_single_pixels() -> None:
    x = np.zeros((20, 20, 200), np.float32)
    add_specks(x, AugmentSpec(specks=1.0, speck_share=0.1), np.random.default_rng(0))
    lit = x[x > 0]
    assert lit.min() >= 127.5 and lit.max() <= 255
    assert np.mean(x > 0) == pytest.approx(0.05, abs=0.01)


def test_noise_and_contrast_have_their_moments() -> None:
    x = np.full((30, 30, 500), 100, np.float32)
    noisy = x.copy()
    add_noise(noisy, AugmentSpec(noise=0.2), np.random.default_rng(0))
    deviation = noisy.std(axis=(0, 1)) / 255
    assert (
        deviation.max() < 0.22
        and deviation.mean() == pytest.approx(0.1, abs=0.01)
        and noisy.mean() == pytest.approx(100, abs=0.5)
    )
    change_contrast(x, AugmentSpec(contrast=0.4), np.random.default_rng(0))
    assert 60 <= x.min() < 65 and 135 < x.max() <= 140


def test_flip_mirrors_that_share_of_images_exactly() -> None:
    images = np.random.default_rng(0).integers(0, 256, (400, 3, 6, 5), dtype=np.uint8)
    before = images.copy()
    got = augment(images, AugmentSpec(flip=0.3), np.random.default_rng(1))
    as_they_are = images.transpose(1, 2, 3, 0) / np.float32(255)
    same = np.isclose(got, as_they_are).all(axis=(0, 1, 2))
    mirrored = np.isclose(got, as_they_are[:, :, ::-1]).all(axis=(0, 1, 2))
    assert np.all(same ^ mirrored) and 0.2 < mirrored.mean() < 0.4
    assert np.array_equal(images, before)


def test_colours_change_by_channel_contrast_and_cutout_in_all_alike() -> None:
    images = np.full((200, 3, 8, 8), 100, np.uint8)

    def factors(**strengths: float) -> Float32:
        got = augment(images, AugmentSpec(**strengths), np.random.default_rng(2))
        return got * 255 / 100

    contrast, colour = factors(contrast=0.2), factors(colour=0.2)
    np.testing.assert_allclose(contrast[0], contrast[1], rtol=1e-6)
    assert np.abs(colour[0] - colour[1]).max() > 0.2
    assert colour.min() > 0.79 and colour.max() < 1.21
    assert np.ptp(colour, axis=(1, 2)).max() < 1e-6, "a channel of an image has one factor"
    cut = factors(cutout=1.0, cutout_size=0.8) == 0
    assert cut.any() and np.array_equal(cut[0], cut[1]) and np.array_equal(cut[0], cut[2])
