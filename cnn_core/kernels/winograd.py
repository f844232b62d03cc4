"""Convolutions with fewer multiplications, by Winograd's algorithm on tiles of an image, and the
rule that chooses between it and the direct one.

Source: Lavin and Gray (2016), Fast Algorithms for Convolutional Neural Networks.
"""

from collections.abc import Iterator
from math import gcd, lcm

import numpy as np
from numpy.typing import DTypeLike

from cnn_core.axes import Array
from cnn_core.kernels.correlation import Correlation, UseBlock
from cnn_core.kernels.direct import DirectCorrelation
from cnn_core.kernels.tiles import Strip, TileAxis, strips, transforms
from cnn_core.kernels.window import Pair, Window

TILES = {3: (5, 4, 2), 5: (4,)}  # outputs of a tile along an axis, by kernel

# From this many pairs of channel and filter on, the saved multiplications outweigh the transforms:
# 8 x 8 takes 0.8 to 0.9 of the direct time, 8 x 16 0.6 to 0.8, 32 x 32 to 64 x 64 about half,
# forward and backward (docs/LOG.md, Speed: convolution).
FEWEST_PAIRS = 128
# A matrix times a transposed one runs at half the speed of products of 64 x 64 pairs; fewer cost
# less than the transposing copy.
FEWEST_PAIRS_TO_TRANSPOSE = 2048
# A patch's products have about this many columns: with more, V and M leave the second-level cache;
# with fewer, calls cost too much.
COLUMNS = 200


