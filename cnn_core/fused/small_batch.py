"""Convolution, max pooling, bias and ReLU of a small batch in inference: each step is one call for
all rows.

Row by row, as batches are computed, a single image costs some hundred calls of a microsecond each;
at once it costs about ten.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cnn_core.axes import Array
from cnn_core.kernels.window import Pair, Window
from cnn_core.kernels.workspace import Workspace

# Beyond that the columns of a whole batch leave the cache, and rows are quicker (docs/LOG.md,
# Speed: inference).
SMALL_BATCH = 8


class SmallBatchConvolution:
    """y = relu(max pool(W * x) + b) for x (C, H, W, N): one lowering of whole images, one product,
    one maximum per axis of the pooling.
    """

    def __init__(self, window: Window, pool: Pair = (1, 1), relu: bool = False) -> None:
        self.window, self.pool, self.relu = window, pool, relu
        self._workspace = Workspace()
        self._lowered: Array | None = None  # the array that _windows looks into
        self._windows: Array | None = None

    def __call__(self, x: Array, W: Array, bias: Array | None) -> Array:
        """Return y, which belongs to this object until its next call."""
        filters, n, (rows, width) = len(W), x.shape[3], self.window.output
        windows = self._windows_of(self._padded(x))
        columns = self._workspace.take("columns", windows.shape, x.dtype)
        columns[...] = windows
        product = self._workspace.take("product", (filters, rows, width, n), x.dtype)
        np.matmul(
            W.reshape(filters, -1), columns.reshape(W[0].size, -1), out=product.reshape(filters, -1)
        )
        y = self._pooled(product)
        flat = y.reshape(filters, -1)
        if bias is not None:
            flat += bias[:, None]
        if self.relu:
            np.maximum(flat, 0, out=flat)
        return y

    def _padded(self, x: Array) -> Array:
        if not any(self.window.padding):
            return x
        padded = self._workspace.take(
            "padded", (x.shape[0], *self.window.padded, x.shape[3]), x.dtype, zeroed=True
        )
        self.window.interior(padded)[...] = x
        return padded

    def _windows_of(self, padded: Array) -> Array:
        """Return the view (C, KH, KW, OH, OW, N) of all windows; layers reuse their arrays, so it
        is mostly the one of the last call.
        """
        if self._windows is None or self._lowered is not padded:
            (c, _, _, n), (sc, sh, sw, sn) = padded.shape, padded.strides
            (down, right), shape = (
                self.window.stride,
                (c, *self.window.kernel, *self.window.output, n),
            )
            self._windows = as_strided(
                padded, shape, (sc, sh, sw, down * sh, right * sw, sn), writeable=False
            )
            self._lowered = padded
        return self._windows

    def _pooled(self, product: Array) -> Array:
        """Return the maxima of windows that lie side by side; rows and columns that no window
        covers are left out.
        """
        for axis, size in enumerate(self.pool, 1):
            if size > 1:
                count = product.shape[axis] // size
                steps = [
                    product[(slice(None),) * axis + (slice(first, count * size, size),)]
                    for first in range(size)
                ]
                best = self._workspace.take(f"pooled{axis}", steps[0].shape, product.dtype)
                np.maximum(steps[0], steps[1], out=best)
                for step in steps[2:]:
                    np.maximum(best, step, out=best)
                product = best
        return product
