"""What every algorithm of correlation does, and the blocks of rows that it hands out."""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike

from cnn_core.axes import Array, Shape
from cnn_core.kernels.window import Pair, Window
from cnn_core.kernels.workspace import Workspace

UseBlock = Callable[[int, Array], None]


class Correlation:
    """Correlation of images (C, H, W, N) with kernels (F, C, KH, KW), and its gradients, in blocks
    of output rows.

    With ``pool = (ph, pw)`` it computes what a pooling of that size, at stride of that size, will
    read: only the `rows` and, of each, the `width` columns that fall into whole windows. A block is
    an array (rows, pw, F, width / pw, N) of whole windows, whose column q of a row is at
    ``[:, q % pw, :, q // pw]``. Where the block is in one piece of memory, each position of the
    pooling windows is one contiguous matrix (F, width / pw * N) a row, which products write and
    elementwise passes read at full speed; the last two axes always are.
    """

    def __init__(
        self, window: Window, kernels: tuple[int, int, int, int], dtype: DTypeLike, pool: Pair
    ) -> None:
        self.window, self.pool = window, pool
        self.filters, self.channels = kernels[:2]
        self.rows, self.width = (size // p * p for size, p in zip(window.output, pool, strict=True))
        self._x: Array  # the images of the last forward
        self._dtype = np.dtype(dtype)
        self._workspace = Workspace()

    def forward(
        self, x: Array, W: Array, y: Array | None = None, use: UseBlock | None = None
    ) -> None:
        """Write the output rows into y, shaped as one block of all rows with the last two axes in
        one piece, block by block in order, and call ``use(first, block)`` with each, which begins
        at row `first`.

        Without y all blocks share one array, which the next one overwrites. x is kept by reference
        for `gradients`, W is copied.
        """
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def gradients(
        self, dx: Array | None, dW: Array, fill: UseBlock, scale: Array | None = None
    ) -> None:
        """Write the gradients for the images and kernels of the last `forward` into dW (F, C, KH,
        KW) and, unless it is None, dx (C, H, W, N); ``fill(first, block)`` writes each block of dy.

        With `scale` (F,) each filter's dy counts that many times, at the cost of scaling small
        arrays instead of dy.
        """
        raise NotImplementedError(f"{type(self).__name__}.gradients")

    def forget(self) -> None:
        """Let go of the images of the last `forward`, of which no gradients will be asked."""
        del self._x

    def _block(self, y: Array | None, first: int, stop: int) -> Array:
        """Return where `forward` writes a block: rows of y, or the array that all blocks share."""
        if y is not None:
            return y[first:stop]
        shape = self.block_shape(stop - first, self._x.shape[3])
        return self._workspace.take("block", shape, self._dtype)

    def block_shape(self, rows: int, n: int) -> Shape:
        """Return the shape of a block of so many rows of n images."""
        phases = self.pool[1]
        return (rows, phases, self.filters, self.width // phases, n)


def as_blocks(y: Array) -> Array:
    """Return the outputs of a correlation without pooling, (F, OH, OW, N), as the view that it
    takes: one block of all rows.
    """
    return y.swapaxes(0, 1)[:, None]
