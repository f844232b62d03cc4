"""Grey figures on the other background than training's are turned round; nothing else is."""

from dataclasses import replace

import numpy as np
import pytest

from cnn_core.data.figures import background_of, border_median, border_medians
from cnn_core.data.image_form import ImageForm

RNG = np.random.default_rng(0)
DARK = np.zeros((20, 1, 8, 8), np.uint8)
DARK[:, :, 2:6, 2:6] = RNG.integers(100, 256, (20, 1, 4, 4))
FORM = ImageForm(channels=1, height=8, width=8, background="dark")


def test_a_background_is_that_of_nine_in_ten() -> None:
    assert background_of(DARK) == "dark" and background_of(255 - DARK) == "light"
    mixed = DARK.copy()
    mixed[:3] = 255 - DARK[:3]
    assert background_of(mixed) == ""
    assert background_of(mixed[2:]) == "dark"
    assert background_of(np.repeat(DARK, 3, axis=1)) == "" and background_of(DARK[:0]) == ""


def test_the_opposite_background_is_turned_round() -> None:
    turned = FORM.matched(255 - DARK)
    assert turned == replace(FORM, invert=True)
    np.testing.assert_array_equal(turned.apply_all(255 - DARK), DARK)
    inverting = replace(FORM, invert=True)
    assert inverting.matched(255 - DARK) == FORM


@pytest.mark.parametrize(
    "form", [FORM, replace(FORM, background=""), replace(FORM, normalize="mnist")]
)
def test_what_fits_or_is_not_certain_stays(form: ImageForm) -> None:
    images = DARK if form == FORM else 255 - DARK
    assert form.matched(images) is form


def test_the_borders_of_many_are_those_of_each() -> None:
    images = np.random.default_rng(2).integers(0, 256, (50, 1, 7, 9), dtype=np.uint8)
    each = [border_median(image[0]) for image in images]
    assert border_medians(images).tolist() == each and len({*each}) > 2
