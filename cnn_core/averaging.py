"""The moving average of weights, and batch normalisation's statistics recomputed for averaged
weights.
"""

from collections.abc import Callable, Mapping

import numpy as np

from cnn_core.axes import Array
from cnn_core.checkpoint import Weights, copies
from cnn_core.layers.normalization import BatchNormalization
from cnn_core.model import Sequential


def decay_at(step: int, decay: float) -> float:
    """Return ``min(decay, (1 + step) / (10 + step))``, step from 1: early averages forget the
    initial weights.

    Source: the moving average of TensorFlow, which goes back to Polyak and Juditsky (1992).
    """
    return min(decay, (1 + step) / (10 + step))


class MovingAverage:
    """``a <- d a + (1 - d) w`` after every step, for parameters and buffers, in place."""

    def __init__(
        self,
        params: Mapping[str, Array],
        buffers: Mapping[str, Array],
        decay: float,
        start: Weights | None,
    ) -> None:
        self.decay = decay
        given = start if start is not None else Weights(dict(params), dict(buffers))
        self._averages = Weights(copies(given.params), copies(given.buffers))
        live = [*params.items(), *buffers.items()]
        averages = {**self._averages.params, **self._averages.buffers}
        self._triples = [(averages[name], array, np.empty_like(array)) for name, array in live]

    def update(self, step: int) -> None:
        """Move the average towards the live arrays, after `step` steps."""
        share = 1.0 - decay_at(step, self.decay)
        for average, array, work in self._triples:
            np.subtract(array, average, out=work)
            work *= share
            average += work

    def weights(self) -> Weights:
        """Return copies of the current averages."""
        return Weights(copies(self._averages.params), copies(self._averages.buffers))


def recompute_statistics(
    model: Sequential, batches: int, draw: Callable[[int], Array]
) -> dict[str, Array]:
    """Recompute the running statistics as the plain mean over `batches` batches; return the model's
    buffers, which the model keeps too.

    draw(i) returns the i-th input, (C, H, W, N). Averaged weights (or folds averaged together) have
    other statistics, which the averaged buffers only approximate. Source: Izmailov et al. (2018),
    section 3.2. The model must be a plain one, not fused.
    """
    layers = [layer for layer in model.layers if isinstance(layer, BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    try:
        for i in range(batches if layers else 0):
            for layer in layers:
                layer.momentum = i / (i + 1)
            model.forward(draw(i), training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    return copies(model.buffers)
