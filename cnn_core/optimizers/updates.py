"""The update rules: gradient descent (plain, with momentum, with Nesterov's), and those that divide
by the size of past gradients (AdaGrad, RMSProp, AdaDelta, Adam, AdamW).
"""

import math
from dataclasses import dataclass

import numpy as np

from cnn_core.axes import Array
from cnn_core.field_checks import setting
from cnn_core.optimizers.optimizer import Optimizer, State, learning_rate


@dataclass(kw_only=True)
class SGD(Optimizer):
    """``w <- w - lr g``."""

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        np.multiply(g, lr, out=work[0])
        p -= work[0]


@dataclass(kw_only=True)
class Momentum(Optimizer):
    """``v <- mu v - lr g; w <- w + v``. Source: Polyak (1964), in the form of Sutskever et al.
    (2013) and of the course notes.
    """

    momentum: float = setting(0.9, "share of the last step that is kept", low=0, below=1)

    def init_one(self, p: Array) -> State:
        return {"v": np.zeros_like(p)}

    def _velocity(self, g: Array, v: Array, lr: float, scaled: Array) -> None:
        """Update v in place and leave lr g in `scaled`."""
        np.multiply(g, lr, out=scaled)
        v *= self.momentum
        v -= scaled

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        self._velocity(g, state["v"], lr, work[0])
        p += state["v"]


@dataclass(kw_only=True)
class Nesterov(Momentum):
    """``v <- mu v - lr g; w <- w + mu v - lr g``, with g taken at w.

    Source: Nesterov (1983), in the form of Bengio et al. (2012), equation 7, where w stands for the
    point looked ahead to; so the weights read between steps are the looked-ahead ones.
    """

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        scaled, ahead = work
        self._velocity(g, state["v"], lr, scaled)
        np.multiply(state["v"], self.momentum, out=ahead)
        p += ahead
        p -= scaled


def divide_by_root(numerator: Array, h: Array, eps: float, outside: bool, out: Array) -> None:
    """Write ``numerator / (sqrt(h) + eps)``, or ``numerator / sqrt(h + eps)``, to `out`, which may
    be neither of the two.
    """
    if outside:
        np.sqrt(h, out=out)
        out += eps
    else:
        np.add(h, eps, out=out)
        np.sqrt(out, out=out)
    np.divide(numerator, out, out=out)


@dataclass(kw_only=True)
class AdaGrad(Optimizer):
    """``h <- h + g^2; w <- w - lr g / (sqrt(h) + eps)``, h from 0.

    Source: Duchi et al. (2011); eps 1e-7 outside the root as in the course notes (whose text says
    1e-4); ``eps_outside=False`` puts it under the root.
    """

    lr: float = learning_rate(0.001)
    eps: float = setting(1e-7, "keeps the divisor above 0", above=0)
    eps_outside: bool = setting(True, "eps is added to the root, not under it")

    def init_one(self, p: Array) -> State:
        return {"h": np.zeros_like(p)}

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        h, scratch = state["h"], work[0]
        np.multiply(g, g, out=scratch)
        h += scratch
        divide_by_root(g, h, self.eps, self.eps_outside, scratch)
        scratch *= lr
        p -= scratch


@dataclass(kw_only=True)
class RMSProp(Optimizer):
    """``h <- rho h + (1 - rho) g^2; w <- w - lr g / (sqrt(h) + eps)``, h from 0.

    Source: Hinton's lecture 6e (2012). eps stands outside the root as in the course notes;
    ``eps_outside=False`` puts it under the root. ``decay=1`` is allowed: h stays 0, a step is lr g
    / eps, and the net saturates, which the course notes show.
    """

    lr: float = learning_rate(0.001)
    decay: float = setting(0.9, "decay of the squared gradient's average", low=0, high=1)
    eps: float = setting(1e-7, "keeps the divisor above 0", above=0)
    eps_outside: bool = setting(True, "eps is added to the root, not under it")

    def init_one(self, p: Array) -> State:
        return {"h": np.zeros_like(p)}

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        h, scratch = state["h"], work[0]
        np.multiply(g, g, out=scratch)
        scratch -= h
        scratch *= 1.0 - self.decay
        h += scratch
        divide_by_root(g, h, self.eps, self.eps_outside, scratch)
        scratch *= lr
        p -= scratch


