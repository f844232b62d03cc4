"""Initial weights have the mean and spread that theory asks for, and streams are independent."""

import math

import numpy as np
import pytest
from scipy.signal import correlate

from cnn_core.errors import InputError
from cnn_core.initializers import INITIALIZERS, Fans, initializer, normal
from cnn_core.streams import NAMES, stream

SHAPE = (200, 300)
FANS = Fans(300, 200)
SPREAD = {
    "normal": 0.01,
    "xavier": math.sqrt(1 / 300),
    "glorot": math.sqrt(2 / 500),
    "he": math.sqrt(2 / 300),
    "dirac": math.sqrt(2 / 300),  # of a dense layer
}


def test_every_initializer_has_a_theory_to_be_held_against() -> None:
    assert set(INITIALIZERS) == {*SPREAD, "zeros"}


@pytest.mark.parametrize("name", SPREAD)
def test_moments(name: str) -> None:
    weights = INITIALIZERS[name](stream((3,), "init"), SHAPE, FANS)
    count, std = weights.size, SPREAD[name]
    # Five standard errors: of the mean, of the standard deviation, of the kurtosis of a normal
    # distribution.
    assert abs(weights.mean()) < 5 * std / math.sqrt(count)
    assert abs(weights.std() / std - 1) < 5 / math.sqrt(2 * count)
    assert abs(np.mean((weights / std) ** 4) - 3) < 5 * math.sqrt(96 / count)
    assert weights.shape == SHAPE


def test_zeros_are_zero() -> None:
    assert not INITIALIZERS["zeros"](stream((3,), "init"), SHAPE, FANS).any()


@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (2, 3, 5, 5), (4, 4, 2, 2)])
def test_dirac_passes_channels_on(shape: tuple[int, ...]) -> None:
    filters, channels, side = shape[:3]
    W = INITIALIZERS["dirac"](stream((3,), "init"), shape, Fans(channels * side**2, 9))
    x = np.random.default_rng(2).standard_normal((channels, 8, 8))
    for k in range(min(filters, channels)):
        y = sum(correlate(x[c], W[k, c], mode="same") for c in range(channels))
        inner = slice(side, -side)
        np.testing.assert_array_equal(y[inner, inner], x[k, inner, inner])
    he = INITIALIZERS["he"](stream((3,), "init"), shape, Fans(channels * side**2, 9))
    np.testing.assert_array_equal(W[channels:], he[channels:])


def test_normal_takes_its_spread() -> None:
    assert initializer("normal", 0.05)(stream((1,), "init"), SHAPE, FANS).std() == pytest.approx(
        0.05, rel=0.02
    )
    assert initializer("he", 0.05)(stream((1,), "init"), SHAPE, FANS).std() == pytest.approx(
        SPREAD["he"], rel=0.02
    )


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_a_spread_that_is_none_is_refused(std: float) -> None:
    with pytest.raises(
        InputError, match="initializer normal: std must be finite and at least 0, got"
    ):
        normal(std)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        InputError, match="must be one of zeros, normal, xavier, glorot, he, dirac, got 'her'"
    ):
        initializer("her")


def test_fans_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="got fan_in=0, fan_out=3"):
        Fans(0, 3)


def test_streams_are_functions_of_their_name() -> None:
    first, again = stream((1, 2), "shuffle", 3).random(5), stream((1, 2), "shuffle", 3).random(5)
    np.testing.assert_array_equal(first, again)


def test_streams_differ_in_every_part_of_their_name() -> None:
    seen = {
        (seed, name, epoch, index): tuple(stream(seed, name, epoch, index).integers(0, 2**63, 2))
        for seed in [(1,), (1, 0), (0, 1), (2**32,), (2,)]
        for name in NAMES
        for epoch in (0, 1)
        for index in (0, 1)
    }
    assert len(set(seen.values())) == len(seen)


def test_streams_are_uncorrelated() -> None:
    draws = np.array(
        [stream((5,), name, epoch).standard_normal(20_000) for name in NAMES for epoch in (0, 1)]
    )
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 5 / math.sqrt(20_000)


@pytest.mark.parametrize(
    ("seed", "name", "epoch"),
    [((1,), "shufle", 0), ((-1,), "shuffle", 0), ((1,), "shuffle", -1), ((), "shuffle", 0)],
)
def test_a_stream_that_cannot_be_is_refused(seed: tuple[int, ...], name: str, epoch: int) -> None:
    with pytest.raises(InputError, match=r"^stream"):
        stream(seed, name, epoch)
