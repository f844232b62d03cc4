"""Initial weights: a table of functions from (random stream, shape, fans) to an array.

Fan-in is the number of inputs that one output sums (C * KH * KW of a convolution, the inputs of a
dense layer); fan-out is the number of outputs that one input reaches. Biases start at zero whatever
the name; report 5 drew them like the weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator

from cnn_core.axes import Array, Shape
from cnn_core.errors import InputError


@dataclass(frozen=True)
class Fans:
    """How many inputs an output sums, and how many outputs an input reaches; both at least 1."""

    fan_in: int
    fan_out: int

    def __post_init__(self) -> None:
        if self.fan_in < 1 or self.fan_out < 1:
            raise InputError(
                f"fans: fan_in and fan_out must be at least 1, got fan_in={self.fan_in}, "
                f"fan_out={self.fan_out}"
            )


Initializer: TypeAlias = Callable[[Generator, Shape, Fans], Array]


def zeros(rng: Generator, shape: Shape, fans: Fans) -> Array:
    """Return zeros, float64: every unit of a layer then gets the same gradient, so weights that
    start here do not learn.
    """
    return np.zeros(shape)


def normal(std: float) -> Initializer:
    """Return the initializer N(0, std^2), whatever the fans; the lectures' nets use std 0.01,
    report 5's convolution 0.05.
    """
    if not (math.isfinite(std) and std >= 0):
        raise InputError(f"initializer normal: std must be finite and at least 0, got {std}")

    def draw(rng: Generator, shape: Shape, fans: Fans) -> Array:
        return std * rng.standard_normal(shape)

    return draw


def xavier(rng: Generator, shape: Shape, fans: Fans) -> Array:
    """Draw N(0, 1 / fan_in), float64: the form of the course notes and of report 5.

    It keeps the variance of a linear unit's output equal to that of its inputs. Source: LeCun et
    al., Efficient BackProp (1998), section 4.6; often called Xavier though Glorot's own form
    (`glorot`) counts both fans.
    """
    return math.sqrt(1.0 / fans.fan_in) * rng.standard_normal(shape)


def glorot(rng: Generator, shape: Shape, fans: Fans) -> Array:
    """Draw N(0, 2 / (fan_in + fan_out)), float64: a compromise between keeping activations and
    keeping gradients.

    Source: Glorot and Bengio (2010), equation 12; they draw from the uniform distribution of this
    variance.
    """
    return math.sqrt(2.0 / (fans.fan_in + fans.fan_out)) * rng.standard_normal(shape)


def he(rng: Generator, shape: Shape, fans: Fans) -> Array:
    """Draw N(0, 2 / fan_in), float64: ReLU passes half of its inputs, the factor 2 makes up for it.

    Source: He et al. (2015), equation 10.
    """
    return math.sqrt(2.0 / fans.fan_in) * rng.standard_normal(shape)


def dirac(rng: Generator, shape: Shape, fans: Fans) -> Array:
    """Draw as `he`; then of a convolution's filters, (F, C, KH, KW), the first min(F, C) pass one
    channel on as it is: 1 in the middle of the kernel, or at its end for even sides, and 0
    elsewhere.

    So a deep net begins near the identity. Source: Zagoruyko and Komodakis, DiracNets (2017); in
    this form, beside random filters, in the fastest published trainings on CIFAR-10 (2024).
    """
    W = he(rng, shape, fans)
    if len(shape) == 4:
        filters, channels, rows, columns = shape
        for k in range(min(filters, channels)):
            W[k] = 0
            W[k, k, rows // 2, columns // 2] = 1
    return W


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "normal": normal(0.01),
    "xavier": xavier,
    "glorot": glorot,
    "he": he,
    "dirac": dirac,
}


def initializer(name: str, std: float = 0.01) -> Initializer:
    """Return the initializer of that name; `std` matters to ``normal`` alone. Raises InputError for
    an unknown name.
    """
    if name not in INITIALIZERS:
        raise InputError(f"model.init: must be one of {', '.join(INITIALIZERS)}, got {name!r}")
    return normal(std) if name == "normal" else INITIALIZERS[name]
