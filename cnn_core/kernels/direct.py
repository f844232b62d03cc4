"""Correlation of images with kernels, row by row: the arithmetic of a convolution, apart from the
layer that uses it.

Lowering with the row outermost. Input row p is lowered once, to an array (C, KW, OW, N) of its
horizontal shifts. Stored one after the other, the KH rows that output row r needs are then one
contiguous matrix (KH * C * KW, OW * N), a view: an image is copied KW times instead of KH * KW
times, borders are zeros that nobody writes, and products read the matrix where it lies.

Each output row is one product a phase of the pooling (or `parts` small ones), whatever rows are
lowered together: a product's shape decides its last bits, so the same seed gives the same bits
whatever the size of blocks and caches.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from cnn_core.axes import Array
from cnn_core.kernels.correlation import Correlation, UseBlock
from cnn_core.kernels.window import Pair, Window
from cnn_core.kernels.workspace import cache_bytes

# OpenBLAS multiplies without packing its operands when m * n * k is at most this (its small-matrix
# kernels). For products of few rows and columns packing costs more than multiplying: a first
# layer's 32 x 25 x 2800 runs at 170 GFLOP/s whole and 209 in four parts, its weight gradient at 84
# and 166 (docs/LOG.md, Speed: convolution).
SMALL_PRODUCT = 1_000_000
FEWEST_COLUMNS = 500  # thinner parts cost more calls than they save


class DirectCorrelation(Correlation):
    """y[f, r, q] = sum over c, i, j of W[f, c, i, j] x[c, r sh + i - top, q sw + j - left], for any
    window.

    A block is one row of pooling windows; the order of the columns costs the lowering nothing.
    """

    def __init__(
        self,
        window: Window,
        kernels: tuple[int, int, int, int],
        dtype: DTypeLike,
        pool: Pair = (1, 1),
    ) -> None:
        super().__init__(window, kernels, dtype, pool)
        (kh, kw), (filters, channels) = window.kernel, kernels[:2]
        self.budget = 4 * cache_bytes()  # of the rows that are lowered together
        self._kernels = np.empty((filters, kh, channels, kw), dtype)
        self._transposed = np.empty((channels, kw, kh, filters), dtype)
        self._shifts = list(self._all_shifts())

    def forward(
        self, x: Array, W: Array, y: Array | None = None, use: UseBlock | None = None
    ) -> None:
        self._begin(x)
        self._kernels[...] = W.transpose(0, 2, 1, 3)
        kernels = self._kernels.reshape(self.filters, -1)
        for first in range(0, self.rows, self.pool[0]):
            block = self._block(y, first, first + self.pool[0])
            for row, values in enumerate(block, first):
                np.matmul(kernels, self._columns(row), out=self._apart(values).swapaxes(1, 2))
            if use is not None:
                use(first, block)

    def gradients(
        self, dx: Array | None, dW: Array, fill: UseBlock, scale: Array | None = None
    ) -> None:
        (ph, pw), (kh, kw) = self.pool, self.window.kernel
        # dx needs all of dy at once, its phases outermost, so that rows lie one under the other.
        rows, _, *row = self.block_shape(ph if dx is None else self.rows, self._x.shape[3])
        dy = self._workspace.take("dy", (pw, rows, *row), self._dtype)
        shape = (pw, self._parts, self._kernels[0].size, self.filters)
        total = self._workspace.take("total", shape, self._dtype)
        product = self._workspace.take("product", shape, self._dtype)
        for first in range(0, self.rows, ph):
            block = (dy if dx is None else dy[:, first : first + ph]).swapaxes(0, 1)
            fill(first, block)
            for at, values in enumerate(block, first):
                # Columns first: the transposed order of the operands runs at half the speed.
                transposed = self._apart(values).transpose(0, 2, 3, 1)
                np.matmul(self._columns(at), transposed, out=product if at else total)
                if at:
                    total += product
        dW[...] = (
            total.sum(axis=(0, 1))
            .reshape(kh, self.channels, kw, self.filters)
            .transpose(3, 1, 0, 2)
        )
        if scale is not None:
            dW *= scale[:, None, None, None]
        if dx is not None:
            self._input_gradient(dx, dy, scale)

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Return S (K,) and G (K, K), float64: the sums of the columns of all output pixels of x,
        and of their products with one another.

        K = KH * C * KW counts in the order of `flat`. A row's products are in the arrays' own type,
        the rows are added up in float64.
        """
        self._begin(x)
        depth, count = self._kernels[0].size, self.width // self.pool[1] * x.shape[3]
        S, G = np.zeros(depth), np.zeros((depth, depth))
        ones = np.ones(count // self._parts, self._x.dtype)
        for row in range(self.rows):
            columns = self._columns(row)
            S += np.matmul(columns, ones).sum(axis=(0, 1), dtype=np.float64)
            G += np.matmul(columns, columns.swapaxes(2, 3)).sum(axis=(0, 1), dtype=np.float64)
        return S, G

    def flat(self, W: Array) -> Array:
        """Return kernels (F, C, KH, KW) as a matrix (F, K) in the order of the columns, by copy."""
        return W.transpose(0, 2, 1, 3).reshape(len(W), -1)

    def unflat(self, matrix: Array) -> Array:
        """Return a matrix (F, K) as kernels (F, C, KH, KW): a view."""
        (kh, kw), filters = self.window.kernel, len(matrix)
        return matrix.reshape(filters, kh, self.channels, kw).transpose(0, 2, 1, 3)

    def _begin(self, x: Array) -> None:
        """Take new images, of which no row is lowered yet."""
        self._x = x
        self._lowered = (0, 0)
        self._parts = self._split(x.shape[3])

    def _input_gradient(self, dx: Array, dy: Array, scale: Array | None) -> None:
        """Each input row p is one product: of the kernel rows i that met it with the rows r = (p +
        top - i) / sh of dy, one under the other in memory. The product's KW rows of a channel are
        then added at their shifts. Nothing is multiplied by padding.
        """
        (kh, kw), sh, top = self.window.kernel, self.window.stride[0], self.window.padding[0]
        # Kernel rows from the last to the first, so that output rows ascend; those of one residue
        # modulo the stride lie side by side.
        descending = sorted(range(kh), key=lambda i: (i % sh, -i))
        self._transposed[...] = self._kernels[:, descending].transpose(2, 3, 1, 0)
        if scale is not None:
            self._transposed *= scale
        transposed = self._transposed.reshape(self.channels * kw, kh * self.filters)
        pw = self.pool[1]
        product = self._workspace.take(
            "spread", (pw, self.channels, kw, self.width // pw, dx.shape[3]), dx.dtype
        )
        for p in range(dx.shape[1]):
            met = [
                at
                for at, i in enumerate(descending)
                if (p + top - i) % sh == 0 and 0 <= (p + top - i) // sh < self.rows
            ]
            row = dx[:, p]
            row.fill(0)
            if met:
                first = (p + top - descending[met[0]]) // sh
                rows = dy[:, first : first + len(met)].reshape(pw, len(met) * self.filters, -1)
                kernels = transposed[:, met[0] * self.filters : (met[-1] + 1) * self.filters]
                np.matmul(kernels, rows, out=product.reshape(pw, self.channels * kw, -1))
                self._add_shifted(product, row)

    def _add_shifted(self, product: Array, row: Array) -> None:
        """Add (pw, C, KW, OW / pw, N) onto an input row (C, W, N): the transpose of `_shift`."""
        for j, phase, low, high, columns in self._shifts:
            row[:, columns] += product[phase, :, j, low:high]

    def _split(self, n: int) -> int:
        """Return into how many parts a phase's columns are cut so that the products take the
        small-matrix kernels; 1 where they cannot.
        """
        work, width = self._kernels.size * n, self.width // self.pool[1]
        for parts in range(1, width + 1):
            if width % parts == 0 and work * (width // parts) <= SMALL_PRODUCT:
                return parts if n * (width // parts) >= FEWEST_COLUMNS else 1
        return 1

    def _apart(self, values: Array) -> Array:
        """Return a row of a block as (pw, F, parts, columns): a view."""
        return values.reshape(self.pool[1], self.filters, self._parts, -1)

    def _columns(self, row: int) -> Array:
        """Return the columns of an output row, (pw, parts, KH * C * KW, columns), lowering its
        block of rows if that is not done.
        """
        first, stop = self._lowered
        if not first <= row < stop:
            self._lower(row)
            first = row
        (kh, kw), start = self.window.kernel, (row - self._lowered[0]) * self.window.stride[0]
        depth = kh * self.channels * kw
        slots = self._slots[start : start + kh]
        return slots.reshape(depth, self.pool[1], self._parts, -1).transpose(1, 2, 0, 3)

    def _lower(self, first: int) -> None:
        """Lower the input rows of as many output rows from `first` on as the budget allows."""
        (kh, kw), (sh, _), n = self.window.kernel, self.window.stride, self._x.shape[3]
        shape = (self.channels, kw, self.pool[1], self.width // self.pool[1], n)
        slot_bytes = int(np.prod(shape)) * self._x.itemsize
        most = max(1, min(self.rows, (self.budget // slot_bytes - kh) // sh + 1))
        # Zeroed once: horizontal borders lie at the same place in every row and are never written.
        self._slots = self._workspace.take(
            "slots", ((most - 1) * sh + kh, *shape), self._x.dtype, zeroed=True
        )
        stop = min(first + most, self.rows)
        top, height = first * sh - self.window.padding[0], self.window.size[0]
        count = (stop - 1 - first) * sh + kh
        above = min(count, max(0, -top))  # rows of padding among the slots
        below = max(above, min(count, height - top))
        self._slots[:above] = 0
        self._slots[below:count] = 0
        if below > above:
            self._shift(self._x[:, top + above : top + below], self._slots[above:below])
        self._lowered = (first, stop)

    def _shift(self, x: Array, slots: Array) -> None:
        """Copy rows of x (C, rows, W, N) into slots (rows, C, KW, pw, OW / pw, N), each kernel
        column and phase shifted.
        """
        for j, phase, low, high, columns in self._shifts:
            slots[:, :, j, phase, low:high] = x[:, :, columns].swapaxes(0, 1)

    def _all_shifts(self) -> Iterator[tuple[int, int, int, int, slice]]:
        """Yield (j, phase, low, high, columns): outputs low to high of a phase meet those input
        columns with kernel column j.
        """
        (_, sw), left, width, phases = (
            self.window.stride,
            self.window.padding[2],
            self.window.size[1],
            self.pool[1],
        )
        step = sw * phases
        for j in range(self.window.kernel[1]):
            for phase in range(phases):
                start = phase * sw + j - left  # the input column of output column q = phase
                low = max(0, -(start // step))
                high = min(self.width // phases, (width - 1 - start) // step + 1)
                if high > low:
                    yield (
                        j,
                        phase,
                        low,
                        high,
                        slice(start + low * step, start + (high - 1) * step + 1, step),
                    )
