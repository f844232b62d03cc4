"""Regression by a Gaussian process: what a smooth function may be elsewhere, given noisy values of
it at a few points.

Covariance ``k(a, b) = (1 + q + q^2 / 3) exp(-q)`` with ``q = sqrt(5) r`` and ``r^2 = sum over j of
|a_j - b_j|^2 / l_j^2`` (Matern, smoothness 5/2; Rasmussen and Williams 2006, equation 4.17), one
length l_j for each parameter, which may have several coordinates. Values have mean 0 and variance
1. The lengths and the noise's variance are the most probable ones (equations 5.8 and 5.9), with
these priors: ``log l_j ~ N(log(1/2) + log(parameters) / 2, 1)``, so that more parameters make a
smoother function, and ``log noise ~ N(-4, 1)`` (in the form of Hvarfner, Hellsten, Nardi 2024,
whose lengths are longer).
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_ndtr

Floats = NDArray[np.float64]
LENGTH, LENGTH_SPREAD2 = 0.5, 1.0  # median for one parameter, and variance of the logarithm
NOISE_MEAN, NOISE_SPREAD2 = -4.0, 1.0  # of the logarithm of the noise's variance
LOG_LENGTHS = (math.log(0.01), math.log(1000))
LOG_NOISES = (math.log(1e-5), 0.0)


@dataclass(frozen=True)
class GaussianProcess:
    """A fitted process: `points` (n, coordinates), of which coordinate c belongs to parameter
    `parameter_of[c]`; `values` (n,); `lengths` (parameters,).
    """

    points: Floats
    values: Floats
    parameter_of: NDArray[np.int64]
    lengths: Floats
    noise: float

    def posterior(self, points: Floats) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of the function, noise left out, at (m, coordinates)
        (equations 2.25 and 2.26).
        """
        across = matern(_squares(self._scaled(points), self._scaled(self.points)))[0]
        root = solve_triangular(self._cholesky[0], across.T, lower=True, check_finite=False)
        variance = 1.0 - np.einsum("nm,nm->m", root, root)
        return across @ self._alpha, np.sqrt(np.maximum(variance, 1e-12))

    def believing(self, points: Floats) -> "GaussianProcess":
        """Return the process as if its own mean had been seen at these points: what is being tried
        there is not worth trying once more (Ginsbourger et al. 2010, the kriging believer).
        """
        if not len(points):
            return self
        return GaussianProcess(
            np.concatenate([self.points, points]),
            np.concatenate([self.values, self.posterior(points)[0]]),
            self.parameter_of,
            self.lengths,
            self.noise,
        )

    def _scaled(self, points: Floats) -> Floats:
        scaled: Floats = points / self.lengths[self.parameter_of]
        return scaled

    @cached_property
    def _cholesky(self) -> tuple[Floats, bool]:
        scaled = self._scaled(self.points)
        covariance = matern(_squares(scaled, scaled))[0]
        covariance[np.diag_indices_from(covariance)] += self.noise
        factor, lower = cho_factor(covariance, lower=True, check_finite=False)
        return factor, bool(lower)

    @cached_property
    def _alpha(self) -> Floats:
        solved: Floats = cho_solve(self._cholesky, self.values, check_finite=False)
        return solved


def fit(points: Floats, values: Floats, parameter_of: NDArray[np.int64]) -> GaussianProcess:
    """Return the process with the most probable lengths and noise; values (n,) should have mean 0
    and variance 1.
    """
    parameters = int(parameter_of.max()) + 1
    apart = np.stack(
        [_squares(own, own) for own in (points[:, parameter_of == j] for j in range(parameters))]
    )
    bounds = [*[LOG_LENGTHS] * parameters, LOG_NOISES]
    best = minimize(
        _cost, _prior_means(parameters), (apart, values), "L-BFGS-B", True, bounds=bounds
    ).x
    lengths, noise = np.exp(best[:-1]), math.exp(best[-1])
    return GaussianProcess(points, values, parameter_of, lengths, noise)


def matern(squares: Floats) -> tuple[Floats, Floats]:
    """Return the covariance at these squared distances r^2, and its derivative by r^2."""
    q = np.sqrt(5 * squares)
    decay = np.exp(-q)
    return (1 + q + q**2 / 3) * decay, -5 / 6 * (1 + q) * decay


def _prior_means(parameters: int) -> Floats:
    """Return the logarithms of lengths and noise that are expected before any value is seen."""
    usual = math.log(LENGTH * math.sqrt(parameters))
    return np.append(np.full(parameters, usual), NOISE_MEAN)


def _squares(first: Floats, second: Floats) -> Floats:
    """Return squared distances (n, m) of (n, coordinates) and (m, coordinates)."""
    lengths = np.add.outer((first**2).sum(axis=1), (second**2).sum(axis=1))
    squares: Floats = np.maximum(lengths - 2 * first @ second.T, 0.0)
    return squares


def _cost(theta: Floats, apart: Floats, values: Floats) -> tuple[float, Floats]:
    """Return minus the logarithm of values' and priors' density, up to a constant, and its
    gradient; theta holds the logarithms of lengths and noise, `apart` (parameters, n, n) the
    squared distances by parameter.
    """
    shares, noise = np.exp(-2 * theta[:-1]), math.exp(theta[-1])
    covariance, slope = matern(np.tensordot(shares, apart, axes=1))
    covariance[np.diag_indices_from(covariance)] += noise
    factor = cho_factor(covariance, lower=True, check_finite=False)
    alpha = cho_solve(factor, values, check_finite=False)
    inverse = cho_solve(factor, np.eye(len(values)), check_finite=False)
    cost = 0.5 * float(values @ alpha) + float(np.log(np.diag(factor[0])).sum())
    uphill = 0.5 * (inverse - np.outer(alpha, alpha))  # by the covariance
    by_share = np.tensordot(apart, uphill * slope, axes=2)
    gradient = np.append(-2 * shares * by_share, noise * float(np.trace(uphill)))
    means = _prior_means(len(shares))
    spreads = np.append(np.full(len(shares), LENGTH_SPREAD2), NOISE_SPREAD2)
    away = theta - means
    cost += float((away**2 / spreads).sum()) / 2
    return cost, gradient + away / spreads


def log_expected_improvement(mean: Floats, spread: Floats, best: float) -> Floats:
    """Return ``log E max(f - best, 0)`` of f ~ N(mean, spread^2): ``log spread + log(phi(z) + z
    Phi(z))`` with ``z = (mean - best) / spread`` (Jones, Schonlau, Welch 1998); far below the best
    by its expansion ``phi(z) / (z^2 + 3)``, which does not vanish.
    """
    z = (mean - best) / spread
    log_phi = -(z**2) / 2 - math.log(2 * math.pi) / 2
    near = np.maximum(z, -5.0)
    whole = np.exp(-(near**2) / 2) / math.sqrt(2 * math.pi) + near * np.exp(log_ndtr(near))
    found: Floats = np.log(spread) + np.where(z > -5, np.log(whole), log_phi - np.log(z**2 + 3))
    return found
