"""Winograd's convolution for 3x3 and 5x5 kernels at stride 1: fewer multiplications, as matrix products alone.

F(m x m, k x k) computes a tile of m x m outputs from n x n inputs, n = m + k - 1, with n^2 multiplications for each pair of channel and
filter instead of k^2 m^2:  y = A^T [ (G g G^T) * (B^T d B) ] A.  With a tile as a vector the nested transforms are Kronecker products, so
each is one product of a small matrix with all tiles of a row:

    V = (B^T x B^T) d          (n^2, C, tiles * N)     from the gathered inputs
    U = (G x G) g              (n^2, F, C)             from the kernels
    M = U V                    (n^2, F, tiles * N)     n^2 products, the bulk of the work
    y = (A^T x A^T) M          (m^2, F, tiles * N)     scattered to the output rows

Gradients are the transposes: E = (A x A) dy; dU = E V^T; dV = U^T E; dg = (G^T x G^T) dU; and (B x B) dV is added onto dx.
Sources: Winograd (1980); Lavin and Gray (2016), arXiv:1509.09308. Unlike theirs, the gradient of the kernels takes the same tiles.

Error: the matrices have entries up to 8 and more, so float32 loses a digit or two. `tests/core/test_winograd.py`
holds the largest error, relative to the outputs' spread, under 1e-5 for F(2x2, 3x3) and 1e-4 for F(4x4, 3x3) and F(4x4, 5x5).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from cnn_core.axes import Array
from cnn_core.buffers import Buffers
from cnn_core.columns import Pair, Window
from cnn_core.correlation import FEWEST_COLUMNS, SMALL_PRODUCT, Correlation, DirectCorrelation

# Of tiles n wide, beside infinity; and the tiles of outputs, by kernel, from the largest on.
POINTS = {4: (0, 1, -1), 6: (0, 1, -1, 2, -2), 8: (0, 1, -1, 2, -2, 0.5, -0.5)}
TILES = {3: (4, 2), 5: (4,)}

# From this many pairs of channel and filter on, the saved multiplications outweigh the transforms: with 16 x 16 both algorithms take as
# long, with 16 x 32 to 64 x 64 Winograd needs 0.55 to 0.9 of the direct time, forward and backward (docs/LOG.md).
FEWEST_PAIRS = 512


def transforms(m: int, kernel: int) -> tuple[Array, Array, Array]:
    """Return A^T (m, n), G (n, k) and B^T (n, n), float64, by Toom and Cook's construction on the points of n and infinity."""
    n = m + kernel - 1
    points = POINTS[n]
    at, g, bt = np.zeros((m, n)), np.zeros((n, kernel)), np.zeros((n, n))
    for row, point in enumerate(points):
        others = [p for p in points if p != point]
        at[:, row] = [point**power for power in range(m)]
        g[row] = np.array([point**power for power in range(kernel)]) / np.prod([point - p for p in others])
        bt[row, : n - 1] = np.poly(others)[::-1]
    at[m - 1, n - 1] = g[n - 1, kernel - 1] = 1
    bt[n - 1] = np.poly(points)[::-1]
    return at, g, bt


def tile_of(window: Window, rows: int, width: int, pool: Pair) -> int | None:
    """Return the largest m that divides rows, columns and is a multiple of the pooling window; None where Winograd does not apply."""
    kernel = window.kernel[0]
    if window.kernel != (kernel, kernel) or kernel not in TILES or window.stride != (1, 1):
        return None
    fits = [m for m in TILES[kernel] if rows % m == 0 and width % m == 0 and m % pool[0] == 0 and m % pool[1] == 0]
    return fits[0] if fits else None


