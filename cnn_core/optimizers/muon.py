"""Muon: gradient descent whose steps are orthogonal matrices, for the weights within a net."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt

import numpy as np

from cnn_core.axes import Array
from cnn_core.field_checks import setting
from cnn_core.optimizers.optimizer import Optimizer, is_weight, learning_rate, paired
from cnn_core.optimizers.updates import AdamW

# The odd polynomial a x + b x^3 + c x^5: five times over it takes every number between 0.01 and 1
# to between 0.68 and 1.13.
QUINTIC = (3.4445, -4.7750, 2.0315)
MOMENTUM = "momentum"  # the state of an inner weight
TINY = 1e-7  # beside the length of a gradient that may be 0

Arrays = Mapping[str, Array]


def inner_weights(params: Arrays) -> list[str]:
    """Return the names of the weights that are matrices, all but the last of them, the net's head:
    a row is what one filter or unit sums.
    """
    names = [name for name, p in params.items() if is_weight(name) and p.ndim > 1]
    return names[:-1]


class Orthogonalization:
    """Nearly the orthogonal matrix nearest to an m, (rows, columns): ``U V^T`` of ``m = U S V^T``,
    whose singular values lie near 1 instead of at 1.

    ``x <- m / |m|``, then `rounds` times ``x <- a x + (b (x x^T) + c (x x^T)^2) x``, which moves
    the singular values alone: products of matrices take the place of a decomposition. Source:
    Jordan et al., Muon (2024); the iteration goes back to Björck and Bowie (1971).
    """

    def __init__(self, rows: int, columns: int, dtype: np.dtype[np.floating], rounds: int) -> None:
        self._rounds = rounds
        self._turned = rows > columns
        small, large = sorted((rows, columns))
        self._x, self._next = np.empty((2, small, large), dtype)
        self._square, self._polynomial = np.empty((2, small, small), dtype)

    def __call__(self, m: Array) -> Array:
        """Return it, in memory that the next call overwrites."""
        a, b, c = QUINTIC
        x, following, square, polynomial = self._x, self._next, self._square, self._polynomial
        np.divide(m.T if self._turned else m, np.linalg.norm(m) + TINY, out=x)
        for _ in range(self._rounds):
            np.matmul(x, x.T, out=square)
            np.matmul(square, square, out=polynomial)
            polynomial *= c
            square *= b
            polynomial += square
            np.matmul(polynomial, x, out=following)
            x *= a
            x += following
        result: Array = x.T if self._turned else x
        return result


@dataclass
class _Inner:
    """An inner weight and its gradient as they were given, as matrices, and its momentum."""

    given: tuple[Array, Array]
    p: Array
    g: Array
    m: Array
    work: Array
    nearest: Orthogonalization

    def step(self, lr: float, momentum: float, weight_decay: float) -> None:
        self.m *= momentum
        self.m += self.g
        np.multiply(self.m, momentum, out=self.work)
        self.work += self.g
        rows, columns = self.p.shape
        # units that outnumber their inputs move further, so that outputs change alike
        np.multiply(self.nearest(self.work), lr * sqrt(max(1.0, rows / columns)), out=self.work)
        if weight_decay > 0:
            self.p *= 1.0 - lr * weight_decay
        self.p -= self.work


@dataclass(kw_only=True)
class Muon(Optimizer):
    """``m <- mu m + g; w <- w - lr sqrt(max(1, rows / columns)) O(g + mu m)``, O the nearly
    orthogonal matrix nearest to its argument (`Orthogonalization`), for weights within the net.

    A convolution's weights are a matrix of a row per filter. What is no matrix (biases, gamma,
    beta), and the last layer, whose rows are classes, move as with AdamW at the rate ``adam_lr``,
    which the schedule multiplies alike. Source: Jordan et al., Muon (2024).
    """

    lr: float = learning_rate(0.02)
    momentum: float = setting(0.9, "share of past gradients that is kept", low=0, below=1)
    adam_lr: float = setting(0.003, "learning rate of the last layer, biases and norms", above=0)
    weight_decay: float = setting(0.0, "share of a weight lost at a step, times its rate", low=0)
    rounds: int = setting(3, "steps towards an orthogonal matrix; five bring it nearer", low=1)
    _outer: AdamW = field(init=False, repr=False)
    _inner: dict[str, _Inner] = field(default_factory=dict, init=False, repr=False)
    _momenta: dict[str, Array] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._outer = AdamW(lr=self.adam_lr, weight_decay=self.weight_decay)

    def step(self, params: Arrays, grads: Arrays, factor: float = 1.0) -> None:
        pairs = paired(params, grads)
        inner = inner_weights(params)
        outer = [name for name in params if name not in inner]
        self._outer.step({k: params[k] for k in outer}, {k: grads[k] for k in outer}, factor)
        for name in inner:
            weight = self._weight(name, *pairs[name])
            weight.step(self.lr * factor, self.momentum, self.weight_decay)

    def _weight(self, name: str, p: Array, g: Array) -> _Inner:
        """Return the weight with its momentum, which is kept when it gets other memory."""
        known = self._inner.get(name)
        if known is None or known.given[0] is not p or known.given[1] is not g:
            matrix = p.reshape(len(p), -1)
            m = self._momenta.setdefault(name, np.zeros_like(p)).reshape(matrix.shape)
            known = _Inner(
                (p, g),
                matrix,
                g.reshape(matrix.shape),
                m,
                np.empty_like(matrix),
                Orthogonalization(*matrix.shape, p.dtype, self.rounds),
            )
            self._inner[name] = known
        return known

    def state(self) -> dict[str, Array]:
        momenta = {f"{name}:{MOMENTUM}": m.copy() for name, m in self._momenta.items()}
        return {**self._outer.state(), **momenta}

    def load_state(self, state: Arrays) -> None:
        momenta = {key: m for key, m in state.items() if key.endswith(f":{MOMENTUM}")}
        outer = {key: s for key, s in state.items() if key not in momenta}
        first = {key.rpartition(":")[0]: s for key, s in outer.items()}
        if inner := inner_weights(first):
            raise ValueError(
                f"optimizer muon: the state must hold {MOMENTUM!r} alone of weights before the "
                f"last, got those of adamw of {inner[0]!r}"
            )
        self._outer.load_state(outer)
        self._momenta = {key.rpartition(":")[0]: m.copy() for key, m in momenta.items()}
        self._inner = {}
