"""Convolution, max pooling, bias, ReLU and dropout, fused into one pass over rows."""

from typing import Any

import numpy as np

from cnn_core.axes import Array, Shape
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
    row of the convolution is pooled while it is in cache and never leaves it. Kept for backward is
    the routing, a byte for each pixel of a pooling window: whether the gradient of y reaches it,
    which ReLU, dropout and the maximum have to allow. So backward is one product a pixel. ReLU is
    positively homogeneous, so kernels and bias carry dropout's 1 / P(keep). W, b and their
    gradients are the plain layers' own arrays.
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
        # Whether y and dx are (H, C, W, N) in memory, as the neighbouring block reads them.
        self.y_by_rows = self.dx_by_rows = False
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
        return self.run(x, W, bias, self._routing(x.shape[3]) if training else None, keep)

    def run(
        self,
        x: Array,
        W: Array,
        bias: Array | None,
        routing: Array | None = None,
        keep: Array | None = None,
    ) -> Array:
        """Return relu(max pool(W * x) + bias), times dropout's `keep`; the `routing` is written for
        backward.
        """
        if routing is None and x.shape[3] <= SMALL_BATCH:
            return self._small_batch(x, W, bias)
        y = self._y(x)
        zeros, pooled = self._zeros(x), self._row(x)

        def use(first: int, block: Array) -> None:
            for row, windows in self._windows(first, block):
                routed = None if routing is None else routing[row]
                kept = None if keep is None else keep[:, row].reshape(len(W), -1)
                chained_max(windows, pooled, routed)
                if bias is not None:
                    np.add(pooled, bias[:, None], out=pooled)
                if routed is not None:
                    self._route(pooled, routed, kept)
                self._leave(pooled, zeros, kept, y[:, row].reshape(len(W), -1))

        self.correlation.forward(x, W, use=use)
        return y

    def _route(self, pooled: Array, routed: Array, kept: Array | None) -> None:
        """Turn a row's comparisons into its routing. `kept`, a row of what dropout has drawn for
        this batch alone, is overwritten: it becomes what ReLU leaves of it.
        """
        if self.relu:
            np.greater(pooled, 0, out=routed[0, 0])
        else:
            routed[0, 0] = True
        if kept is not None:
            np.logical_and(kept, routed[0, 0], out=kept)
            routed[0, 0] = kept
        route(routed)

    def _leave(self, pooled: Array, zeros: Array, kept: Array | None, out: Array) -> None:
        """Write what ReLU and dropout leave of a pooled row to out; `pooled` is used up."""
        if not self.relu:  # without it nothing is dropped: dropout is joined behind ReLU alone
            np.copyto(out, pooled)
            return
        np.maximum(pooled, zeros, out=out if kept is None else pooled)
        if kept is not None:
            np.multiply(pooled, kept, out=out)

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
        routing, db = self._routing(n), np.zeros(filters)
        dx = self._dx(dy)

        def fill(first: int, block: Array) -> None:
            for row, windows in self._windows(first, block):
                np.multiply(dy[:, row].reshape(filters, -1), routing[row], out=windows)
            flat = block.reshape(*block.shape[:3], -1)
            sums = np.vecdot(flat, self._ones(flat))
            np.add(db, sums.sum(axis=(0, 1), dtype=np.float64), out=db)

        self.correlation.gradients(dx if self.needs_input_gradient else None, self.grads["W"], fill)
        return dx, db

    def _windows(self, first: int, block: Array) -> list[tuple[int, Array]]:
        """Return each pooled row of a block with the pixels of its windows, (ph, pw, F, PW * N)."""
        ph, flat = self.pool[0], block.reshape(*block.shape[:3], -1)
        return [((first + row) // ph, flat[row : row + ph]) for row in range(0, len(block), ph)]

    def _y(self, like: Array) -> Array:
        """Return the array of the outputs, (F, PH, PW, N)."""
        return self._images("y", self.out_shape, like, self.y_by_rows)

    def _dx(self, like: Array) -> Array:
        """Return the array of the input gradient, (C, H, W, N)."""
        return self._images("dx", self.in_shape, like, self.dx_by_rows)

    def _images(self, name: str, shape: Shape, like: Array, by_rows: bool) -> Array:
        channels, rows, width = shape
        n, take = like.shape[3], self._workspace.take
        if by_rows:
            return take(name, (rows, channels, width, n), like.dtype).swapaxes(0, 1)
        return take(name, (channels, rows, width, n), like.dtype)

    def _routing(self, n: int) -> Array:
        """Return the array that says where gradients go, (PH, ph, pw, F, PW * N) bool: see
        `route`.
        """
        filters, rows, width = self.out_shape
        shape = (rows, *self.pool, filters, width * n)
        return self._workspace.take("routing", shape, np.bool_)

    def _row(self, like: Array) -> Array:
        """Return a pooled row to work in, (F, PW * N): in one piece, while the filters of a row of
        y may lie on pages far apart.
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
        length = rows.shape[-1]
        if self._row_of_ones.size < length or self._row_of_ones.dtype != rows.dtype:
            self._row_of_ones = np.ones(length, rows.dtype)
        return self._row_of_ones[:length]

    def describe(self) -> dict[str, Any]:
        parts = [self.convolution, self.pooling, self.dropout]
        return {key: value for part in parts if part for key, value in part.describe().items()}

    def multiply_adds(self) -> int:
        return self.convolution.multiply_adds()


def pixels_of(windows: Array) -> list[Pair]:
    """Return the places (i, j) of a window's pixels, row by row."""
    return [(i, j) for i in range(windows.shape[0]) for j in range(windows.shape[1])]


def chained_max(windows: Array, best: Array, exceeds: Array | None) -> None:
    """Write the maxima of `windows` (ph, pw, F, L) over the first two axes into best (F, L), and
    into ``exceeds[i, j]``, bool, where pixel (i, j) exceeds all before it; ``exceeds[0, 0]`` is
    left alone.

    Each comparison is strict, so of equal values the first counts, as in `MaxPooling`. Without
    `exceeds` only the maximum is taken.
    """
    first, *rest = pixels_of(windows)
    if not rest:
        best[...] = windows[first]
        return
    highest = windows[first]
    for pixel in rest:
        if exceeds is not None:
            np.less(highest, windows[pixel], out=exceeds[pixel])
        np.maximum(highest, windows[pixel], out=best)
        highest = best


def route(exceeds: Array) -> None:
    """Turn what `chained_max` wrote into the routing: for each pixel of a window, whether the
    gradient goes to it. ``exceeds[0, 0]`` says on entry whether it goes anywhere.

    The maximum is the last pixel that exceeds all before it: from the last to the first, a pixel
    takes what is left, and leaves nothing where it took.
    """
    first, *rest = pixels_of(exceeds)
    left = exceeds[first]
    for pixel in reversed(rest):
        np.bitwise_and(exceeds[pixel], left, out=exceeds[pixel])
        np.bitwise_xor(left, exceeds[pixel], out=left)