def choose_correlation(window: Window, kernels: tuple[int, int, int, int], dtype: DTypeLike, pool: Pair = (1, 1)) -> Correlation:
    """Return the faster algorithm for a layer by the measured rule, which looks at shapes alone: bits do not depend on the machine."""
    rows, width = (size // p * p for size, p in zip(window.output, pool, strict=True))
    m = tile_of(window, rows, width, pool)
    if m is None or kernels[0] * kernels[1] < FEWEST_PAIRS:
        return DirectCorrelation(window, kernels, dtype, pool)
    return WinogradCorrelation(window, kernels, dtype, pool, m)


class WinogradCorrelation:
    """The same correlation as `DirectCorrelation` computes, by tiles of m x m outputs; see `cnn_core.correlation.Correlation`."""

    def __init__(self, window: Window, kernels: tuple[int, int, int, int], dtype: DTypeLike, pool: Pair, m: int) -> None:
        self.window, self.pool, self.m, self.n = window, pool, m, m + window.kernel[0] - 1
        self.filters, self.channels = kernels[:2]
        rows, self.width = (size // p * p for size, p in zip(window.output, pool, strict=True))
        self.tiles = self.width // m
        self.blocks: Sequence[Pair] = [(row, row + m) for row in range(0, rows, m)]
        at, g, bt = transforms(m, window.kernel[0])
        self._inputs, self._kernels, self._outputs = (np.kron(matrix, matrix).astype(dtype) for matrix in (bt, g, at))
        self._columns = self._columns_of_tiles()
        self._buffers = Buffers()
        self._dtype = np.dtype(dtype)

    def load(self, x: Array, W: Array) -> None:
        self._x = x
        flat = np.ascontiguousarray(W.transpose(2, 3, 0, 1)).reshape(self._kernels.shape[1], -1)
        self._U = np.matmul(self._kernels, flat).reshape(-1, self.filters, self.channels)
        self._V_of = -1

    def correlate(self, first: int, stop: int, y: Array) -> None:
        V, pw, m = self._transformed(first), self.pool[1], self.m
        M = self._take("M", self.n**2, self.filters)
        self._products(self._U, V, M)
        tile = self._take("Y", self.filters, m * m)
        self._apply(self._outputs, M.swapaxes(0, 1), tile)
        # Output column q = t m + jj pw + phase lies at (phase, t, jj) in the pooling order.
        tile = tile.reshape(self.filters, m, m // pw, pw, self.tiles, -1)
        y.reshape(self.filters, m, pw, self.tiles, m // pw, -1)[...] = tile.transpose(0, 1, 3, 4, 2, 5)

    def start(self, dx: Array | None, scale: Array | None = None) -> None:
        self._dx, self._scale = dx, scale
        if scale is not None:
            self._U *= scale[:, None]
        self._dU = self._buffers.take("dU", (self.n**2, self.filters, self.channels), self._dtype)
        self._dU.fill(0)
        if dx is not None:
            dx.fill(0)

    def dy_rows(self, first: int, stop: int) -> Array:
        rows: Array = self._buffers.take("dy", (self.m, self.filters, self.width, self._x.shape[3]), self._dtype)
        return rows.swapaxes(0, 1)

    def accumulate(self, first: int, stop: int) -> None:
        pw, m = self.pool[1], self.m
        dy = self._buffers.take("dy", (m, self.filters, self.width, self._x.shape[3]), self._dtype)
        tile = self._take("Y", self.filters, m * m)
        order = dy.reshape(m, self.filters, pw, self.tiles, m // pw, -1).transpose(1, 0, 4, 2, 3, 5)
        tile.reshape(self.filters, m, m // pw, pw, self.tiles, -1)[...] = order
        E = self._take("M", self.n**2, self.filters)
        self._apply(self._outputs.T, tile, E.swapaxes(0, 1))
        V = self._transformed(first)
        product = self._buffers.take("product", self._dU.shape, self._dtype)
        np.matmul(E, V.swapaxes(1, 2), out=product)
        self._dU += product
        if self._dx is not None:
            dV = self._take("dV", self.n**2, self.channels)
            self._products(self._U.swapaxes(1, 2), E, dV)
            self._add_tiles(first, dV, self._dx)

    def finish(self, dW: Array) -> None:
        flat = np.matmul(self._kernels.T, self._dU.reshape(self.n**2, -1))
        dW[...] = flat.reshape(*self.window.kernel, self.filters, self.channels).transpose(2, 3, 0, 1)
        if self._scale is not None:
            dW *= self._scale[:, None, None, None]

    def _take(self, name: str, *shape: int) -> Array:
        return self._buffers.take(name, (*shape, self.tiles * self._x.shape[3]), self._dtype)

    def _transformed(self, first: int) -> Array:
        """Return V of the tiles whose outputs begin at row `first`."""
        V = self._take("V", self.n**2, self.channels)
        if self._V_of != first:
            shape = (self.channels, self.n, self.n, self.tiles, self._x.shape[3])
            d = self._buffers.take("d", shape, self._dtype, zeroed=True)
            inside, rows = self._rows(first)
            d[:, : inside.start] = 0
            d[:, inside.stop :] = 0
            for j, low, high, columns in self._columns:
                d[:, inside, j, low:high] = self._x[:, rows, columns]
            self._apply(self._inputs, d.reshape(self.channels, self.n**2, -1), V.swapaxes(0, 1))
            self._V_of = first
        return V

    def _add_tiles(self, first: int, dV: Array, dx: Array) -> None:
        """Add (B x B) dV onto the input pixels of a row of tiles: the transpose of `_transformed`."""
        d = self._take("dd", self.channels, self.n**2)
        self._apply(self._inputs.T, dV.swapaxes(0, 1), d)
        d = d.reshape(self.channels, self.n, self.n, self.tiles, -1)
        inside, rows = self._rows(first)
        for j, low, high, columns in self._columns:
            dx[:, rows, columns] += d[:, inside, j, low:high]

    def _rows(self, first: int) -> tuple[slice, slice]:
        """Return which rows of the tiles are not padding, and the input rows that they are."""
        start, height = first - self.window.padding[0], self.window.size[0]
        low = min(self.n, max(0, -start))
        high = max(low, min(self.n, height - start))
        return slice(low, high), slice(start + low, start + high)

    def _columns_of_tiles(self) -> list[tuple[int, int, int, slice]]:
        """Return (j, low, high, columns): tile column j of tiles low to high lies in those input columns, m apart."""
        left, width, m = self.window.padding[2], self.window.size[1], self.m
        found = []
        for j in range(self.n):
            start = j - left
            low = max(0, -(start // m))
            high = min(self.tiles, (width - 1 - start) // m + 1)
            if high > low:
                found.append((j, low, high, slice(start + low * m, start + (high - 1) * m + 1, m)))
        return found

    def _apply(self, matrix: Array, tiles: Array, out: Array) -> None:
        """Write matrix @ tiles into out, channel by channel: (P, Q) with (channels, Q, columns) to (channels, P, columns)."""
        np.matmul(matrix, tiles, out=out)

    def _products(self, left: Array, right: Array, out: Array) -> None:
        """Write the n^2 products into out, in parts that take BLAS's small-matrix kernels where that pays."""
        positions, rows, depth = left.shape
        columns = right.shape[2]
        parts = next((p for p in range(1, self.tiles + 1) if self.tiles % p == 0 and rows * depth * columns // p <= SMALL_PRODUCT), 1)
        if columns // parts < FEWEST_COLUMNS // 5:
            parts = 1
        split = (a.reshape(positions, -1, parts, columns // parts).swapaxes(1, 2) for a in (right, out))
        right_parts, out_parts = split
        np.matmul(left[:, None], right_parts, out=out_parts)