@dataclass(kw_only=True)
class AdaDelta(Optimizer):
    """``h <- rho h + (1 - rho) g^2; d = sqrt(s + eps) / sqrt(h + eps) g; s <- rho s + (1 - rho)
    d^2; w <- w - lr d``.

    Source: Zeiler (2012), algorithm 1, which has no learning rate: keep lr at 1 for it. eps stands
    under both roots.
    """

    lr: float = learning_rate(1.0)
    decay: float = setting(0.95, "decay of both averages", low=0, below=1)
    eps: float = setting(1e-6, "keeps the divisor above 0", above=0)

    def init_one(self, p: Array) -> State:
        return {"h": np.zeros_like(p), "s": np.zeros_like(p)}

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        h, s = state["h"], state["s"]
        scratch, delta = work
        np.multiply(g, g, out=scratch)
        scratch -= h
        scratch *= 1.0 - self.decay
        h += scratch
        divide_by_root(g, h, self.eps, False, delta)
        np.add(s, self.eps, out=scratch)
        np.sqrt(scratch, out=scratch)
        delta *= scratch
        np.multiply(delta, delta, out=scratch)
        scratch -= s
        scratch *= 1.0 - self.decay
        s += scratch
        delta *= lr
        p -= delta


@dataclass(kw_only=True)
class Adam(Optimizer):
    """``m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2; w <- w - lr m' / (sqrt(v') + eps)``, m' =
    m / (1 - b1^t), v' = v / (1 - b2^t).

    Source: Kingma and Ba (2015), algorithm 1. The course notes add eps (1e-7) to sqrt(v) without
    its correction for the first steps; ``eps_corrected=False`` does so. At eps 1e-8 the two agree
    to float32's last digits unless gradients are nearly 0.
    """

    lr: float = learning_rate(0.001)
    beta1: float = setting(0.9, "decay of the gradient's average", low=0, below=1)
    beta2: float = setting(0.999, "decay of the squared gradient's average", low=0, below=1)
    eps: float = setting(1e-8, "keeps the divisor above 0", above=0)
    eps_corrected: bool = setting(True, "eps is scaled as the second moment in the first steps")

    def init_one(self, p: Array) -> State:
        return {"m": np.zeros_like(p), "v": np.zeros_like(p)}

    def update_one(
        self, p: Array, g: Array, state: State, lr: float, t: int, work: tuple[Array, Array]
    ) -> None:
        m, v, scratch = state["m"], state["v"], work[0]
        np.subtract(g, m, out=scratch)
        scratch *= 1.0 - self.beta1
        m += scratch
        np.multiply(g, g, out=scratch)
        scratch -= v
        scratch *= 1.0 - self.beta2
        v += scratch
        # Both corrections as one factor of the step, so that no pass over the arrays is spent on
        # them.
        root = math.sqrt(1.0 - self.beta2**t)
        eps = self.eps * root if self.eps_corrected else self.eps
        divide_by_root(m, v, eps, True, scratch)
        scratch *= lr * root / (1.0 - self.beta1**t)
        p -= scratch


@dataclass(kw_only=True)
class AdamW(Adam):
    """Adam after ``w <- w - lr * weight_decay * w``, for weights only: biases and batch
    normalisation do not decay.

    Source: Loshchilov and Hutter (2019), algorithm 2, with the decay multiplied by lr as all
    libraries do.
    """

    weight_decay: float = setting(0.01, "share of a weight lost at a step, times lr", low=0)
