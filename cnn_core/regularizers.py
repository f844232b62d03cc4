"""Penalties on weights, and gradient clipping."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from cnn_core.axes import Array
from cnn_core.kernels.workspace import Workspace
from cnn_core.optimizers.optimizer import is_weight
from cnn_core.spec import RegularizerSpec


def add_penalty_gradient(
    params: Mapping[str, Array], grads: Mapping[str, Array], spec: RegularizerSpec, work: Workspace
) -> None:
    """Add the gradient of ``l1 * sum |W| + l2 / 2 * sum W^2``, ``l1 * sign(W) + l2 * W``, to the
    weights' gradients, in place.

    At W = 0 the derivative of |W| is taken as 0. Weights are the names that end in .W.
    """
    for name, p in params.items():
        if is_weight(name):
            slope = work.take("slope", p.shape, p.dtype)
            if spec.l1:
                np.sign(p, out=slope)
                slope *= spec.l1
                np.add(grads[name], slope, out=grads[name])
            if spec.l2:
                np.multiply(p, spec.l2, out=slope)
                np.add(grads[name], slope, out=grads[name])


def global_norm(arrays: Iterable[Array]) -> float:
    """Return the Euclidean norm of all arrays taken as one vector."""
    return math.sqrt(sum(map(_square_sum, arrays)))


def _square_sum(array: Array) -> float:
    """Return the sum of squares, recomputed in float64 where float32 cannot hold it: clipping must
    work for a gradient of 1e20 too.
    """
    total = float(np.vdot(array, array))
    return total if math.isfinite(total) else float(np.square(array, dtype=np.float64).sum())


def clip_by_global_norm(grads: Mapping[str, Array], limit: float) -> float:
    """Scale all gradients, in place and by one factor, to a global norm of at most `limit`; return
    the norm before.

    Source: Pascanu et al. (2013), algorithm 1. A norm that is not finite leaves the gradients as
    they are.
    """
    norm = global_norm(grads.values())
    if limit < norm < math.inf:
        for g in grads.values():
            g *= limit / norm
    return norm
