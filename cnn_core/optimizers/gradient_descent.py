"""Gradient descent: plain, with momentum, with Nesterov's momentum."""

from dataclasses import dataclass

import numpy as np

from cnn_core.axes import Array
from cnn_core.optimizers.optimizer import Optimizer, State
from cnn_core.setting import setting


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
