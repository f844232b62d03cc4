"""Windows that slide over images: output sizes, padding, and the lowering of a convolution to a
matrix product.

The only place with window arithmetic. Kernels are not flipped (cross-correlation), as in every
current library.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cnn_core.axes import Array
from cnn_core.errors import InputError

Pair = tuple[int, int]
Padding = Literal["valid", "same"] | int | Pair


def as_pair(value: int | Pair) -> Pair:
    """Return (value, value) for a number, the pair itself otherwise: (rows, columns)."""
    return (value, value) if isinstance(value, int) else value


@dataclass(frozen=True)
class Window:
    """How a kernel slides: its size, its stride and the padding (top, bottom, left, right); `size`
    is of the unpadded input.
    """

    kernel: Pair
    stride: Pair
    padding: tuple[int, int, int, int]
    size: Pair

    @property
    def padded(self) -> Pair:
        """Height and width with the padding."""
        top, bottom, left, right = self.padding
        return self.size[0] + top + bottom, self.size[1] + left + right

    @property
    def output(self) -> Pair:
        """OH = floor((H + padding - KH) / stride) + 1, and OW alike."""
        (height, width), (kh, kw), (sh, sw) = self.padded, self.kernel, self.stride
        return (height - kh) // sh + 1, (width - kw) // sw + 1

    def taps(self) -> Iterator[Pair]:
        """Yield the kernel's positions (i, j) row by row."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield i, j

    def view(self, padded: Array, i: int, j: int) -> Array:
        """Return the pixels that the kernel's position (i, j) meets: a view (C, OH, OW, N)."""
        (oh, ow), (sh, sw) = self.output, self.stride
        return padded[:, i : i + (oh - 1) * sh + 1 : sh, j : j + (ow - 1) * sw + 1 : sw]

    def interior(self, padded: Array) -> Array:
        """Return the view of a padded array that holds the image itself."""
        top, _, left, _ = self.padding
        return padded[:, top : top + self.size[0], left : left + self.size[1]]


def make_window(
    where: str, kernel: int | Pair, stride: int | Pair, padding: Padding, size: Pair
) -> Window:
    """Return the window over images of `size` (H, W), checked.

    Padding "valid" is none; "same" gives ceil(H / stride) rows, an odd remainder going to the
    bottom and right (TensorFlow's rule); a number or a pair pads both sides alike. Raises
    InputError that begins with `where`.
    """
    kernel, stride = as_pair(kernel), as_pair(stride)
    if min(kernel) < 1 or min(stride) < 1:
        raise InputError(
            f"{where}: kernel and stride must be at least 1, got kernel {_by(kernel)}, stride "
            f"{_by(stride)}"
        )
    if padding == "valid":
        sides = (0, 0, 0, 0)
    elif padding == "same":
        rows, columns = (
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, k, s in zip(size, kernel, stride, strict=True)
        )
        sides = (rows // 2, rows - rows // 2, columns // 2, columns - columns // 2)
    elif isinstance(padding, str):
        raise InputError(
            f'{where}: padding must be "valid", "same", a number or a pair of numbers, '
            f"got {padding!r}"
        )
    else:
        rows, columns = as_pair(padding)
        if min(rows, columns) < 0:
            raise InputError(f"{where}: padding must be at least 0, got {_by((rows, columns))}")
        sides = (rows, rows, columns, columns)
    window = Window(kernel, stride, sides, size)
    if kernel[0] > window.padded[0] or kernel[1] > window.padded[1]:
        received = f"kernel {_by(kernel)}, input {_by(size)}" + (
            f" padded to {_by(window.padded)}" if any(sides) else ""
        )
        raise InputError(f"{where}: kernel must fit in the padded input, got {received}")
    return window


def _by(pair: Pair) -> str:
    return f"{pair[0]}x{pair[1]}"


def im2col(x: Array, kernel: int | Pair, stride: int | Pair = 1, padding: Padding = 0) -> Array:
    """Return the windows of x (N, C, H, W) as rows of a matrix (N * OH * OW, C * KH * KW): the
    textbook's form, batch first.

    Convolution is then ``im2col(x) @ W.reshape(F, -1).T``. The net itself lowers rows in its own
    layout (`cnn_core.kernels.direct`). Raises InputError.
    """
    n, c, h, w = x.shape
    window = make_window("im2col", kernel, stride, padding, (h, w))
    (oh, ow), (kh, kw) = window.output, window.kernel
    padded = np.zeros((c, *window.padded, n), x.dtype)
    window.interior(padded)[...] = x.transpose(1, 2, 3, 0)
    columns = np.empty((c, kh, kw, oh, ow, n), x.dtype)
    for i, j in window.taps():
        columns[:, i, j] = window.view(padded, i, j)
    return np.ascontiguousarray(columns.transpose(5, 3, 4, 0, 1, 2)).reshape(
        n * oh * ow, c * kh * kw
    )


def col2im(
    columns: Array,
    shape: tuple[int, int, int, int],
    kernel: int | Pair,
    stride: int | Pair = 1,
    padding: Padding = 0,
) -> Array:
    """Add the rows of `columns` (N * OH * OW, C * KH * KW) back onto images of `shape` (N, C, H,
    W): the transpose of `im2col`.

    ``col2im(im2col(x))`` is x times the number of windows that cover each pixel. Raises InputError.
    """
    n, c, h, w = shape
    window = make_window("col2im", kernel, stride, padding, (h, w))
    (oh, ow), (kh, kw) = window.output, window.kernel
    if columns.shape != (n * oh * ow, c * kh * kw):
        raise InputError(
            f"col2im: columns must be {(n * oh * ow, c * kh * kw)} for images {shape}, got "
            f"{columns.shape}"
        )
    padded = np.zeros((c, *window.padded, n), columns.dtype)
    gradients = columns.reshape(n, oh, ow, c, kh, kw).transpose(3, 4, 5, 1, 2, 0)
    for i, j in window.taps():
        window.view(padded, i, j)[...] += gradients[:, i, j]
    return np.ascontiguousarray(window.interior(padded).transpose(3, 0, 1, 2))
