"""The Gaussian process against scikit-learn's, numerical derivatives and integrals."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern

from pipeline.search import gaussian_process
from pipeline.search.gaussian_process import (
    GaussianProcess,
    fit,
    log_expected_improvement,
    matern,
)

RNG = np.random.default_rng(5)
POINTS = RNG.random((12, 3))
VALUES = np.sin(5 * POINTS[:, 0]) + POINTS[:, 2]
PARAMETER_OF = np.array([0, 1, 1])  # the second parameter has two coordinates
LENGTHS, NOISE = np.array([0.4, 1.3]), 0.02
PROCESS = GaussianProcess(POINTS, VALUES, PARAMETER_OF, LENGTHS, NOISE)


def known_process(lengths: np.ndarray, noise: float) -> GaussianProcessRegressor:
    kernel = Matern(length_scale=lengths[PARAMETER_OF], nu=2.5)
    known = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
    return known.fit(POINTS, VALUES)


def test_mean_and_spread_are_those_of_another_library() -> None:
    elsewhere = RNG.random((7, 3))
    mean, spread = PROCESS.posterior(elsewhere)
    theirs = known_process(LENGTHS, NOISE).predict(elsewhere, return_std=True)
    np.testing.assert_allclose(mean, theirs[0], rtol=1e-9)
    np.testing.assert_allclose(spread, theirs[1], rtol=1e-7)


def squares_apart() -> np.ndarray:
    """Squared distances by parameter, by plain loops."""
    apart = np.zeros((2, 12, 12))
    for i in range(12):
        for j in range(12):
            for c in range(3):
                apart[PARAMETER_OF[c], i, j] += (POINTS[i, c] - POINTS[j, c]) ** 2
    return apart


def test_the_cost_differs_as_the_likelihood_of_another_library_and_the_priors_do() -> None:
    mean = math.log(0.5 * math.sqrt(2))

    def expected(lengths: np.ndarray, noise: float) -> float:
        likelihood = known_process(lengths, noise).log_marginal_likelihood()
        prior = -((np.log(lengths) - mean) ** 2 / 2).sum() - (math.log(noise) + 4) ** 2 / 2
        return -float(likelihood + prior)

    def cost(lengths: np.ndarray, noise: float) -> float:
        theta = np.log(np.append(lengths, noise))
        return gaussian_process._cost(theta, squares_apart(), VALUES)[0]

    other = np.array([2.0, 0.3]), 0.1
    assert cost(LENGTHS, NOISE) - cost(*other) == pytest.approx(
        expected(LENGTHS, NOISE) - expected(*other), rel=1e-8
    )


def test_the_gradient_of_the_cost_is_its_slope() -> None:
    apart = squares_apart()

    def cost(theta: np.ndarray) -> float:
        return gaussian_process._cost(theta, apart, VALUES)[0]

    for theta in (np.log([0.4, 1.3, 0.02]), np.array([1.0, -1.0, -3.0])):
        slope = approx_fprime(theta, cost, 1e-6)
        found = gaussian_process._cost(theta, apart, VALUES)[1]
        np.testing.assert_allclose(found, slope, rtol=1e-4, atol=1e-4)


def test_the_slope_of_the_covariance() -> None:
    squares = np.array([0.01, 0.3, 2.0])
    ahead, behind = matern(squares + 1e-6)[0], matern(squares - 1e-6)[0]
    np.testing.assert_allclose(matern(squares)[1], (ahead - behind) / 2e-6, rtol=1e-6)


def test_a_parameter_without_effect_gets_a_long_length_and_noise_is_found() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((80, 2))
    clean = np.sin(6 * points[:, 0])
    values = clean + rng.normal(0, 0.3, 80)
    values = (values - values.mean()) / values.std()
    process = fit(points, values, np.array([0, 1]))
    assert process.lengths[1] > 4 * process.lengths[0]
    assert 0.05 < process.noise < 0.4  # 0.3^2 over the variance of the values, 0.55: 0.16
    mean, _ = process.posterior(points)
    assert np.corrcoef(mean, clean)[0, 1] > 0.97


def test_points_that_cannot_be_told_apart_are_fitted() -> None:
    process = fit(np.full((6, 2), 0.5), np.array([1.0, -1, 1, -1, 0.5, -0.5]), np.array([0, 1]))
    mean, spread = process.posterior(np.full((1, 2), 0.5))
    assert abs(mean[0]) < 0.2
    assert 0 < spread[0] < 1


def test_what_is_believed_moves_no_mean_and_narrows_the_spread() -> None:
    there = np.array([[0.9, 0.1, 0.9]])
    before, after = PROCESS.posterior(there), PROCESS.believing(there).posterior(there)
    assert after[0] == pytest.approx(before[0], abs=1e-9)
    assert after[1] < 0.5 * before[1]
    assert PROCESS.believing(np.zeros((0, 3))) is PROCESS


@pytest.mark.parametrize("z", [-12.0, -6.0, -4.9, -1.0, 0.0, 2.5])
def test_expected_improvement_is_its_integral(z: float) -> None:
    spread, best = 0.3, 1.1

    def gain(above: float) -> float:  # by how far the value is above the best, in spreads
        return above * math.exp(-((above - z) ** 2) / 2 + min(z, 0) ** 2 / 2)

    whole, _ = quad(gain, 0, max(z, 0) + 12, epsabs=0, epsrel=1e-10)
    expected = math.log(spread * whole / math.sqrt(2 * math.pi)) - min(z, 0) ** 2 / 2
    found = log_expected_improvement(np.array([best + z * spread]), np.array([spread]), best)
    assert found[0] == pytest.approx(expected, abs=0.02 if z < -5 else 1e-6)
