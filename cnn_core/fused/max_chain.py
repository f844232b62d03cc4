"""The elementwise maximum of several arrays, pair by pair, and its gradient."""

from collections.abc import Sequence

import numpy as np

from cnn_core.axes import Array


def chained_max(steps: Sequence[Array], best: Array, mask: Array | None) -> None:
    """Write the maximum of `steps` into best, and into mask[k - 1], bool, where step k exceeds all
    before it.

    Each comparison is strict, so of equal values the first counts, as in `MaxPooling`. Without
    `mask` only the maximum is taken.
    """
    if len(steps) == 1:
        best[...] = steps[0]
        return
    highest = steps[0]
    for k, step in enumerate(steps[1:]):
        if mask is not None:
            np.less(highest, step, out=mask[k])
        np.maximum(highest, step, out=best)
        highest = best


def route_gradient(gradient: Array, mask: Array, steps: Sequence[Array], work: Array) -> None:
    """Write the gradient into the step that held the maximum, zeros into the others; `work`, of the
    gradient's shape or the gradient itself, is overwritten.

    From the last step to the first: one that exceeds all before it takes the whole gradient.
    """
    if len(steps) == 1:
        if steps[0] is not gradient:
            steps[0][...] = gradient
        return
    for k in range(len(steps) - 1, 0, -1):
        np.multiply(gradient, mask[k - 1], out=steps[k])
        np.subtract(gradient, steps[k], out=work if k > 1 else steps[0])
        gradient = work
