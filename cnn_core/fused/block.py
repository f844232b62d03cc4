"""Convolution, max pooling, bias, ReLU and dropout, fused into one pass over rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnn_core.axes import Array
from cnn_core.fused.small_batch import SMALL_BATCH, SmallBatchConvolution
from cnn_core.kernels.window import Pair
from cnn_core.kernels.winograd import choose_correlation
from cnn_core.layers.convolution import Convolution
from cnn_core.layers.dropout import Dropout
from cnn_core.layers.layer import Layer
from cnn_core.layers.pooling import MaxPooling


class ConvolutionBlock(Layer):
    """y = dropout(relu(max pool(W * x) + b)): what convolution, bias, ReLU and max pooling give in
    either order.

    Bias and ReLU do not decrease, so they commute with the maximum and work on a pooled row; the
    row of the convolution is pooled while it is in cache and never leaves it. Kept for backward are
    the pooled output and the max-pool mask, one byte per comparison. ReLU is positively
    homogeneous, so kernels and bias carry dropout's 1 / P(keep); and what dropout or ReLU set to
    zero is zero in y, so one comparison masks the gradient of both. W, b and their gradients are
    the plain layers' own arrays.
    """

    kind = "convolution"

    def __init__(
        self,
        convolution: Convolution,
        pooling: MaxPooling | None,
        relu: bool,
        dropout: Dropout | None,
    ) -> None:
        super().__init__()
        self.convolution, self.pooling = convolution, pooling
        self.relu, self.dropout = relu, dropout
        self.name, self.params, self.grads = convolution.name, convolution.params, convolution.grads
        self.needs_input_gradient = convolution.needs_input_gradient
        self.in_shape = convolution.in_shape
        self.out_shape = pooling.out_shape if pooling else convolution.out_shape
        self.pool: Pair = pooling.size if pooling else (1, 1)
        W = self.params["W"]
        self.correlation = choose_correlation(convolution.window, W.shape, W.dtype, self.pool)
        self._small_batch = SmallBatchConvolution(convolution.window, self.pool, relu)
        self._row_of_ones: Array = np.ones(0)
        self._scale = 1.0

    def forward(self, x: Array, *, training: bool) -> Array:
        keep = (
            self.dropout.draw((*self.out_shape, x.shape[3])) if training and self.dropout else None
        )
        self._scale = self.dropout.scale if training and self.dropout else 1.0
        W, bias = self.params["W"], self.params.get("b")
        if self._scale != 1:
            W, bias = W * self._scale, None if bias is None else bias * self._scale
        return self.run(x, W, bias, self._pool_mask(x.shape[3]) if training else None, keep)

    def run(
        self,
        x: Array,
        W: Array,
        bias: Array | None,
        mask: Array | None = None,
        keep: Array | None = None,
    ) -> Array:
        """Return relu(max pool(W * x) + bias), times dropout's `keep`; the max-pool `mask` is
        written for backward.
        """
        if mask is None and x.shape[3] <= SMALL_BATCH:
            return self._small_batch(x, W, bias)
        y = self._workspace.take("y", (*self.out_shape, x.shape[3]), x.dtype)
        zeros, pooled = self._zeros(x), self._row(x)

        def use(first: int, block: Array) -> None:
            for row, steps in self._windows(first, block):
                chained_max(steps, pooled, None if mask is None else mask[row])
                if bias is not None:
                    np.add(pooled, bias[:, None], out=pooled)
                out = y[:, row].reshape(len(W), -1)
                if self.relu:
                    np.maximum(pooled, zeros, out=out if keep is None else pooled)
                else:
                    np.copyto(out, pooled)
                if keep is not None:
                    np.multiply(pooled, keep[:, row].reshape(len(W), -1), out=out)

        self.correlation.forward(x, W, use=use)
        return y

    def backward(self, dy: Array) -> Array:
        dx, db = self._backpropagate(dy)
        if "b" in self.grads:
            self.grads["b"][...] = db
        if self._scale != 1:
            for gradient in self.grads.values():
                gradient *= self._scale
        return dx

    def _backpropagate(self, dy: Array) -> tuple[Array, Array]:
        """Write the gradient of the kernels that were used; return dx and the gradient of the bias
        that was, (F,) float64.
        """
        filters, n = self.out_shape[0], dy.shape[3]
        y = self._workspace.take("y", dy.shape, dy.dtype)
        mask, db, work = self._pool_mask(n), np.zeros(filters), self._row(dy)
        dx = self._workspace.take("dx", (*self.in_shape, n), dy.dtype)

        def fill(first: int, block: Array) -> None:
            for row, steps in self._windows(first, block):
                gradient = dy[:, row].reshape(filters, -1)
                if self.relu:  # without pooling it goes to where it is needed
                    out = steps[0] if len(steps) == 1 else work
                    gradient = self._relu_gradient(gradient, y[:, row].reshape(filters, -1), out)
                np.add(db, np.vecdot(gradient, self._ones(gradient)), out=db)
                route_gradient(gradient, mask[row], steps, work)

        self.correlation.gradients(dx if self.needs_input_gradient else None, self.grads["W"], fill)
        return dx, db

    def _relu_gradient(self, gradient: Array, y: Array, out: Array) -> Array:
        """Write the gradient to out, zeros where y is zero by ReLU or dropout; return out."""
        positive = np.greater(y, 0, out=self._workspace.take("positive", y.shape, np.bool_))
        return np.multiply(gradient, positive, out=out)

    def _windows(self, first: int, block: Array) -> list[tuple[int, list[Array]]]:
        """Return each pooled row of a block with the pixels of its windows, ph * pw arrays (F, PW *
        N).
        """
        (ph, pw), (filters, rows) = self.pool, block.shape[:2]
        taps = [(i, j) for i in range(ph) for j in range(pw)]
        phases = [block[:, row].reshape(filters, pw, -1) for row in range(rows)]
        return [
            ((first + row) // ph, [phases[row + i][:, j] for i, j in taps])
            for row in range(0, rows, ph)
        ]

    def _pool_mask(self, n: int) -> Array:
        """Return the max-pool mask, (PH, ph * pw - 1, F, PW * N) bool; see `chained_max`."""
        filters, rows, width = self.out_shape
        return self._workspace.take(
            "mask", (rows, self.pool[0] * self.pool[1] - 1, filters, width * n), np.bool_
        )

    def _row(self, like: Array) -> Array:
        """Return a pooled row to work in, (F, PW * N): in one piece, while the filters of a row of
        y lie on pages far apart.
        """
        return self._workspace.take(
            "row", (self.out_shape[0], self.out_shape[2] * like.shape[3]), like.dtype
        )

    def _zeros(self, x: Array) -> Array:
        """Return a pooled row of zeros: a maximum with an array is three times as fast as with a
        number.
        """
        return self._workspace.take(
            "zeros", (self.out_shape[2] * x.shape[3],), x.dtype, zeroed=True
        )

    def _ones(self, rows: Array) -> Array:
        """Return as many ones as a row is long: a sum as the product with them is BLAS's, and
        several times as fast.
        """
        if self._row_of_ones.size < rows.shape[1] or self._row_of_ones.dtype != rows.dtype:
            self._row_of_ones = np.ones(rows.shape[1], rows.dtype)
        return self._row_of_ones[: rows.shape[1]]

    def describe(self) -> dict[str, Any]:
        parts = [self.convolution, self.pooling, self.dropout]
        return {key: value for part in parts if part for key, value in part.describe().items()}

    def multiply_adds(self) -> int:
        return self.convolution.multiply_adds()


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
