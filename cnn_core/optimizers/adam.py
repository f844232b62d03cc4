"""Adam, and Adam with decoupled weight decay."""

import math
from dataclasses import dataclass

import numpy as np

from cnn_core.axes import Array
from cnn_core.optimizers.adaptive import divide_by_root
from cnn_core.optimizers.optimizer import Optimizer, State, learning_rate
from cnn_core.setting import setting


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
