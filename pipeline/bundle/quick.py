"""A bundle's nets computed by cnn_core's convolutions: what predict.py computes with NumPy alone, to rounding, and faster."""

from collections.abc import Mapping, Sequence

import numpy as np

from cnn_core.columns import Window
from cnn_core.correlation import Correlation
from cnn_core.winograd import choose_correlation
from pipeline.bundle.operations import Net
from pipeline.bundle.predictor import Bundle
from pipeline.bundle.reading import Array, Operation

BATCH = 100  # images computed at once: with fewer, the calls for small tiles cost too much (docs/LOG.md)
Correlations = dict[tuple[Window, tuple[int, ...]], Correlation]  # working memory of each shape, which one net at a time uses


class QuickNet(Net):
    """A net whose convolutions take the faster algorithm for their shapes: Winograd's or rows lowered one by one."""

    def __init__(self, operations: Sequence[Operation], arrays: Mapping[str, Array], shared: Correlations | None = None) -> None:
        super().__init__(operations, arrays)
        self._correlations: Correlations = {} if shared is None else shared

    def apply(self, x: Array, operation: Operation) -> Array:
        if operation["op"] != "convolution":
            return super().apply(x, operation)
        W, b = self.arrays[operation["W"]], self.arrays[operation["b"]][:, None, None, None]
        correlation, (rows, columns) = self._correlation(x, operation, W)
        correlation.load(x, W)
        y = np.empty((len(W), rows, columns, x.shape[3]), np.float32)
        for first, stop in correlation.blocks:
            block = y[:, first:stop]
            correlation.correlate(first, stop, block)
            block += b
            if operation.get("relu"):
                np.maximum(block, np.float32(0), out=block)
        return y

    def _correlation(self, x: Array, operation: Operation, W: Array) -> tuple[Correlation, tuple[int, int]]:
        stride, padding = tuple(operation["stride"]), tuple(operation["padding"])
        window = Window((W.shape[2], W.shape[3]), stride, padding, (x.shape[1], x.shape[2]))
        if (window, W.shape) not in self._correlations:
            self._correlations[window, W.shape] = choose_correlation(window, W.shape, np.float32)
        return self._correlations[window, W.shape], window.output


def quicken(bundle: Bundle) -> Bundle:
    """Return the bundle with quick nets; for one thread, since they share their working memory."""
    shared: Correlations = {}
    return Bundle(bundle.manifest, [[QuickNet(net.operations, net.arrays, shared) for net in nets] for nets in bundle.nets], BATCH)