def tile_of(window: Window, outputs: Pair) -> Pair | None:
    """Return the tile (m, m') that needs the fewest multiplications, of equals the larger; None
    where Winograd does not apply.
    """
    kernel = window.kernel[0]
    if (
        window.kernel != (kernel, kernel)
        or kernel not in TILES
        or window.stride != (1, 1)
        or max(window.padding) >= kernel
    ):
        return None
    rows, columns = (
        min(TILES[kernel], key=lambda m: -(-size // m) * (m + kernel - 1)) for size in outputs
    )
    return rows, columns


def choose_correlation(
    window: Window, kernels: tuple[int, int, int, int], dtype: DTypeLike, pool: Pair = (1, 1)
) -> Correlation:
    """Return the faster algorithm for a layer by the measured rule, which looks at shapes alone:
    bits do not depend on the machine.
    """
    rows, width = (size // p * p for size, p in zip(window.output, pool, strict=True))
    tile = tile_of(window, (rows, width))
    if tile is None or kernels[0] * kernels[1] < FEWEST_PAIRS:
        return DirectCorrelation(window, kernels, dtype, pool)
    return WinogradCorrelation(window, kernels, dtype, pool, tile)


class WinogradCorrelation(Correlation):
    """The same correlation as `DirectCorrelation` computes, by tiles of m x m' outputs."""

    def __init__(
        self,
        window: Window,
        kernels: tuple[int, int, int, int],
        dtype: DTypeLike,
        pool: Pair,
        tile: Pair,
    ) -> None:
        super().__init__(window, kernels, dtype, pool)
        (top, _, left, _), (height, width) = window.padding, window.size
        vertical = TileAxis(window.kernel[0], top, height, self.rows, tile[0])
        self._horizontal = TileAxis(window.kernel[1], left, width, self.width, tile[1])
        self.n: Pair = (vertical.n, self._horizontal.n)
        self._step = lcm(tile[0], pool[0])
        self._rows = strips(vertical, 1, dtype)
        self._columns: list[Strip] = []
        self._columns_of = 0  # images in a batch
        self._kernels = np.kron(
            *(transforms(m, k)[1] for m, k in zip(tile, window.kernel, strict=True))
        ).astype(dtype)

    def forward(
        self, x: Array, W: Array, y: Array | None = None, use: UseBlock | None = None
    ) -> None:
        self._x = x
        flat = np.ascontiguousarray(W.transpose(2, 3, 0, 1)).reshape(self._kernels.shape[1], -1)
        self._U = np.matmul(self._kernels, flat).reshape(*self.n, self.filters, self.channels)
        if self._columns_of != x.shape[3]:
            self._columns_of = x.shape[3]
            self._columns = strips(
                self._horizontal, self._tiles_in_patch(x.shape[3]), self._dtype, self.pool[1]
            )
        for first in range(0, self.rows, self._step):
            block = self._block(y, first, min(first + self._step, self.rows))
            for rows, columns in self._patches(first):
                V = self._transformed(rows, columns)
                M = self._positions("M", self.filters, columns)
                np.matmul(self._U, self._apart(V, columns), out=self._apart(M, columns))
                half = self._take("half", self.filters, self.n[0], len(columns.back))
                np.matmul(columns.back, M.swapaxes(0, 1), out=half)
                out = self._pixels(block, first, rows, columns)
                np.matmul(rows.back, self._by_phase(half), out=out)
            if use is not None:
                use(first, block)

    def gradients(
        self, dx: Array | None, dW: Array, fill: UseBlock, scale: Array | None = None
    ) -> None:
        U = self._U if scale is None else self._U * scale[:, None]
        dU = self._workspace.take("dU", U.shape, self._dtype)
        dU.fill(0)
        product = self._workspace.take("product", dU.shape, self._dtype)
        if dx is not None:  # pixels that pooling leaves out have a gradient too
            dx[:, self._rows[-1].inputs.stop :] = 0
            dx[:, :, self._columns[-1].inputs.stop :] = 0
        for first in range(0, self.rows, self._step):
            count = min(self._step, self.rows - first)
            dy = self._workspace.take("dy", self.block_shape(count, self._x.shape[3]), self._dtype)
            fill(first, dy)
            for rows, columns in self._patches(first):
                half = self._take("half", self.filters, self.n[0], len(columns.back))
                pixels = self._pixels(dy, first, rows, columns)
                np.matmul(rows.back.T, pixels, out=self._by_phase(half))
                M = self._positions("M", self.filters, columns)
                np.matmul(columns.back.T, half, out=M.swapaxes(0, 1))
                E, V = self._apart(M, columns), self._transformed(rows, columns)
                np.matmul(E, self._transposed(V, columns), out=product)
                dU += product
                if dx is not None:
                    np.matmul(U.swapaxes(2, 3), E, out=self._apart(V, columns))  # V becomes dV
                    self._add(V, rows, columns, dx)
        flat = np.matmul(self._kernels.T, dU.reshape(len(self._kernels), -1))
        dW[...] = flat.reshape(*self.window.kernel, self.filters, self.channels).transpose(
            2, 3, 0, 1
        )
        if scale is not None:
            dW *= scale[:, None, None, None]

    def _tiles_in_patch(self, n: int) -> int:
        """Return how many tiles lie side by side in a patch: shapes alone decide. Patches begin at
        a whole pooling window.
        """
        unit = self.pool[1] // gcd(self._horizontal.m, self.pool[1])
        return -(-max(1, round(COLUMNS / n)) // unit) * unit

    def _patches(self, first: int) -> Iterator[tuple[Strip, Strip]]:
        """Yield the patches of the block that begins at row `first`."""
        for rows in self._rows:
            if first <= rows.outputs.start < first + self._step:
                for columns in self._columns:
                    yield rows, columns

    def _take(self, name: str, *shape: int) -> Array:
        return self._workspace.take(name, (*shape, self._x.shape[3]), self._dtype)

    def _positions(self, name: str, depth: int, columns: Strip) -> Array:
        """Return the array of V or M, (n, depth, n' * tiles, N)."""
        return self._take(name, self.n[0], depth, self.n[1] * columns.tiles)

    def _apart(self, values: Array, columns: Strip) -> Array:
        """Return V or M as one matrix for each position of a tile: a view (n, n', depth, tiles *
        N).
        """
        return values.reshape(self.n[0], values.shape[1], self.n[1], -1).swapaxes(1, 2)

    def _transposed(self, V: Array, columns: Strip) -> Array:
        """Return V with each position's matrix transposed, (n, n', tiles * N, C): by copy where the
        product gains more than that costs.
        """
        transposed = self._apart(V, columns).swapaxes(2, 3)
        if self.filters * self.channels < FEWEST_PAIRS_TO_TRANSPOSE:
            return transposed
        copied: Array = self._workspace.take("transposed", transposed.shape, self._dtype)
        copied[...] = transposed
        return copied

    def _by_phase(self, half: Array) -> Array:
        """Return (F, n, columns, N) as the view (F, pw, n, columns / pw * N) for transforms down
        the columns.
        """
        return half.reshape(self.filters, self.n[0], self.pool[1], -1).swapaxes(1, 2)

    def _pixels(self, block: Array, first: int, rows: Strip, columns: Strip) -> Array:
        """Return a patch of a block of y or dy, which begins at row `first`: a view as
        `_by_phase`.
        """
        pw, n = self.pool[1], block.shape[4]
        flat = block.reshape(*block.shape[:3], -1)[
            rows.outputs.start - first : rows.outputs.stop - first
        ]
        patch = flat[..., columns.outputs.start // pw * n : columns.outputs.stop // pw * n]
        return patch.transpose(2, 1, 0, 3)

    def _of_input(self, x: Array, rows: Strip, columns: Strip) -> Array:
        """Return the patch of x or dx, a view (C, rows, columns * N)."""
        n = x.shape[3]
        flat = x.reshape(self.channels, x.shape[1], -1)
        return flat[:, rows.inputs, columns.inputs.start * n : columns.inputs.stop * n]

    def _transformed(self, rows: Strip, columns: Strip) -> Array:
        """Return V of a patch, (n, C, n' * tiles, N)."""
        half = self._take("x", self.channels, self.n[0], columns.into.shape[1])
        np.matmul(
            rows.into,
            self._of_input(self._x, rows, columns),
            out=half.reshape(self.channels, self.n[0], -1),
        )
        V = self._positions("V", self.channels, columns)
        np.matmul(columns.into, half, out=V.swapaxes(0, 1))
        return V

    def _add(self, dV: Array, rows: Strip, columns: Strip, dx: Array) -> None:
        """Add B dV B'^T onto the patch of dx, the transpose of `_transformed`; pixels that no patch
        before has met are written.
        """
        half = self._take("x", self.channels, self.n[0], columns.into.shape[1])
        np.matmul(columns.into.T, dV.swapaxes(0, 1), out=half)
        half, back = half.reshape(self.channels, self.n[0], -1), rows.into.T
        patch, top, left = (
            self._of_input(dx, rows, columns),
            rows.shared,
            columns.shared * dx.shape[3],
        )
        np.matmul(back[top:], half[:, :, left:], out=patch[:, top:, left:])
        for met, transform, values in (
            (patch[:, :top], back[:top], half),
            (patch[:, top:, :left], back[top:], half[:, :, :left]),
        ):
            if met.size:
                met += np.matmul(
                    transform, values, out=self._workspace.take("met", met.shape, self._dtype)
                )
