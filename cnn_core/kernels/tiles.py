"""Tiles along one axis of an image: Winograd's small transforms, and the matrices that apply them
to a strip of tiles at once.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

from cnn_core.axes import Array

# The finite points of tiles n wide; infinity is the last one.
POINTS = {
    4: (0.0, 1.0, -1.0),
    6: (0.0, 1.0, -1.0, 2.0, -2.0),
    7: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5),
    8: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5),
}


@cache
def transforms(m: int, kernel: int) -> tuple[Array, Array, Array]:
    """Return A^T (m, n), G (n, k) and B^T (n, n), float64, by Toom and Cook's construction on the
    points of n and infinity.

    For d (n,) and g (k,): ``A^T ((G g) * (B^T d))`` are the m values ``sum_i d[r + i] g[i]``, with
    n = m + k - 1 multiplications.
    """
    n = m + kernel - 1
    points = POINTS[n]
    at, g, bt = np.zeros((m, n)), np.zeros((n, kernel)), np.zeros((n, n))
    for row, point in enumerate(points):
        others = [p for p in points if p != point]
        at[:, row] = [point**power for power in range(m)]
        g[row] = np.array([point**power for power in range(kernel)]) / np.prod(
            [point - p for p in others]
        )
        bt[row, : n - 1] = np.poly(others)[::-1]
    at[m - 1, n - 1] = g[n - 1, kernel - 1] = 1
    bt[n - 1] = np.poly(points)[::-1]
    return at, g, bt


@dataclass(frozen=True)
class TileAxis:
    """One direction of a correlation at stride 1: kernel size, padding before, input and output
    size, and m outputs per tile.
    """

    kernel: int
    before: int
    inputs: int
    outputs: int
    m: int

    @property
    def n(self) -> int:
        """Inputs of a tile, and multiplications."""
        return self.m + self.kernel - 1

    @property
    def tiles(self) -> int:
        """Tiles side by side; the last may be partly filled."""
        return -(-self.outputs // self.m)


@dataclass(frozen=True)
class Strip:
    """Some tiles side by side: the pixels they read and write, and B^T and A^T of all of them in
    one matrix each.

    `into` (n * tiles, pixels read) has its rows ordered by position in the tile, then tile; columns
    of padding are left out, since zeros add nothing; the first `shared` columns belong to the strip
    before as well. `back` (pixels written, n * tiles) has the rows of pixels outside the image left
    out. So a product with one of the two gathers, pads, transforms and scatters in one go: mostly
    zeros are multiplied, but at the speed of products and with no copying.
    """

    inputs: slice
    outputs: slice
    tiles: int
    shared: int
    into: Array
    back: Array


def strips(axis: TileAxis, tiles: int, dtype: DTypeLike, phases: int = 1) -> list[Strip]:
    """Cut an axis into strips of that many tiles; with `phases` a strip's outputs q are ordered by
    q mod phases, then q.
    """
    at, _, bt = transforms(axis.m, axis.kernel)
    m, n = axis.m, axis.n
    found: list[Strip] = []
    for first in range(0, axis.tiles, tiles):
        count = min(tiles, axis.tiles - first)
        into, back = np.zeros((n, count, (count - 1) * m + n)), np.zeros((count * m, n, count))
        for t in range(count):
            into[:, t, t * m : t * m + n] = bt
            back[t * m : (t + 1) * m, :, t] = at
        start, written = first * m - axis.before, min(count * m, axis.outputs - first * m)
        low = max(0, start)
        high = max(low, min(axis.inputs, start + into.shape[2]))
        found.append(
            Strip(
                inputs=slice(low, high),
                outputs=slice(first * m, first * m + written),
                tiles=count,
                shared=found[-1].inputs.stop - low if found else 0,
                into=np.ascontiguousarray(
                    into.reshape(n * count, -1)[:, low - start : high - start], dtype
                ),
                back=back[:written]
                .reshape(-1, phases, n * count)
                .swapaxes(0, 1)
                .reshape(written, -1)
                .astype(dtype),
            )
        )
    return found
